"""How much time a call has left."""

from veilface.common.errors import Reason, UnavailableError
from veilface.common.interceptor import Context


def remaining_s(context: Context) -> float | None:
    """Seconds until the caller gives up, at least 0; None if it waits forever."""
    remaining = context.time_remaining()
    return None if remaining is None else max(0.0, remaining)


def timeout_s(context: Context, limit_s: float, reserve_s: float = 0.0) -> float:
    """The timeout of a call made on behalf of this one.

    Args:
        context: The call that is being served.
        limit_s: The longest timeout.
        reserve_s: Seconds to keep for the work that follows.

    Returns:
        Seconds, more than 0 and at most `limit_s`.

    Raises:
        UnavailableError: DEADLINE_EXCEEDED if no time is left.
    """
    remaining = remaining_s(context)
    if remaining is None:
        return limit_s
    if remaining <= reserve_s:
        raise UnavailableError(Reason.DEADLINE_EXCEEDED, "the deadline leaves no time for the rest of the call")
    return min(limit_s, remaining - reserve_s)
