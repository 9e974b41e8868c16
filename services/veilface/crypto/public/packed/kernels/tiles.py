"""Tiles: how the residues of probes and of packed references lie in memory for a search.

A tile is 32 consecutive values of one limb, the lanes, in every coordinate. Of an expanded probe it is
[coordinate][polynomial][lane] in 32-bit words: it stays in the cache. Of packed references it is dense, because a
search reads them all from memory: 26 bits per residue. Sixteen coordinates form a block, and eight lanes a group; in a
block each lane has 13 words of 64 bits of its own, which the two residues of the first coordinate, then of the second
and so on fill to the last bit, the least significant one first. A block is [group][word][lane], so that it is read from
one end to the other, and the same constant shifts and masks serve all lanes. The last block is filled up with zeros.
"""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from llvmlite import ir
from numba import njit, types, uint32, uint64
from numba.extending import intrinsic

from veilface.crypto.public.packed.profiles import RESIDUE_BITS

LANES: Final = 32
BLOCK: Final = 16
"""Coordinates."""
GROUP: Final = 8
"""Lanes: one vector of 64-bit words."""
GROUPS: Final = LANES // GROUP
WORD_BITS: Final = 64
WORDS: Final = 2 * BLOCK * RESIDUE_BITS // WORD_BITS
"""Of one lane in a block."""
VECTOR_BYTES: Final = GROUP * WORD_BITS // 8
GROUP_BYTES: Final = WORDS * VECTOR_BYTES
BLOCK_BYTES: Final = GROUPS * GROUP_BYTES
PROBE_ROW_BYTES: Final = 2 * LANES * 4
PROBE_BLOCK_BYTES: Final = BLOCK * PROBE_ROW_BYTES

REDUCED: Final = 0
NOT_REDUCED: Final = 1
NOT_ZERO_FILLED: Final = 2

_MASK: Final = (1 << RESIDUE_BITS) - 1
_RESIDUES: Final = 2 * BLOCK
_I64: Final = ir.IntType(64)
_V32: Final = ir.VectorType(ir.IntType(32), GROUP)
V64: Final = ir.VectorType(_I64, GROUP)


