"""Who calls, as the certificate says, and what that identity may call."""

import json
import re
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Self

import structlog

from veilface.common.errors import ConfigurationError, PermissionDeniedError, Reason, UnauthenticatedError
from veilface.common.files import read_setting_file
from veilface.common.interceptor import CallInterceptor, Context

HEALTH_SERVICE = "grpc.health.v1.Health"
REFLECTION_SERVICES = ("grpc.reflection.v1alpha.ServerReflection", "grpc.reflection.v1.ServerReflection")
ANYONE = "*"

_PEER_URI = "peer_uri"
_METHOD = re.compile(r"/[A-Za-z0-9_.]+/([A-Za-z0-9_]+|\*)")
_caller: ContextVar[str | None] = ContextVar("veilface_caller", default=None)


class AccessPolicy:
    """Which identities may call which methods. What is not allowed is denied.

    Args:
        rules: For each full method name, "/package.Service/Method", or service, "/package.Service/*", the identities
            that may call it. A trailing "*" stands for any rest: "spiffe://veilface/*"; "*" alone for every identity.

    Raises:
        ConfigurationError: INVALID_SETTING for anything that is not such a rule.
    """

    def __init__(self, rules: Mapping[str, Collection[str]]) -> None:
        self._rules: dict[str, tuple[str, ...]] = {}
        for method, patterns in rules.items():
            if not _METHOD.fullmatch(method):
                raise ConfigurationError(
                    Reason.INVALID_SETTING,
                    f"{method!r} in the access policy is not of the form /package.Service/Method or /package.Service/*",
                )
            if isinstance(patterns, str) or not all(_is_pattern(pattern) for pattern in patterns):
                raise ConfigurationError(
                    Reason.INVALID_SETTING,
                    f"the access policy for {method} is not a list of identities, with '*' at the end of one at most",
                )
            self._rules[method] = tuple(patterns)

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Load the rules as one JSON object. Raises ConfigurationError INVALID_SETTING."""
        expected = 'a JSON object {"/package.Service/Method": ["identity", ...]}'
        try:
            document = json.loads(read_setting_file(path, expected))
        except ValueError as error:
            raise ConfigurationError(Reason.INVALID_SETTING, f"{path} is not {expected}") from error
        if not isinstance(document, dict) or not all(
            isinstance(patterns, list) and all(isinstance(pattern, str) for pattern in patterns)
            for patterns in document.values()
        ):
            raise ConfigurationError(Reason.INVALID_SETTING, f"{path} is not {expected}")
        return cls(document)

    def with_rules(self, rules: Mapping[str, Collection[str]]) -> "AccessPolicy":
        """This policy and more rules; a rule for the same method replaces the old one."""
        return AccessPolicy({**self._rules, **rules})

    @property
    def methods(self) -> frozenset[str]:
        """The methods and services that have a rule."""
        return frozenset(self._rules)

    def allows(self, method: str, identity: str) -> bool:
        """Whether the identity may call the method."""
        service, _, _ = method.rpartition("/")
        patterns = (*self._rules.get(method, ()), *self._rules.get(f"{service}/*", ()))
        return any(_matches(pattern, identity) for pattern in patterns)


class AccessInterceptor(CallInterceptor):
    """Refuses calls that the policy does not allow. Health may be asked without an identity.

    Args:
        policy: Who may call what.
        insecure_identity: The identity of callers without TLS; None refuses them.
    """

    def __init__(self, policy: AccessPolicy, insecure_identity: str | None = None) -> None:
        self._policy = policy
        self._insecure_identity = insecure_identity

    @asynccontextmanager
    async def around(self, method: str, context: Context) -> AsyncIterator[None]:
        """Check before anything else happens."""
        identity = peer_identity(context.auth_context()) or self._insecure_identity
        # Bound and never reset: each call is a task of its own, with its own context.
        _caller.set(identity)
        structlog.contextvars.bind_contextvars(caller=identity)
        if not method.startswith(f"/{HEALTH_SERVICE}/"):
            self._check(method, identity)
        yield

    def _check(self, method: str, identity: str | None) -> None:
        if identity is None:
            raise UnauthenticatedError(
                Reason.IDENTITY_MISSING,
                "the caller's certificate names no identity: it needs exactly one URI among its alternative names",
            )
        if not self._policy.allows(method, identity):
            raise PermissionDeniedError(
                Reason.IDENTITY_DENIED, f"{identity} may not call {method}: the server's access policy does not list it"
            )


def peer_identity(auth_context: Mapping[str, Iterable[bytes]]) -> str | None:
    """The identity in the peer's certificate: its only URI. None without TLS, without a URI and with several."""
    uris = [bytes(uri) for uri in auth_context.get(_PEER_URI, ())]
    if len(uris) != 1:
        return None
    try:
        return uris[0].decode("ascii") or None
    except UnicodeDecodeError:
        return None


def caller_identity() -> str:
    """The identity of the caller of the running call.

    Raises:
        UnauthenticatedError: IDENTITY_MISSING outside of a call, and in a health check without one.
    """
    identity = _caller.get()
    if identity is None:
        raise UnauthenticatedError(Reason.IDENTITY_MISSING, "this call has no caller with an identity")
    return identity


def _is_pattern(pattern: str) -> bool:
    return bool(pattern) and "*" not in pattern[:-1] and pattern.isprintable()


def _matches(pattern: str, identity: str) -> bool:
    if pattern.endswith("*"):
        return identity.startswith(pattern[:-1])
    return identity == pattern
