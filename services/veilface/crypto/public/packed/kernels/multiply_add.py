"""The search kernel: multiply-add of every packed reference with one expanded probe.

Residues lie in tiles of 32 lanes, [tile][coordinate][polynomial][lane]. The probe's tile stays in L2 while the same
tile of all segments streams past. Per lane and coordinate four 26-bit products are added to three 64-bit
accumulators, with no reduction: 12 bits are left over the 52-bit product, so that 2048 coordinates fit (the middle
accumulator takes two products each). Written as LLVM vectors, because the accumulators must stay in registers; LLVM
lowers them to what the CPU has. Where it has AVX-512 IFMA, one instruction does each multiply-add.
"""

from itertools import product
from typing import Any, Final

import llvmlite.binding as llvm
from llvmlite import ir
from numba import config, njit, types, uint32, uint64
from numba.extending import intrinsic

from veilface.crypto.public.packed.kernels.arithmetic import reduce_wide

LANES: Final = 32
_VECTOR: Final = 8
SCRATCH: Final = 192
_TILE_BYTES: Final = 2 * LANES * 4
_UNREDUCED_COORDINATES: Final = 2048
_PREFETCH_COORDINATES: Final = 16
HAS_IFMA: Final = (
    bool(llvm.get_host_cpu_features().get("avx512ifma", False))
    if config.CPU_NAME is None
    else "+avx512ifma" in (config.CPU_FEATURES or "")
)

_I8: Final = ir.IntType(8)
_I32: Final = ir.IntType(32)
_I64: Final = ir.IntType(64)
_V32: Final = ir.VectorType(_I32, _VECTOR)
_V64: Final = ir.VectorType(_I64, _VECTOR)


def _multiply_add(builder: ir.IRBuilder, total: ir.Value, a: ir.Value, b: ir.Value) -> ir.Value:
    if HAS_IFMA:
        function = builder.module.declare_intrinsic(
            "llvm.x86.avx512.vpmadd52l.uq.512", fnty=ir.FunctionType(_V64, [_V64, _V64, _V64])
        )
        return builder.call(function, [total, a, b])
    return builder.add(total, builder.mul(a, b))


def _prefetch(builder: ir.IRBuilder, pointer: ir.Value) -> None:
    function = builder.module.declare_intrinsic(
        "llvm.prefetch.p0", fnty=ir.FunctionType(ir.VoidType(), [_I8.as_pointer(), _I32, _I32, _I32])
    )
    builder.call(function, [pointer, ir.Constant(_I32, 0), ir.Constant(_I32, 2), ir.Constant(_I32, 1)])


def _dot_block(probes: int, segments: int, groups: int) -> Any:
    """An intrinsic for `probes` x `segments` (1 or 2 each) products of one tile over `groups` vectors of 8 lanes.

    The block shares every load, and its `3 * probes * segments * groups` accumulators fill the vector registers.
    """

    @intrinsic
    def dot_block(typing_context, probe0, probe1, segment0, segment1, coordinates, sums):
        """sums[probes][segments][3][8 * groups] (uint64) = unreduced products; all arguments but one are addresses."""
        address = types.uint64
        signature = types.void(address, address, address, address, types.int64, address)

        def codegen(context, builder, signature, args):
            count, out = args[4], args[5]
            zero = ir.Constant(_V64, [0] * _VECTOR)

            def pointer(base: ir.Value, offset: int, kind: ir.Type) -> ir.Value:
                return builder.inttoptr(builder.add(base, ir.Constant(_I64, offset)), kind.as_pointer())

            def load(base: ir.Value, offset: int) -> ir.Value:
                return builder.zext(builder.load(pointer(base, offset, _V32), align=4), _V64)

            before = builder.block
            loop = builder.append_basic_block("coordinate")
            after = builder.append_basic_block("done")
            builder.branch(loop)
            builder.position_at_end(loop)
            index = builder.phi(_I64)
            index.add_incoming(ir.Constant(_I64, 0), before)
            totals = {}
            for key in product(range(probes), range(segments), range(3), range(groups)):
                totals[key] = builder.phi(_V64)
                totals[key].add_incoming(zero, before)
            offset = builder.mul(index, ir.Constant(_I64, _TILE_BYTES))
            probe_rows = [builder.add(base, offset) for base in args[:probes]]
            segment_rows = [builder.add(base, offset) for base in args[2 : 2 + segments]]
            for row in segment_rows:
                for line in range(0, _TILE_BYTES, 64):
                    _prefetch(builder, pointer(row, _PREFETCH_COORDINATES * _TILE_BYTES + line, _I8))
            results = {}
            for group in range(groups):
                low, high = 4 * _VECTOR * group, 4 * (LANES + _VECTOR * group)
                q = [(load(row, low), load(row, high)) for row in probe_rows]
                for s, row in enumerate(segment_rows):
                    g0, g1 = load(row, low), load(row, high)
                    for p, (q0, q1) in enumerate(q):
                        middle = _multiply_add(builder, totals[p, s, 1, group], g0, q1)
                        results[p, s, 0, group] = _multiply_add(builder, totals[p, s, 0, group], g0, q0)
                        results[p, s, 1, group] = _multiply_add(builder, middle, g1, q0)
                        results[p, s, 2, group] = _multiply_add(builder, totals[p, s, 2, group], g1, q1)
            following = builder.add(index, ir.Constant(_I64, 1))
            index.add_incoming(following, loop)
            for key, phi in totals.items():
                phi.add_incoming(results[key], loop)
            builder.cbranch(builder.icmp_signed("<", following, count), loop, after)
            builder.position_at_end(after)
            for number, value in enumerate(results[key] for key in totals):
                builder.store(value, pointer(out, 8 * _VECTOR * number, _V64), align=8)
            return context.get_dummy_value()

        return signature, codegen

    return dot_block


