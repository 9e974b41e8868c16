"""Montgomery multiplication of eight long integers at once, one integer per SIMD lane.

GMP multiplies one pair of integers at a time and its Python binding holds the interpreter lock. A search multiplies the
same dimensions of many independent segments, so here every limb is a vector of eight 64-bit lanes, of which each
belongs to another integer. With AVX-512 IFMA a limb has 52 bits and one instruction gives the low or high half of a
product; on other CPUs a limb has 26 bits and a product is one 32-bit multiplication. Limbs are added up without
carries: 64 bits hold every sum of the at most 2^9 rows of products. Results are below twice the modulus, and so may
operands be (Montgomery's reduction with R > 4 N needs no final subtraction).

The limbs without carries are those of Gueron and Krasnov, "Software Implementation of Modular Exponentiation, Using
Advanced Vector Instructions Architectures" (WAIFI 2012).
"""

from typing import Any, Final

import llvmlite.binding as llvm
from llvmlite import ir
from numba import njit, types, uint64
from numba.extending import intrinsic

from veilface.crypto.public.loops import counted_loop

LANES: Final = 8
UNROLLED_ROWS: Final = 4
IFMA_RADIX: Final = 52
PORTABLE_RADIX: Final = 26
HAS_IFMA: Final = bool(llvm.get_host_cpu_features().get("avx512ifma", False))
RADIX: Final = IFMA_RADIX if HAS_IFMA else PORTABLE_RADIX

FOLD: Final = -1
SQUARE: Final = -2

_VECTOR_BYTES: Final = 8 * LANES
_I64: Final = ir.IntType(64)
_V64: Final = ir.VectorType(_I64, LANES)


def _constant(value: int) -> ir.Constant:
    return ir.Constant(_V64, [value] * LANES)


def _pointer(builder: ir.IRBuilder, base: ir.Value, offset: int) -> ir.Value:
    return builder.inttoptr(builder.add(base, ir.Constant(_I64, offset)), _V64.as_pointer())


def _load(builder: ir.IRBuilder, base: ir.Value, limb: int) -> ir.Value:
    return builder.load(_pointer(builder, base, limb * _VECTOR_BYTES), align=8)


class _IfmaProducts:
    """Halves of 52-bit products, one instruction each."""

    def __init__(self, builder: ir.IRBuilder) -> None:
        kind = ir.FunctionType(_V64, [_V64, _V64, _V64])
        self._builder = builder
        self._low = builder.module.declare_intrinsic("llvm.x86.avx512.vpmadd52l.uq.512", fnty=kind)
        self._high = builder.module.declare_intrinsic("llvm.x86.avx512.vpmadd52h.uq.512", fnty=kind)

    def low(self, total: ir.Value, a: ir.Value, b: ir.Value) -> ir.Value:
        return self._builder.call(self._low, [total, a, b])

    def high(self, total: ir.Value, a: ir.Value, b: ir.Value) -> ir.Value:
        return self._builder.call(self._high, [total, a, b])

    def quotient(self, total: ir.Value, inverse: ir.Value) -> ir.Value:
        return self.low(_constant(0), total, inverse)


class _PortableProducts:
    """Whole products of 26-bit limbs: there is no high half."""

    def __init__(self, builder: ir.IRBuilder) -> None:
        self._builder = builder
        self._mask = _constant((1 << PORTABLE_RADIX) - 1)

    def low(self, total: ir.Value, a: ir.Value, b: ir.Value) -> ir.Value:
        # The mask tells LLVM that the upper halves are zero: it then emits one 32-bit multiplication.
        product = self._builder.mul(self._builder.and_(a, self._mask), self._builder.and_(b, self._mask))
        return self._builder.add(total, product)

    def high(self, total: ir.Value, a: ir.Value, b: ir.Value) -> ir.Value:
        return total

    def quotient(self, total: ir.Value, inverse: ir.Value) -> ir.Value:
        return self._builder.and_(self.low(_constant(0), total, inverse), self._mask)


def _rows_intrinsic(radix: int) -> Any:
    @intrinsic
    def rows(typing_context, t, x, n, y, inverse, limbs):  # type: ignore[no-untyped-def]
        """t = (t + x y[0..3] + n q) / 2^(4 radix) with the q that makes it whole; all but limbs are addresses.

        t, x and n have `limbs` limbs and four zero limbs behind; inverse is -1 / n mod 2^radix.
        """
        signature = types.void(*[types.uint64] * 6)

        def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
            t, x, n, y, inverse_address, limbs = args
            if radix == IFMA_RADIX and not HAS_IFMA:
                return context.get_dummy_value()
            products = _IfmaProducts(builder) if radix == IFMA_RADIX else _PortableProducts(builder)
            rows = range(UNROLLED_ROWS)
            factor = [_load(builder, y, row) for row in rows]
            x_low = [_load(builder, x, row) for row in rows]
            n_low = [_load(builder, n, row) for row in rows]
            inverse = _load(builder, inverse_address, 0)
            zero = _constant(0)
            carry = zero
            quotient: list[ir.Value] = []
            for position in rows:
                total = builder.add(_load(builder, t, position), carry)
                for row in range(position + 1):
                    total = products.low(total, x_low[position - row], factor[row])
                for row in range(position):
                    total = products.high(total, x_low[position - 1 - row], factor[row])
                    total = products.low(total, n_low[position - row], quotient[row])
                    total = products.high(total, n_low[position - 1 - row], quotient[row])
                quotient.append(products.quotient(total, inverse))
                total = products.low(total, n_low[0], quotient[position])
                carry = builder.lshr(total, _constant(radix))

            def one_limb(index: ir.Value, running: list[ir.Value]) -> list[ir.Value]:
                incoming, x_window, n_window = running[0], running[1 : 1 + len(rows)], running[1 + len(rows) :]
                offset = builder.mul(index, ir.Constant(_I64, _VECTOR_BYTES))
                x_window.append(_load(builder, builder.add(x, offset), UNROLLED_ROWS))
                n_window.append(_load(builder, builder.add(n, offset), UNROLLED_ROWS))
                # Two sums, because one would be a chain of sixteen dependent instructions.
                even = builder.add(_load(builder, builder.add(t, offset), UNROLLED_ROWS), incoming)
                odd = zero
                for row in rows:
                    top = UNROLLED_ROWS - row
                    even = products.low(even, x_window[top], factor[row])
                    odd = products.low(odd, n_window[top], quotient[row])
                    even = products.high(even, x_window[top - 1], factor[row])
                    odd = products.high(odd, n_window[top - 1], quotient[row])
                builder.store(builder.add(even, odd), _pointer(builder, builder.add(t, offset), 0), align=8)
                return [zero, *x_window[1:], *n_window[1:]]

            counted_loop(builder, limbs, [carry, *x_low, *n_low], one_limb)
            return context.get_dummy_value()

        return signature, codegen

    return rows


