"""How the command line ends, for scripts."""

from enum import IntEnum

from veilface.common.errors import (
    ConfigurationError,
    FailedPreconditionError,
    Reason,
    UnavailableError,
    VeilfaceError,
)


class ExitCode(IntEnum):
    """Exit codes. NO_MATCH is a decision; everything above it is a failure to decide."""

    DONE = 0
    """Done; for verify and compare: a match; for identify: somebody matches."""
    NO_MATCH = 1
    """Decided: no match, or nobody."""
    USAGE = 2
    """The command was written wrong."""
    REFUSED = 3
    """A service refused what was asked, or some images of many; the message says why."""
    UNAVAILABLE = 4
    """A service does not answer or is overloaded: try again."""
    SETUP = 5
    """The local stack, a setting or the installation needs attention."""
    INTERNAL = 70
    """A bug."""
    INTERRUPTED = 130
    """Stopped from the keyboard."""


HELP = (
    "Exit codes: 0 done or match, 1 no match, 2 usage, 3 refused, 4 unavailable (try again), 5 set-up, 70 bug, "
    "130 interrupted."
)

_STACK_REASONS = frozenset((Reason.STACK_FAILED, Reason.STACK_NOT_RUNNING, Reason.STACK_RUNNING))


def exit_code_of(error: VeilfaceError) -> ExitCode:
    """The exit code of an error."""
    if isinstance(error, ConfigurationError) or error.reason in _STACK_REASONS:
        return ExitCode.SETUP
    if error.reason is Reason.OVERLOADED or isinstance(error, UnavailableError):
        return ExitCode.UNAVAILABLE
    return ExitCode.INTERNAL if error.reason is Reason.INTERNAL else ExitCode.REFUSED


def error_of(code: ExitCode, reason: Reason, message: str) -> VeilfaceError:
    """An error that ends the command line with this code, as another process of it reported it."""
    kinds = {ExitCode.SETUP: ConfigurationError, ExitCode.UNAVAILABLE: UnavailableError}
    return kinds.get(code, FailedPreconditionError)(reason, message)