def _weigh_block(probes: int, segments: int) -> Any:
    """An intrinsic for `probes` x `segments` products of one tile with scalar weights; it shares every load."""
    groups = LANES // _VECTOR

    @intrinsic
    def weigh_block(typing_context, weights0, weights1, segment0, segment1, coordinates, sums):
        """sums[probes][segments][2][32] (uint64) = unreduced products; all arguments but one are addresses."""
        address = types.uint64
        signature = types.void(address, address, address, address, types.int64, address)

        def codegen(context, builder, signature, args):
            count, out = args[4], args[5]
            zero = ir.Constant(_V64, [0] * _VECTOR)
            everywhere = ir.Constant(ir.VectorType(_I32, _VECTOR), [0] * _VECTOR)

            def pointer(base: ir.Value, offset: int, kind: ir.Type) -> ir.Value:
                return builder.inttoptr(builder.add(base, ir.Constant(_I64, offset)), kind.as_pointer())

            def splat(base: ir.Value) -> ir.Value:
                weight = builder.load(pointer(builder.add(base, builder.mul(index, ir.Constant(_I64, 8))), 0, _I64))
                single = builder.insert_element(ir.Constant(_V64, ir.Undefined), weight, ir.Constant(_I32, 0))
                return builder.shuffle_vector(single, ir.Constant(_V64, ir.Undefined), everywhere)

            before = builder.block
            loop = builder.append_basic_block("coordinate")
            after = builder.append_basic_block("done")
            builder.branch(loop)
            builder.position_at_end(loop)
            index = builder.phi(_I64)
            index.add_incoming(ir.Constant(_I64, 0), before)
            totals = {}
            for key in product(range(probes), range(segments), range(2), range(groups)):
                totals[key] = builder.phi(_V64)
                totals[key].add_incoming(zero, before)
            offset = builder.mul(index, ir.Constant(_I64, _TILE_BYTES))
            weights = [splat(base) for base in args[:probes]]
            results = {}
            for s, base in enumerate(args[2 : 2 + segments]):
                row = builder.add(base, offset)
                for line in range(0, _TILE_BYTES, 64):
                    _prefetch(builder, pointer(row, _PREFETCH_COORDINATES * _TILE_BYTES + line, _I8))
                for polynomial, group in product(range(2), range(groups)):
                    at = 4 * (LANES * polynomial + _VECTOR * group)
                    value = builder.zext(builder.load(pointer(row, at, _V32), align=4), _V64)
                    for p, weight in enumerate(weights):
                        key = p, s, polynomial, group
                        results[key] = _multiply_add(builder, totals[key], value, weight)
            following = builder.add(index, ir.Constant(_I64, 1))
            index.add_incoming(following, loop)
            for key, phi in totals.items():
                phi.add_incoming(results[key], loop)
            builder.cbranch(builder.icmp_signed("<", following, count), loop, after)
            builder.position_at_end(after)
            for number, key in enumerate(totals):
                builder.store(results[key], pointer(out, 8 * _VECTOR * number, _V64), align=8)
            return context.get_dummy_value()

        return signature, codegen

    return weigh_block


_dot_1x1 = _dot_block(1, 1, 4)
_dot_1x2 = _dot_block(1, 2, 4)
_dot_2x1 = _dot_block(2, 1, 4)
_dot_2x2 = _dot_block(2, 2, 2)
_weigh_1x1 = _weigh_block(1, 1)
_weigh_1x2 = _weigh_block(1, 2)
_weigh_2x1 = _weigh_block(2, 1)


