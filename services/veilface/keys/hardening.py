"""The key service's process keeps its memory to itself: no core dumps, no debugger, no secret in /proc."""

import ctypes
import os
import resource
import sys

from veilface.common.errors import ConfigurationError, Reason

_PR_SET_DUMPABLE = 4


def protect_process_memory() -> None:
    """Forbid core dumps, and make the process non-dumpable: then only a privileged user can attach to it.

    Raises:
        ConfigurationError: INVALID_SETTING if the operating system refuses.
    """
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if sys.platform == "linux":
            _prctl(_PR_SET_DUMPABLE, 0)
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            Reason.INVALID_SETTING, f"the memory of the key service cannot be protected: {error}"
        ) from error


def wipe_environment_block(variable: str) -> None:
    """Overwrite the value of a variable where /proc/PID/environ shows it, and a core would have it.

    `os.environ` read it before and still has it; this process's later children inherit zeros.
    """
    libc = ctypes.CDLL(None)
    libc.getenv.restype = ctypes.c_void_p
    address = libc.getenv(os.fsencode(variable))
    if address is not None:
        ctypes.memset(address, 0, len(os.environb.get(os.fsencode(variable), b"")))


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
