"""A counted loop inside an LLVM kernel, whose running values stay in registers."""

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir


def counted_loop(
    builder: ir.IRBuilder,
    count: ir.Value,
    initial: Sequence[ir.Value],
    body: Callable[[Any, list[ir.Value]], Sequence[ir.Value]],
) -> list[ir.Value]:
    """Emit a loop of `count` rounds, at least one; the builder is then behind it.

    Args:
        builder: At the end of the block before the loop.
        count: Of the rounds, an integer value.
        initial: The running values before the first round.
        body: Emits one round: from its index and the running values to the next ones, as many and of the same types.

    Returns:
        The running values after the last round.
    """
    before = builder.block
    loop = builder.append_basic_block("round")
    after = builder.append_basic_block("done")
    builder.branch(loop)
    builder.position_at_end(loop)
    index = builder.phi(count.type)
    index.add_incoming(ir.Constant(count.type, 0), before)
    running = []
    for value in initial:
        phi = builder.phi(value.type)
        phi.add_incoming(value, before)
        running.append(phi)
    results = list(body(index, list(running)))
    following = builder.add(index, ir.Constant(count.type, 1))
    index.add_incoming(following, builder.block)
    for phi, result in zip(running, results, strict=True):
        phi.add_incoming(result, builder.block)
    builder.cbranch(builder.icmp_unsigned("<", following, count), loop, after)
    builder.position_at_end(after)
    return results
