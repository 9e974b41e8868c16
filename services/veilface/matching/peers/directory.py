"""Which replicas there are, and which of them are well.

Nobody announces itself: addresses come from the operator or from DNS, and whether a replica is well says gRPC's health
service behind each address. A replica finds itself by asking every address for the number that it drew at its start.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import grpc
import grpc.aio
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc

from veilface.common.errors import ConfigurationError, Reason, UnavailableError, VeilfaceError
from veilface.common.status import error_from_rpc
from veilface.matching.domain.fanout.peers import Peer
from veilface.matching.peers.addresses import PeerAddresses
from veilface.matching.peers.client import GrpcPeer
from veilface.matching.v1 import peer_service_pb2

_SERVICE: Final = peer_service_pb2.DESCRIPTOR.services_by_name["PeerService"].full_name
_CHECK_TIMEOUT_S: Final = 2.0
# For calls to a replica whose address has gone, which is probably finishing them.
_GRACE_S: Final = 30.0


class DirectoryEvents(Protocol):
    """Who wants to know how many peers there are."""

    def peers_live(self, count: int) -> None:
        """So many can be asked now."""
        ...


@dataclass(eq=False)
class _Known:
    """A replica at an address.

    Attributes:
        replica_id: Which process it was when it was last found to be well; None before.
        is_live: Whether it can be asked.
        problem: Why not.
    """

    peer: GrpcPeer
    channel: grpc.aio.Channel
    replica_id: str | None = None
    is_live: bool = False
    problem: str = ""


class PeerDirectory:
    """Knows the peers of this replica. For use on one event loop.

    Args:
        addresses: Where replicas are.
        open_channel: Opens a channel to an address.
        replica_id: Of this replica.
        events: Told what happens.
        check_s: Seconds between two looks.
    """

    def __init__(
        self,
        addresses: PeerAddresses,
        open_channel: Callable[[str], grpc.aio.Channel],
        *,
        replica_id: str,
        events: DirectoryEvents,
        check_s: float,
    ) -> None:
        self._addresses = addresses
        self._open_channel = open_channel
        self._replica_id = replica_id
        self._events = events
        self._check_s = check_s
        self._known: dict[str, _Known] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._log = structlog.get_logger()

    @property
    def own_name(self) -> str | None:
        """See `Peers.own_name`."""
        return min((name for name, known in self._known.items() if known.replica_id == self._replica_id), default=None)

    def live(self) -> Sequence[Peer]:
        """See `Peers.live`. A replica with several addresses counts once, under the first of them."""
        by_replica: dict[str, Peer] = {}
        for _, known in sorted(self._known.items()):
            if known.is_live and known.replica_id not in (None, self._replica_id):
                by_replica.setdefault(str(known.replica_id), known.peer)
        return list(by_replica.values())

    def give_up(self, peer: Peer, reason: str) -> None:
        """See `Peers.give_up`."""
        known = self._known.get(peer.name)
        if known is not None and known.peer is peer:
            self._lose(peer.name, known, reason)

    async def run(self) -> None:
        """Look again and again."""
        while True:
            await self.refresh()
            await asyncio.sleep(self._check_s)

    async def refresh(self) -> None:
        """Look once."""
        try:
            names = await self._addresses.resolve()
        except OSError as error:
            # Those known before may still be there.
            self._log.warning("peers_not_resolved", problem=error.strerror)
        else:
            self._follow(names)
        await asyncio.gather(*(self._check(name, known) for name, known in list(self._known.items())))
        self._events.peers_live(len(self.live()))

    async def close(self) -> None:
        """Close all channels."""
        channels = [known.channel for known in self._known.values()]
        self._known.clear()
        for task in self._closing:
            task.cancel()
        await asyncio.gather(*self._closing, return_exceptions=True)
        for channel in channels:
            await channel.close()

    def _follow(self, names: Sequence[str]) -> None:
        for name in self._known.keys() - set(names):
            task = asyncio.create_task(self._known.pop(name).channel.close(_GRACE_S))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
            self._log.info("peer_gone", address=name)
        for name in set(names) - self._known.keys():
            try:
                channel = self._open_channel(name)
            except ConfigurationError as error:
                # TLS files that are being replaced; the next look tries again.
                self._log.warning("peer_not_opened", address=name, problem=error.message)
            else:
                self._known[name] = _Known(GrpcPeer(name, channel), channel)

    async def _check(self, name: str, known: _Known) -> None:
        try:
            await self._check_health(known)
            # A process that took the place of another has another number.
            if not known.is_live:
                known.replica_id = await known.peer.replica_id(_CHECK_TIMEOUT_S)
        except VeilfaceError as error:
            self._lose(name, known, f"{error.reason.value}: {error.message}")
            return
        if not known.is_live:
            known.is_live, known.problem = True, ""
            self._log.info("peer_live", address=name, is_self=known.replica_id == self._replica_id)

    async def _check_health(self, known: _Known) -> None:
        health: Any = health_pb2_grpc.HealthStub(known.channel)
        try:
            response = await health.Check(health_pb2.HealthCheckRequest(service=_SERVICE), timeout=_CHECK_TIMEOUT_S)
        except grpc.RpcError as error:
            raise error_from_rpc(error) from error
        if response.status != health_pb2.HealthCheckResponse.SERVING:
            raise UnavailableError(Reason.NOT_READY, "it is not ready")

    def _lose(self, name: str, known: _Known, problem: str) -> None:
        # What is wrong for long is told once.
        if known.is_live or known.problem != problem:
            self._log.warning("peer_away", address=name, problem=problem)
        known.is_live, known.problem = False, problem
        self._events.peers_live(len(self.live()))
