"""The search kernel: multiply-add of every packed reference with one expanded probe.

Residues lie in tiles of 32 lanes, [tile][coordinate][polynomial][lane]. The probe's tile stays in L2 while the same tile
of all segments streams past. Per lane and coordinate four 26-bit products are added to three 64-bit accumulators, with
no reduction: 12 bits are left over the 52-bit product, so that 2048 coordinates fit (the middle accumulator takes two
products each). Written as LLVM vectors, because the accumulators must stay in registers; LLVM lowers them to
what the CPU has. Where it has AVX-512 IFMA, one instruction does each multiply-add.
"""

from typing import Final

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import njit, types, uint32, uint64
from numba.extending import intrinsic
from numpy.typing import NDArray

from veilface.crypto.public.packed.ring import U32

LANES: Final = 32
_VECTOR: Final = 8
_GROUPS: Final = LANES // _VECTOR
_TILE_BYTES: Final = 2 * LANES * 4
_UNREDUCED_COORDINATES: Final = 2048
_PREFETCH_COORDINATES: Final = 16
HAS_IFMA: Final = bool(llvm.get_host_cpu_features().get("avx512ifma", False))

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


@intrinsic  # type: ignore[untyped-decorator]
def _dot_tile(typing_context, probe, segment, coordinates, sums):  # type: ignore[no-untyped-def]
    """sums[3][32] (uint64) = the unreduced product of one tile of probe and segment; arguments are addresses."""
    signature = types.void(types.uint64, types.uint64, types.int64, types.uint64)

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        probe_base, segment_base, count, out = args

        def pointer(base: ir.Value, offset: int, kind: ir.Type) -> ir.Value:
            return builder.inttoptr(builder.add(base, ir.Constant(_I64, offset)), kind.as_pointer())

        def load(base: ir.Value, offset: int) -> ir.Value:
            return builder.zext(builder.load(pointer(base, offset, _V32), align=4), _V64)

        zero = ir.Constant(_V64, [0] * _VECTOR)
        before = builder.block
        loop = builder.append_basic_block("coordinate")
        after = builder.append_basic_block("done")
        builder.branch(loop)
        builder.position_at_end(loop)
        index = builder.phi(_I64)
        totals = [[builder.phi(_V64) for _ in range(_GROUPS)] for _ in range(3)]
        index.add_incoming(ir.Constant(_I64, 0), before)
        for polynomial in totals:
            for phi in polynomial:
                phi.add_incoming(zero, before)
        offset = builder.mul(index, ir.Constant(_I64, _TILE_BYTES))
        probe_row = builder.add(probe_base, offset)
        segment_row = builder.add(segment_base, offset)
        for line in range(0, _TILE_BYTES, 64):
            _prefetch(builder, pointer(segment_row, _PREFETCH_COORDINATES * _TILE_BYTES + line, _I8))
        results: list[list[ir.Value]] = [[], [], []]
        for group in range(_GROUPS):
            at = 4 * _VECTOR * group
            q0, q1 = load(probe_row, at), load(probe_row, 4 * LANES + at)
            g0, g1 = load(segment_row, at), load(segment_row, 4 * LANES + at)
            results[0].append(_multiply_add(builder, totals[0][group], g0, q0))
            middle = _multiply_add(builder, totals[1][group], g0, q1)
            results[1].append(_multiply_add(builder, middle, g1, q0))
            results[2].append(_multiply_add(builder, totals[2][group], g1, q1))
        following = builder.add(index, ir.Constant(_I64, 1))
        index.add_incoming(following, loop)
        for polynomial, values in zip(totals, results, strict=True):
            for phi, value in zip(polynomial, values, strict=True):
                phi.add_incoming(value, loop)
        builder.cbranch(builder.icmp_signed("<", following, count), loop, after)
        builder.position_at_end(after)
        for number, values in enumerate(results):
            for group, value in enumerate(values):
                builder.store(value, pointer(out, 8 * (LANES * number + _VECTOR * group), _V64), align=8)
        return context.get_dummy_value()

    return signature, codegen


@njit(inline="always")
def reduce_wide(x, q, two32, two32_shoup, one_shoup):  # type: ignore[no-untyped-def]
    """x mod q for x < 2^64 and q < 2^31; two32 = 2^32 mod q."""
    high = uint64(x) >> uint64(32)
    low = uint64(x) & uint64(0xFFFFFFFF)
    a = uint32(high * uint64(two32) - ((high * uint64(two32_shoup)) >> uint64(32)) * uint64(q))
    a = min(a, uint32(a - q))
    b = uint32(low - ((low * uint64(one_shoup)) >> uint64(32)) * uint64(q))
    b = min(b, uint32(b - q))
    total = uint32(a + b)
    return min(total, uint32(total - q))


@njit(nogil=True, cache=True)
def multiply_add(  # type: ignore[no-untyped-def]
    probes, segments, coordinates, first_tile, last_tile, tiles_per_limb, constants, sums, out
):
    """Tiles first_tile..last_tile of every (probe, segment) pair.

    probes: int64 (P,) addresses of [tile][coordinate][2][32] uint32; segments: int64 (S,) addresses of the same.
    constants: uint32 (limbs, 4) rows of q, 2^32 mod q and the Shoup companions of that and of 1. sums: uint64 (3, 32)
    scratch. out: uint32 (P, S, 3, tiles * 32).
    """
    base = sums.ctypes.data
    tile_bytes = coordinates * _TILE_BYTES
    for tile in range(first_tile, last_tile):
        limb = tile // tiles_per_limb
        q, two32 = constants[limb, 0], constants[limb, 1]
        two32_shoup, one_shoup = constants[limb, 2], constants[limb, 3]
        for s in range(segments.shape[0]):
            for p in range(probes.shape[0]):
                done = 0
                while done < coordinates:
                    count = min(coordinates - done, _UNREDUCED_COORDINATES)
                    offset = tile * tile_bytes + done * _TILE_BYTES
                    _dot_tile(uint64(probes[p] + offset), uint64(segments[s] + offset), count, uint64(base))
                    for polynomial in range(3):
                        for lane in range(LANES):
                            r = reduce_wide(sums[polynomial, lane], q, two32, two32_shoup, one_shoup)
                            position = tile * LANES + lane
                            if done > 0:
                                r = uint32(r + out[p, s, polynomial, position])
                                r = min(r, uint32(r - q))
                            out[p, s, polynomial, position] = r
                    done += count


def reduction_constants(primes: tuple[int, ...]) -> U32:
    """Rows of q, 2^32 mod q and the Shoup companions of that and of 1; shape (primes, 4)."""
    rows = [(q, (1 << 32) % q, (((1 << 32) % q) << 32) // q, (1 << 32) // q) for q in primes]
    return np.array(rows, dtype=np.uint32)


def addresses(arrays: list[U32]) -> NDArray[np.int64]:
    """Where the arrays begin in memory."""
    return np.array([array.ctypes.data for array in arrays], dtype=np.int64)
