"""Work on the items of a stream, several at once, with the results in the order of the items."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


async def map_in_order(
    items: AsyncIterable[T], work: Callable[[int, T], Awaitable[R]], in_flight: int
) -> AsyncGenerator[R, None]:
    """Yield `await work(index, item)` for every item, each as soon as it and those before it are done.

    An item is only taken from the stream when fewer than `in_flight` are being worked on or wait to be yielded, so a
    slow reader of the results slows the stream down. When the generator is closed, the work under way is canceled.

    Args:
        items: The stream.
        work: What to do with an item; its position is counted from 0. What it raises ends the generator.
        in_flight: At least 1.
    """
    places = asyncio.Semaphore(in_flight)
    tasks: asyncio.Queue[asyncio.Task[R] | None] = asyncio.Queue()

    async def run(index: int, item: T) -> R:
        return await work(index, item)

    async def read() -> None:
        try:
            index = 0
            stream = aiter(items)
            while True:
                await places.acquire()
                try:
                    item = await anext(stream)
                except StopAsyncIteration:
                    return
                tasks.put_nowait(asyncio.create_task(run(index, item)))
                index += 1
        finally:
            tasks.put_nowait(None)

    reader = asyncio.create_task(read())
    current: asyncio.Task[R] | None = None
    try:
        while (current := await tasks.get()) is not None:
            yield await current
            places.release()
        await reader
    finally:
        unfinished = [reader, current, *(tasks.get_nowait() for _ in range(tasks.qsize()))]
        canceled = [task for task in unfinished if task is not None and task.cancel()]
        await asyncio.gather(*canceled, return_exceptions=True)
