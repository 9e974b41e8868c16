"""The connection to Redis: a Unix socket, or TCP with TLS and an ACL user."""

from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from veilface.common.errors import ConfigurationError, Reason
from veilface.matching.settings import MatchingSettings


def connect_redis(url: str, settings: MatchingSettings) -> Redis:
    """A client that connects when it is first used, gives up soon and answers bytes.

    Raises:
        ConfigurationError: INVALID_SETTING if the URL is none.
    """
    options: dict[str, Any] = {
        "socket_timeout": settings.redis_timeout_s,
        "socket_connect_timeout": settings.redis_timeout_s,
        # Once more, because a pooled connection may be that of a server that has gone.
        "retry": Retry(NoBackoff(), 1),
        "health_check_interval": 0,
    }
    if url.startswith("unix:"):
        del options["socket_connect_timeout"]
    if url.startswith("rediss:"):
        options |= {
            "ssl_cert_reqs": "required",
            "ssl_ca_certs": _path(settings.redis_ca),
            "ssl_certfile": _path(settings.redis_certificate),
            "ssl_keyfile": _path(settings.redis_private_key),
        }
    try:
        return Redis.from_url(url, **options)
    except ValueError as error:
        raise ConfigurationError(
            Reason.INVALID_SETTING, "VEILFACE_REDIS_URL is not a unix://, redis:// or rediss:// URL"
        ) from error


def _path(path: object) -> str | None:
    return None if path is None else str(path)
