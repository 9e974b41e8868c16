"""Whether the server is ready, and the gRPC health protocol that says so."""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Any

from grpc_health.v1 import health_pb2, health_pb2_grpc

from veilface.common.errors import NotFoundError, Reason, UnavailableError
from veilface.common.identity import HEALTH_SERVICE, REFLECTION_SERVICES
from veilface.common.interceptor import CallInterceptor, Context

LIVENESS = "liveness"
"""A service that is healthy as long as the process answers, ready or not, and while it drains."""

_ALWAYS_ANSWERED = tuple(f"/{service}/" for service in (HEALTH_SERVICE, *REFLECTION_SERVICES))


class Readiness:
    """The conditions that must hold before the server takes calls. To be used on the event loop only.

    Args:
        conditions: Their names, for example "database"; none of them holds at first.
    """

    def __init__(self, *conditions: str) -> None:
        self._waiting_for = dict.fromkeys(conditions, "not checked yet")
        self._known = frozenset(conditions)
        self._draining = False
        self._changed = asyncio.Event()

    def hold(self, condition: str) -> None:
        """The condition holds."""
        self._check_known(condition)
        self._waiting_for.pop(condition, None)
        self._notify()

    def fail(self, condition: str, problem: str) -> None:
        """The condition does not hold, or no longer; the problem is shown to callers and in logs."""
        self._check_known(condition)
        self._waiting_for[condition] = problem
        self._notify()

    def drain(self) -> None:
        """The server stops: it will never be ready again."""
        self._draining = True
        self._notify()

    @property
    def is_ready(self) -> bool:
        """Whether every condition holds and the server is not stopping."""
        return not self._waiting_for and not self._draining

    @property
    def is_draining(self) -> bool:
        """Whether the server is stopping."""
        return self._draining

    @property
    def problems(self) -> dict[str, str]:
        """The conditions that do not hold, and why."""
        return dict(self._waiting_for)

    def next_change(self) -> asyncio.Event:
        """An event that the next change sets. Take it before looking, so that no change is missed."""
        return self._changed

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _check_known(self, condition: str) -> None:
        if condition not in self._known:
            raise ValueError(f"{condition!r} is not one of the conditions {sorted(self._known)}")


class HealthServicer(health_pb2_grpc.HealthServicer):
    """grpc.health.v1: every service of the server is as healthy as the server, and `LIVENESS`, if there, always.

    Its watches end when the server drains; otherwise they would hold up the stop for the whole drain timeout.

    Args:
        readiness: What the answers depend on.
        services: The full names of the services.
    """

    def __init__(self, readiness: Readiness, services: Collection[str]) -> None:
        self._readiness = readiness
        self._services = ("", *services)

    async def Check(  # noqa: N802
        self, request: health_pb2.HealthCheckRequest, context: Context
    ) -> health_pb2.HealthCheckResponse:
        """Answer for one service. Raises NotFoundError for another service."""
        if request.service not in self._services:
            raise NotFoundError(Reason.INVALID_NAME, "this server has no service of that name")
        return health_pb2.HealthCheckResponse(status=self._status(request.service))

    async def List(  # noqa: N802
        self, request: Any, context: Context
    ) -> Any:
        """Answer for every service."""
        statuses = {service: health_pb2.HealthCheckResponse(status=self._status(service)) for service in self._services}
        # The stubs are older than this method.
        return health_pb2.HealthListResponse(statuses=statuses)  # type: ignore[attr-defined]

    async def Watch(  # noqa: N802
        self, request: health_pb2.HealthCheckRequest, context: Context
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        """Answer for one service now and at every change, until the server drains."""
        last: int | None = None
        while True:
            # Everything is looked at before the wait for the client that a yield is.
            change = self._readiness.next_change()
            draining = self._readiness.is_draining
            status = self._status(request.service)
            if status != last:
                yield health_pb2.HealthCheckResponse(status=status)
                last = status
            if draining:
                return
            await change.wait()

    def _status(self, service: str) -> int:
        if service not in self._services:
            return health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
        if self._readiness.is_ready or service == LIVENESS:
            return health_pb2.HealthCheckResponse.SERVING
        return health_pb2.HealthCheckResponse.NOT_SERVING


class ReadinessInterceptor(CallInterceptor):
    """Refuses calls with UNAVAILABLE while the server is not ready; health and reflection always answer."""

    def __init__(self, readiness: Readiness) -> None:
        self._readiness = readiness

    @asynccontextmanager
    async def around(self, method: str, context: Context) -> AsyncIterator[None]:
        """Check before the call begins; a call that runs already is not disturbed."""
        if not self._readiness.is_ready and not method.startswith(_ALWAYS_ANSWERED):
            raise self._refusal()
        yield

    def _refusal(self) -> UnavailableError:
        if self._readiness.is_draining:
            return UnavailableError(Reason.NOT_READY, "the server is stopping; try another replica")
        problems = "; ".join(f"{condition}: {problem}" for condition, problem in self._readiness.problems.items())
        return UnavailableError(Reason.NOT_READY, f"the server is not ready ({problems}); try again later")
