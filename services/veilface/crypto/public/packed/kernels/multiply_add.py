"""The search kernel: multiply-add of every packed reference with one expanded probe.

The layout is that of `kernels.tiles`: the probe's tile stays in L2 while the same tile of all segments streams past,
and residues are taken out of their words on the way into the registers. Per lane and coordinate four 26-bit products
are added to three 64-bit accumulators, with no reduction: 12 bits are left over the 52-bit product, so that 2048
coordinates fit (the middle accumulator takes two products each). Written as LLVM vectors, because the accumulators must
stay in registers; LLVM lowers them to what the CPU has. Where it has AVX-512 IFMA, one instruction does each
multiply-add.
"""

from itertools import product
from typing import Any, Final

import llvmlite.binding as llvm
from llvmlite import ir
from numba import config, njit, types, uint32, uint64
from numba.extending import intrinsic

from veilface.crypto.public.loops import counted_loop
from veilface.crypto.public.packed.kernels.arithmetic import reduce_wide
from veilface.crypto.public.packed.kernels.tiles import (
    BLOCK,
    BLOCK_BYTES,
    GROUP,
    GROUP_BYTES,
    GROUPS,
    LANES,
    PROBE_BLOCK_BYTES,
    PROBE_ROW_BYTES,
    V64,
    VECTOR_BYTES,
    WORDS,
    constant,
    pointer,
    residue,
)

SCRATCH: Final = 192
_UNREDUCED_BLOCKS: Final = 2048 // BLOCK
HAS_IFMA: Final = (
    bool(llvm.get_host_cpu_features().get("avx512ifma", False))
    if config.CPU_NAME is None
    else "+avx512ifma" in (config.CPU_FEATURES or "")
)
# Of a block of two probes by two segments, so that its accumulators fit the registers as well.
_HALF: Final = LANES // 2

_I8: Final = ir.IntType(8)
_I32: Final = ir.IntType(32)
_I64: Final = ir.IntType(64)
_V32: Final = ir.VectorType(_I32, GROUP)


def _multiply_add(builder: ir.IRBuilder, total: ir.Value, a: ir.Value, b: ir.Value) -> ir.Value:
    if HAS_IFMA:
        function = builder.module.declare_intrinsic(
            "llvm.x86.avx512.vpmadd52l.uq.512", fnty=ir.FunctionType(V64, [V64, V64, V64])
        )
        return builder.call(function, [total, a, b])
    return builder.add(total, builder.mul(a, b))


def _prefetch(builder: ir.IRBuilder, target: ir.Value) -> None:
    function = builder.module.declare_intrinsic(
        "llvm.prefetch.p0", fnty=ir.FunctionType(ir.VoidType(), [_I8.as_pointer(), _I32, _I32, _I32])
    )
    builder.call(function, [target, ir.Constant(_I32, 0), ir.Constant(_I32, 2), ir.Constant(_I32, 1)])


class _Expanded:
    """An expanded probe: two polynomials by two make three sums."""

    sums = 3
    block_bytes = PROBE_BLOCK_BYTES

    @staticmethod
    def load(builder: ir.IRBuilder, block: ir.Value, coordinate: int, group: int) -> tuple[ir.Value, ir.Value]:
        """What the residues of a coordinate are multiplied by."""
        first = coordinate * PROBE_ROW_BYTES + 4 * GROUP * group
        rows = [builder.load(pointer(builder, block, at, _V32), align=4) for at in (first, first + 4 * LANES)]
        return builder.zext(rows[0], V64), builder.zext(rows[1], V64)

    @staticmethod
    def accumulate(
        builder: ir.IRBuilder, totals: list[ir.Value], g: tuple[ir.Value, ir.Value], q: tuple[ir.Value, ir.Value]
    ) -> list[ir.Value]:
        """The sums with the products of one coordinate."""
        middle = _multiply_add(builder, totals[1], g[0], q[1])
        return [
            _multiply_add(builder, totals[0], g[0], q[0]),
            _multiply_add(builder, middle, g[1], q[0]),
            _multiply_add(builder, totals[2], g[1], q[1]),
        ]


