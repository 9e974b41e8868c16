"""Sixteen 32-bit lanes as one value inside numba kernels.

Numba vectorises loops when it can prove enough about them; for arithmetic modulo a prime it often cannot. Kernels that
must be fast therefore say what they mean: a `Lanes` value is an LLVM vector of 16 unsigned 32-bit integers, which LLVM
lowers to whatever registers the CPU has.
"""

from collections.abc import Callable
from typing import Any, Final

from llvmlite import ir
from numba import types
from numba.extending import intrinsic, models, register_model

COUNT: Final = 16
_I32: Final = ir.IntType(32)
_I64: Final = ir.IntType(64)
_V32: Final = ir.VectorType(_I32, COUNT)
_V64: Final = ir.VectorType(_I64, COUNT)


class _LanesType(types.Type):
    def __init__(self) -> None:
        super().__init__(name="Lanes")


class _WideLanesType(types.Type):
    def __init__(self) -> None:
        super().__init__(name="WideLanes")


_LANES: Final = _LanesType()
_WIDE: Final = _WideLanesType()


@register_model(_LanesType)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, frontend_type: Any) -> None:
        super().__init__(manager, frontend_type, _V32)


@register_model(_WideLanesType)
class _WideLanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, frontend_type: Any) -> None:
        super().__init__(manager, frontend_type, _V64)


def _splat(builder: ir.IRBuilder, scalar: ir.Value, kind: ir.VectorType) -> ir.Value:
    single = builder.insert_element(ir.Constant(kind, ir.Undefined), scalar, ir.Constant(_I32, 0))
    mask = ir.Constant(ir.VectorType(_I32, COUNT), [0] * COUNT)
    return builder.shuffle_vector(single, ir.Constant(kind, ir.Undefined), mask)


def _high(builder: ir.IRBuilder, wide: ir.Value) -> ir.Value:
    return builder.trunc(builder.lshr(wide, ir.Constant(_V64, [32] * COUNT)), _V32)


def _elementwise(result: types.Type, arguments: tuple[types.Type, ...], emit: Callable[..., ir.Value]) -> Any:
    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        return emit(builder, *args)

    return result(*arguments), codegen


@intrinsic
def load(typing_context, address):
    """Sixteen consecutive uint32 at an address (uint64)."""

    def emit(builder: ir.IRBuilder, base: ir.Value) -> ir.Value:
        return builder.load(builder.inttoptr(base, _V32.as_pointer()), align=4)

    return _elementwise(_LANES, (types.uint64,), emit)


@intrinsic
def store(typing_context, address, value):
    """Write sixteen uint32 to an address (uint64)."""

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        builder.store(args[1], builder.inttoptr(args[0], _V32.as_pointer()), align=4)
        return context.get_dummy_value()

    return types.void(types.uint64, _LANES), codegen


@intrinsic
def splat(typing_context, scalar):
    """The same uint32 in every lane."""
    return _elementwise(_LANES, (types.uint32,), lambda builder, value: _splat(builder, value, _V32))


@intrinsic
def add(typing_context, a, b):
    """a + b modulo 2^32."""
    return _elementwise(_LANES, (_LANES, _LANES), lambda builder, x, y: builder.add(x, y))


@intrinsic
def subtract(typing_context, a, b):
    """a - b modulo 2^32."""
    return _elementwise(_LANES, (_LANES, _LANES), lambda builder, x, y: builder.sub(x, y))


@intrinsic
def minimum(typing_context, a, b):
    """The unsigned minimum; min(x, x - q) reduces x from [0, 2q) to [0, q)."""

    def emit(builder: ir.IRBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
        return builder.select(builder.icmp_unsigned("<", x, y), x, y)

    return _elementwise(_LANES, (_LANES, _LANES), emit)


@intrinsic
def multiply_lazy(typing_context, x, w, w_shoup, q):
    """x * w mod q up to one q: in [0, 2q) for any x, with w's Shoup companion; q < 2^31."""

    def emit(
        builder: ir.IRBuilder, value: ir.Value, factor: ir.Value, companion: ir.Value, prime: ir.Value
    ) -> ir.Value:
        wide = builder.mul(builder.zext(value, _V64), builder.zext(companion, _V64))
        return builder.sub(builder.mul(value, factor), builder.mul(_high(builder, wide), prime))

    return _elementwise(_LANES, (_LANES, _LANES, _LANES, _LANES), emit)


@intrinsic
def product(typing_context, a, b):
    """The full 64-bit products a * b."""

    def emit(builder: ir.IRBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
        return builder.mul(builder.zext(x, _V64), builder.zext(y, _V64))

    return _elementwise(_WIDE, (_LANES, _LANES), emit)


@intrinsic
def add_wide(typing_context, a, b):
    """a + b modulo 2^64."""
    return _elementwise(_WIDE, (_WIDE, _WIDE), lambda builder, x, y: builder.add(x, y))


@intrinsic
def high(typing_context, wide):
    """The upper 32 bits."""
    return _elementwise(_LANES, (_WIDE,), _high)


@intrinsic
def low(typing_context, wide):
    """The lower 32 bits."""
    return _elementwise(_LANES, (_WIDE,), lambda builder, value: builder.trunc(value, _V32))


@intrinsic
def transpose(typing_context, source, source_stride, target, target_stride):
    """Write the 16 x 16 uint32 block at `source` transposed to `target`; addresses and strides in bytes (uint64)."""
    signature = types.void(types.uint64, types.uint64, types.uint64, types.uint64)

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> ir.Value:
        def row(base: ir.Value, stride: ir.Value, index: int) -> ir.Value:
            address = builder.add(base, builder.mul(stride, ir.Constant(_I64, index)))
            return builder.inttoptr(address, _V32.as_pointer())

        rows = [builder.load(row(args[0], args[1], index), align=4) for index in range(COUNT)]
        distance = COUNT // 2
        while distance:
            lower = [lane if not lane & distance else COUNT + lane - distance for lane in range(COUNT)]
            upper = [lane + distance if not lane & distance else COUNT + lane for lane in range(COUNT)]
            masks = [ir.Constant(ir.VectorType(_I32, COUNT), mask) for mask in (lower, upper)]
            for index in range(COUNT):
                if not index & distance:
                    pair = rows[index], rows[index + distance]
                    rows[index], rows[index + distance] = (builder.shuffle_vector(*pair, mask) for mask in masks)
            distance //= 2
        for index, value in enumerate(rows):
            builder.store(value, row(args[2], args[3], index), align=4)
        return context.get_dummy_value()

    return signature, codegen