@njit(inline="always")
def _reduce_block(sums, probes, segments, p, s, position, width, accumulate, constants, out):
    """out[p + a, s + b, :, position...] = sums reduced, or added to what is there. out: (P, S, polynomials, n)."""
    q, two32, two32_shoup, one_shoup = constants[0], constants[1], constants[2], constants[3]
    at = 0
    for a in range(probes):
        for b in range(segments):
            for polynomial in range(out.shape[2]):
                for lane in range(width):
                    r = reduce_wide(sums[at], q, two32, two32_shoup, one_shoup)
                    at += 1
                    if accumulate:
                        r = uint32(r + out[p + a, s + b, polynomial, position + lane])
                        r = min(r, uint32(r - q))
                    out[p + a, s + b, polynomial, position + lane] = r


@njit(nogil=True, cache=True)
def multiply_add(probes, segments, coordinates, first_tile, last_tile, tiles_per_limb, constants, sums, out):
    """Tiles first_tile..last_tile of every (probe, segment) pair.

    probes: int64 (P,) addresses of [tile][coordinate][2][32] uint32; segments: int64 (S,) addresses of the same.
    constants: uint32 (limbs, 4) rows of q, 2^32 mod q and the Shoup companions of that and of 1. sums: uint64 (192,)
    scratch. out: uint32 (P, S, 3, tiles * 32).
    """
    scratch = uint64(sums.ctypes.data)
    for tile in range(first_tile, last_tile):
        row = constants[tile // tiles_per_limb]
        position = tile * LANES
        for s in range(0, segments.shape[0], 2):
            two_segments = s + 1 < segments.shape[0]
            for p in range(0, probes.shape[0], 2):
                two_probes = p + 1 < probes.shape[0]
                done = 0
                while done < coordinates:
                    count = min(coordinates - done, _UNREDUCED_COORDINATES)
                    offset = (tile * coordinates + done) * _TILE_BYTES
                    p0 = uint64(probes[p] + offset)
                    p1 = uint64(probes[p + 1] + offset) if two_probes else p0
                    s0 = uint64(segments[s] + offset)
                    s1 = uint64(segments[s + 1] + offset) if two_segments else s0
                    if two_probes and two_segments:
                        for half in range(2):
                            at = uint64(half * _TILE_BYTES // 4)
                            _dot_2x2(p0 + at, p1 + at, s0 + at, s1 + at, count, scratch)
                            where = position + half * LANES // 2
                            _reduce_block(sums, 2, 2, p, s, where, LANES // 2, done > 0, row, out)
                    elif two_segments:
                        _dot_1x2(p0, p1, s0, s1, count, scratch)
                        _reduce_block(sums, 1, 2, p, s, position, LANES, done > 0, row, out)
                    elif two_probes:
                        _dot_2x1(p0, p1, s0, s1, count, scratch)
                        _reduce_block(sums, 2, 1, p, s, position, LANES, done > 0, row, out)
                    else:
                        _dot_1x1(p0, p1, s0, s1, count, scratch)
                        _reduce_block(sums, 1, 1, p, s, position, LANES, done > 0, row, out)
                    done += count


@njit(nogil=True, cache=True)
def weigh(weights, segments, coordinates, first_tile, last_tile, tiles_per_limb, constants, sums, out):
    """Tiles first_tile..last_tile of every segment times every probe in the clear; needs no expansion.

    weights: uint64 (P, limbs, coordinates) residues. segments, constants, sums as in `multiply_add`. out: uint32
    (P, S, 2, tiles * 32). At most 4096 coordinates.
    """
    scratch = uint64(sums.ctypes.data)
    for tile in range(first_tile, last_tile):
        limb = tile // tiles_per_limb
        row = constants[limb]
        position = tile * LANES
        offset = tile * coordinates * _TILE_BYTES
        for s in range(0, segments.shape[0], 2):
            s0 = uint64(segments[s] + offset)
            two_segments = s + 1 < segments.shape[0]
            s1 = uint64(segments[s + 1] + offset) if two_segments else s0
            for p in range(0, weights.shape[0], 2):
                p0 = uint64(weights[p, limb].ctypes.data)
                if p + 1 < weights.shape[0]:
                    p1 = uint64(weights[p + 1, limb].ctypes.data)
                    _weigh_2x1(p0, p1, s0, s0, coordinates, scratch)
                    _reduce_block(sums, 2, 1, p, s, position, LANES, False, row, out)
                    if two_segments:
                        _weigh_2x1(p0, p1, s1, s1, coordinates, scratch)
                        _reduce_block(sums, 2, 1, p, s + 1, position, LANES, False, row, out)
                elif two_segments:
                    _weigh_1x2(p0, p0, s0, s1, coordinates, scratch)
                    _reduce_block(sums, 1, 2, p, s, position, LANES, False, row, out)
                else:
                    _weigh_1x1(p0, p0, s0, s0, coordinates, scratch)
                    _reduce_block(sums, 1, 1, p, s, position, LANES, False, row, out)