class _Weights:
    """A probe in the clear: one 64-bit word per coordinate, for every lane and both polynomials."""

    sums = 2
    block_bytes = 8 * BLOCK

    @staticmethod
    def load(builder: ir.IRBuilder, block: ir.Value, coordinate: int, group: int) -> ir.Value:
        """What the residues of a coordinate are multiplied by."""
        weight = builder.load(pointer(builder, block, 8 * coordinate, _I64), align=8)
        undefined = ir.Constant(V64, ir.Undefined)
        everywhere = ir.Constant(ir.VectorType(_I32, GROUP), [0] * GROUP)
        single = builder.insert_element(undefined, weight, ir.Constant(_I32, 0))
        return builder.shuffle_vector(single, undefined, everywhere)

    @staticmethod
    def accumulate(
        builder: ir.IRBuilder, totals: list[ir.Value], g: tuple[ir.Value, ir.Value], weight: ir.Value
    ) -> list[ir.Value]:
        """The sums with the products of one coordinate."""
        return [_multiply_add(builder, total, value, weight) for total, value in zip(totals, g, strict=True)]


def _products(kind: Any, probes: int, segments: int, groups: int) -> Any:
    """An intrinsic for `probes` x `segments` (1 or 2 each) products of one tile over `groups` groups of 8 lanes.

    It shares every load, and its accumulators fill the vector registers.
    """
    keys = list(product(range(probes), range(segments), range(kind.sums), range(groups)))

    @intrinsic
    def products(typing_context, probe0, probe1, segment0, segment1, blocks, sums):
        """sums[probes][segments][kind.sums][8 * groups] (uint64) = unreduced products; addresses, but for blocks."""
        address = types.uint64
        signature = types.void(address, address, address, address, types.int64, address)

        def codegen(context, builder, signature, args):
            def one_block(index: ir.Value, running: list[ir.Value]) -> list[ir.Value]:
                totals = dict(zip(keys, running, strict=True))
                probe_offset = builder.mul(index, ir.Constant(_I64, kind.block_bytes))
                offset = builder.mul(index, ir.Constant(_I64, BLOCK_BYTES))
                probe_blocks = [builder.add(base, probe_offset) for base in args[:probes]]
                for group, coordinate in product(range(groups), range(BLOCK)):
                    factors = [kind.load(builder, block, coordinate, group) for block in probe_blocks]
                    group_offset = builder.add(offset, ir.Constant(_I64, group * GROUP_BYTES))
                    for s, base in enumerate(args[2 : 2 + segments]):
                        words = builder.add(base, group_offset)
                        for line in range(coordinate * WORDS // BLOCK, (coordinate + 1) * WORDS // BLOCK):
                            _prefetch(builder, pointer(builder, words, BLOCK_BYTES + line * VECTOR_BYTES, _I8))
                        g = residue(builder, words, 2 * coordinate), residue(builder, words, 2 * coordinate + 1)
                        for p, factor in enumerate(factors):
                            where = [(p, s, number, group) for number in range(kind.sums)]
                            added = kind.accumulate(builder, [totals[key] for key in where], g, factor)
                            totals.update(zip(where, added, strict=True))
                return [totals[key] for key in keys]

            results = counted_loop(builder, args[4], [constant(0)] * len(keys), one_block)
            for number, value in enumerate(results):
                builder.store(value, pointer(builder, args[5], VECTOR_BYTES * number, V64), align=8)
            return context.get_dummy_value()

        return signature, codegen

    return products


_dot_1x1 = _products(_Expanded, 1, 1, GROUPS)
_dot_1x2 = _products(_Expanded, 1, 2, GROUPS)
_dot_2x1 = _products(_Expanded, 2, 1, GROUPS)
_dot_2x2 = _products(_Expanded, 2, 2, _HALF // GROUP)
_weigh_1x1 = _products(_Weights, 1, 1, GROUPS)
_weigh_1x2 = _products(_Weights, 1, 2, GROUPS)
_weigh_2x1 = _products(_Weights, 2, 1, GROUPS)
_weigh_2x2 = _products(_Weights, 2, 2, _HALF // GROUP)


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
def multiply_add(probes, segments, blocks, first_tile, last_tile, tiles_per_limb, constants, sums, out):
    """Tiles first_tile..last_tile of every (probe, segment) pair.

    probes, segments: int64 (P,) and (S,), the addresses of their tiles of `blocks` blocks. constants: uint32 (limbs, 4)
    rows of q, 2^32 mod q and the Shoup companions of that and of 1. sums: uint64 (192,) scratch. out: uint32
    (P, S, 3, tiles * 32).
    """
    scratch = uint64(sums.ctypes.data)
    for tile in range(first_tile, last_tile):
        row = constants[tile // tiles_per_limb]
        for s in range(0, segments.shape[0], 2):
            segment_count = min(segments.shape[0] - s, 2)
            for p in range(0, probes.shape[0], 2):
                probe_count = min(probes.shape[0] - p, 2)
                lanes = _HALF if probe_count + segment_count == 4 else LANES
                for first in range(0, LANES, lanes):
                    position = tile * LANES + first
                    for done in range(0, blocks, _UNREDUCED_BLOCKS):
                        count = min(blocks - done, _UNREDUCED_BLOCKS)
                        probe_offset = (tile * blocks + done) * PROBE_BLOCK_BYTES + 4 * first
                        offset = (tile * blocks + done) * BLOCK_BYTES + first // GROUP * GROUP_BYTES
                        p0 = uint64(probes[p] + probe_offset)
                        p1 = uint64(probes[p + probe_count - 1] + probe_offset)
                        s0 = uint64(segments[s] + offset)
                        s1 = uint64(segments[s + segment_count - 1] + offset)
                        # Numbers that the compiler knows let it vectorise the reduction.
                        if probe_count + segment_count == 4:
                            _dot_2x2(p0, p1, s0, s1, count, scratch)
                            _reduce_block(sums, 2, 2, p, s, position, _HALF, done > 0, row, out)
                        elif segment_count == 2:
                            _dot_1x2(p0, p1, s0, s1, count, scratch)
                            _reduce_block(sums, 1, 2, p, s, position, LANES, done > 0, row, out)
                        elif probe_count == 2:
                            _dot_2x1(p0, p1, s0, s1, count, scratch)
                            _reduce_block(sums, 2, 1, p, s, position, LANES, done > 0, row, out)
                        else:
                            _dot_1x1(p0, p1, s0, s1, count, scratch)
                            _reduce_block(sums, 1, 1, p, s, position, LANES, done > 0, row, out)


@njit(nogil=True, cache=True)
def weigh(weights, segments, blocks, first_tile, last_tile, tiles_per_limb, constants, sums, out):
    """Tiles first_tile..last_tile of every segment times every probe in the clear; needs no expansion.

    weights: uint64 (P, limbs, 16 * blocks) residues. segments, constants, sums as in `multiply_add`. out: uint32
    (P, S, 2, tiles * 32). At most 4096 coordinates.
    """
    scratch = uint64(sums.ctypes.data)
    for tile in range(first_tile, last_tile):
        limb = tile // tiles_per_limb
        row = constants[limb]
        for s in range(0, segments.shape[0], 2):
            segment_count = min(segments.shape[0] - s, 2)
            for p in range(0, weights.shape[0], 2):
                probe_count = min(weights.shape[0] - p, 2)
                p0 = uint64(weights[p, limb].ctypes.data)
                p1 = uint64(weights[p + probe_count - 1, limb].ctypes.data)
                lanes = _HALF if probe_count + segment_count == 4 else LANES
                for first in range(0, LANES, lanes):
                    position = tile * LANES + first
                    offset = tile * blocks * BLOCK_BYTES + first // GROUP * GROUP_BYTES
                    s0 = uint64(segments[s] + offset)
                    s1 = uint64(segments[s + segment_count - 1] + offset)
                    if probe_count + segment_count == 4:
                        _weigh_2x2(p0, p1, s0, s1, blocks, scratch)
                        _reduce_block(sums, 2, 2, p, s, position, _HALF, False, row, out)
                    elif segment_count == 2:
                        _weigh_1x2(p0, p1, s0, s1, blocks, scratch)
                        _reduce_block(sums, 1, 2, p, s, position, LANES, False, row, out)
                    elif probe_count == 2:
                        _weigh_2x1(p0, p1, s0, s1, blocks, scratch)
                        _reduce_block(sums, 2, 1, p, s, position, LANES, False, row, out)
                    else:
                        _weigh_1x1(p0, p1, s0, s1, blocks, scratch)
                        _reduce_block(sums, 1, 1, p, s, position, LANES, False, row, out)