def block_count(coordinates: int) -> int:
    """How many blocks hold so many coordinates."""
    return -(-coordinates // BLOCK)


def constant(value: int) -> ir.Constant:
    """The same 64-bit word in every lane of a group."""
    return ir.Constant(V64, [value] * GROUP)


def pointer(builder: ir.IRBuilder, base: ir.Value, offset: int, kind: ir.Type) -> ir.Value:
    """A pointer from an address and an offset in bytes."""
    return builder.inttoptr(builder.add(base, ir.Constant(_I64, offset)), kind.as_pointer())


def residue(builder: ir.IRBuilder, group: ir.Value, index: int) -> ir.Value:
    """Residue 2 * coordinate + polynomial of a group, which is given by its address, as 64-bit lanes."""
    word, shift = divmod(index * RESIDUE_BITS, WORD_BITS)

    def load(number: int) -> ir.Value:
        return builder.load(pointer(builder, group, number * VECTOR_BYTES, V64), align=8)

    if shift + RESIDUE_BITS > WORD_BITS:
        # One instruction where the CPU has AVX-512 VBMI2.
        kind = ir.FunctionType(V64, [V64, V64, V64])
        funnel = builder.module.declare_intrinsic(f"llvm.fshr.v{GROUP}i{WORD_BITS}", fnty=kind)
        return builder.and_(builder.call(funnel, [load(word + 1), load(word), constant(shift)]), constant(_MASK))
    value = builder.lshr(load(word), constant(shift)) if shift else load(word)
    return value if shift + RESIDUE_BITS == WORD_BITS else builder.and_(value, constant(_MASK))


def _group_intrinsic(emit: Callable[[ir.IRBuilder, ir.Value, Callable[[int], ir.Value]], None]) -> Any:
    @intrinsic
    def convert(typing_context, group, rows, stride):
        signature = types.void(types.uint64, types.uint64, types.uint64)

        def codegen(context, builder, signature, args):
            group, rows, stride = args

            def row(index: int) -> ir.Value:
                address = builder.add(rows, builder.mul(stride, ir.Constant(_I64, index)))
                return builder.inttoptr(address, _V32.as_pointer())

            emit(builder, group, row)
            return context.get_dummy_value()

        return signature, codegen

    return convert


def _emit_unpacking(builder: ir.IRBuilder, group: ir.Value, row: Callable[[int], ir.Value]) -> None:
    for index in range(_RESIDUES):
        builder.store(builder.trunc(residue(builder, group, index), _V32), row(index), align=4)


def _emit_packing(builder: ir.IRBuilder, group: ir.Value, row: Callable[[int], ir.Value]) -> None:
    words = [constant(0)] * WORDS
    for index in range(_RESIDUES):
        value = builder.zext(builder.load(row(index), align=4), V64)
        word, shift = divmod(index * RESIDUE_BITS, WORD_BITS)
        words[word] = builder.or_(words[word], builder.shl(value, constant(shift)))
        if shift + RESIDUE_BITS > WORD_BITS:
            words[word + 1] = builder.lshr(value, constant(WORD_BITS - shift))
    for number, value in enumerate(words):
        builder.store(value, pointer(builder, group, number * VECTOR_BYTES, V64), align=8)


_unpack_group = _group_intrinsic(_emit_unpacking)
_pack_group = _group_intrinsic(_emit_packing)


@njit(inline="always")
def unpack_block(block, rows, stride):
    """Write the residues of a block as 32 rows of 32 lanes, uint32; addresses, and bytes between rows (uint64)."""
    for group in range(GROUPS):
        _unpack_group(
            uint64(block + uint64(group * GROUP_BYTES)), uint64(rows + uint64(4 * GROUP * group)), uint64(stride)
        )


@njit(inline="always")
def pack_block(rows, block):
    """Write a block from 32 contiguous rows of 32 lanes, uint32 (16, 2, 32); addresses (uint64)."""
    for group in range(GROUPS):
        _pack_group(
            uint64(block + uint64(group * GROUP_BYTES)), uint64(rows + uint64(4 * GROUP * group)), uint64(4 * LANES)
        )


@njit(nogil=True, cache=True)
def unpack_coordinates(address, tiles, blocks, block, out):
    """out (16, 2, tiles * 32) = the residues of one block of every tile; `address` is that of the tiles."""
    rows = uint64(out.ctypes.data)
    stride = uint64(4 * out.shape[2])
    for tile in range(tiles):
        source = uint64(address + (tile * blocks + block) * BLOCK_BYTES)
        unpack_block(source, uint64(rows + uint64(4 * LANES * tile)), stride)


@njit(nogil=True, cache=True)
def check_tiles(address, coordinates, primes, tiles_per_limb):
    """REDUCED, or what is wrong: a residue that is not below its prime, or a coordinate behind the last that is not 0.

    address: of the tiles of references. primes: uint32, of each limb.
    """
    blocks = (coordinates + BLOCK - 1) // BLOCK
    residues = np.empty((BLOCK, 2 * LANES), dtype=np.uint32)
    rows = uint64(residues.ctypes.data)
    for tile in range(primes.shape[0] * tiles_per_limb):
        largest = uint32(0)
        for block in range(blocks):
            unpack_block(uint64(address + (tile * blocks + block) * BLOCK_BYTES), rows, uint64(4 * LANES))
            used = min(BLOCK, coordinates - block * BLOCK)
            for coordinate in range(used):
                for lane in range(2 * LANES):
                    largest = max(largest, residues[coordinate, lane])
            for coordinate in range(used, BLOCK):
                for lane in range(2 * LANES):
                    if residues[coordinate, lane] != 0:
                        return NOT_ZERO_FILLED
        if largest >= primes[tile // tiles_per_limb]:
            return NOT_REDUCED
    return REDUCED
