"""An asyncio channel that follows changes of its TLS files, which gRPC's own channels cannot do."""

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
import grpc.aio

from veilface.common.tls import TlsContents, WatchedTlsFiles

RETIREMENT_S = 600.0
"""How long calls that began before a change may go on."""


class ReloadingChannel(grpc.aio.Channel):
    """A channel that opens another one inside when the files have changed; stubs made of it stay valid.

    Args:
        files: The TLS files, looked at when a call begins.
        open_inner: Opens a gRPC channel with given contents of the files.
    """

    def __init__(self, files: WatchedTlsFiles, open_inner: Callable[[TlsContents], grpc.aio.Channel]) -> None:
        self._files = files
        self._open_inner = open_inner
        self._inner = open_inner(files.contents)
        self._retired: dict[grpc.aio.Channel, asyncio.Task[None]] = {}
        self._closed = False

    def unary_unary(self, *arguments: Any, **options: Any) -> Any:
        """As of grpc.aio.Channel."""
        return self._multi_callable("unary_unary", arguments, options)

    def unary_stream(self, *arguments: Any, **options: Any) -> Any:
        """As of grpc.aio.Channel."""
        return self._multi_callable("unary_stream", arguments, options)

    def stream_unary(self, *arguments: Any, **options: Any) -> Any:
        """As of grpc.aio.Channel."""
        return self._multi_callable("stream_unary", arguments, options)

    def stream_stream(self, *arguments: Any, **options: Any) -> Any:
        """As of grpc.aio.Channel."""
        return self._multi_callable("stream_stream", arguments, options)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """As of grpc.aio.Channel."""
        return self._current().get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """As of grpc.aio.Channel."""
        await self._current().wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """As of grpc.aio.Channel."""
        await self._current().channel_ready()

    async def close(self, grace: float | None = None) -> None:
        """Close; calls that still run after `grace` seconds are canceled."""
        self._closed = True
        for retired, retirement in list(self._retired.items()):
            retirement.cancel()
            await retired.close(grace)
        self._retired.clear()
        await self._inner.close(grace)

    async def __aenter__(self) -> "ReloadingChannel":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _multi_callable(self, kind: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> Callable[..., Any]:
        def call(*call_arguments: Any, **call_options: Any) -> Any:
            multi_callable = getattr(self._current(), kind)(*arguments, **options)
            return multi_callable(*call_arguments, **call_options)

        return call

    def _current(self) -> grpc.aio.Channel:
        if not self._closed and self._files.refresh():
            retired, self._inner = self._inner, self._open_inner(self._files.contents)
            self._retired[retired] = asyncio.get_running_loop().create_task(self._retire(retired))
        return self._inner

    async def _retire(self, channel: grpc.aio.Channel) -> None:
        await asyncio.sleep(RETIREMENT_S)
        await channel.close()
        self._retired.pop(channel, None)
