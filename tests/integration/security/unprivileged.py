"""A thread that may not look into protected processes, whoever runs the tests. Processes that it starts may not either.

Root may read any memory. To show what holds for everybody else, the thread gives up CAP_SYS_PTRACE, as Linux lets every
thread do for itself (capabilities(7)). What it starts has no more rights than itself, and so may be read by it.
"""

import ctypes
import os
from concurrent.futures import ThreadPoolExecutor

_CAP_SETPCAP = 8
_CAP_SYS_PTRACE = 19
_PR_CAPBSET_DROP = 24
_VERSION_3 = 0x20080522


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def unprivileged_thread() -> ThreadPoolExecutor:
    """One thread without CAP_SYS_PTRACE."""
    return ThreadPoolExecutor(max_workers=1, initializer=_give_up_tracing)


def _give_up_tracing() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    header, sets = _Header(_VERSION_3, 0), (_Sets * 2)()
    _check(libc.capget(ctypes.byref(header), sets))
    if sets[0].effective & (1 << _CAP_SETPCAP):
        # Otherwise a program that root starts would get it back.
        _check(libc.prctl(_PR_CAPBSET_DROP, _CAP_SYS_PTRACE, 0, 0, 0))
    for name in ("effective", "permitted", "inheritable"):
        setattr(sets[0], name, getattr(sets[0], name) & ~(1 << _CAP_SYS_PTRACE))
    _check(libc.capset(ctypes.byref(header), sets))


def _check(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