_ifma_rows = _rows_intrinsic(IFMA_RADIX)
_portable_rows = _rows_intrinsic(PORTABLE_RADIX)


@intrinsic
def _gather(typing_context, sources, out, limbs):  # type: ignore[no-untyped-def]
    """Eight integers into the lanes of one: sources is the address of eight addresses of `limbs` words each."""
    signature = types.void(types.uint64, types.uint64, types.uint64)

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        sources, out, limbs = args
        word = _I64.as_pointer()
        addresses = [
            builder.load(builder.inttoptr(builder.add(sources, ir.Constant(_I64, 8 * lane)), word), align=8)
            for lane in range(LANES)
        ]

        def one_limb(index: ir.Value, running: list[ir.Value]) -> list[ir.Value]:
            offset = builder.mul(index, ir.Constant(_I64, 8))
            vector = ir.Constant(_V64, ir.Undefined)
            for lane, address in enumerate(addresses):
                value = builder.load(builder.inttoptr(builder.add(address, offset), word), align=8)
                vector = builder.insert_element(vector, value, ir.Constant(ir.IntType(32), lane))
            scaled = builder.mul(index, ir.Constant(_I64, _VECTOR_BYTES))
            builder.store(vector, _pointer(builder, builder.add(out, scaled), 0), align=8)
            return running

        counted_loop(builder, limbs, [], one_limb)
        return context.get_dummy_value()

    return signature, codegen


@njit(nogil=True, inline="always")
def _multiply(radix, x, y, out, modulus, inverse, t):  # type: ignore[no-untyped-def]
    """out = x y / R mod N in every lane; out may be x or y. All arrays: (limbs + 4, 8), inverse (8,)."""
    limbs = modulus.shape[0] - UNROLLED_ROWS
    t[:] = uint64(0)
    t_address = uint64(t.ctypes.data)
    x_address = uint64(x.ctypes.data)
    n_address = uint64(modulus.ctypes.data)
    inverse_address = uint64(inverse.ctypes.data)
    for row in range(0, limbs, UNROLLED_ROWS):
        y_address = uint64(y.ctypes.data + row * _VECTOR_BYTES)
        if radix == IFMA_RADIX:
            _ifma_rows(t_address, x_address, n_address, y_address, inverse_address, uint64(limbs))
        else:
            _portable_rows(t_address, x_address, n_address, y_address, inverse_address, uint64(limbs))
    mask = uint64((uint64(1) << uint64(radix)) - uint64(1))
    for lane in range(LANES):
        t[limbs, lane] = uint64(0)
    for limb in range(limbs):
        for lane in range(LANES):
            value = t[limb, lane] + t[limbs, lane]
            out[limb, lane] = value & mask
            t[limbs, lane] = value >> uint64(radix)


@njit(nogil=True, cache=True)
def run_program(radix, steps, modulus, inverse, running, total, scratch):  # type: ignore[no-untyped-def]
    """Multiply integers into `running` and, at every FOLD, `running` into `total`; at every SQUARE square `running`.

    steps: int64 (count, 8), per lane the address of the integer to multiply by (`limbs` words), or FOLD or SQUARE in
    every lane. modulus, running, total: uint64 (limbs + 4, 8), in Montgomery form but for the modulus; the last four
    limbs are zero. inverse: uint64 (8,). scratch: uint64 (2, limbs + 4, 8). `running` and `total` are changed.
    """
    limbs = modulus.shape[0] - UNROLLED_ROWS
    factor = scratch[0]
    t = scratch[1]
    factor[:] = uint64(0)
    for step in range(steps.shape[0]):
        kind = steps[step, 0]
        if kind == FOLD:
            _multiply(radix, running, total, total, modulus, inverse, t)
        elif kind == SQUARE:
            _multiply(radix, running, running, running, modulus, inverse, t)
        else:
            source = uint64(steps.ctypes.data + step * _VECTOR_BYTES)
            _gather(source, uint64(factor.ctypes.data), uint64(limbs))
            _multiply(radix, factor, running, running, modulus, inverse, t)
