"""A local stack from start to stop."""

import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from veilface.cli.local_stack.addresses import choose_addresses
from veilface.cli.local_stack.credentials import ensure_credentials
from veilface.cli.local_stack.health import wait_for_redis, wait_until_serving
from veilface.cli.local_stack.layout import StateLayout
from veilface.cli.local_stack.process import StackProcess
from veilface.cli.local_stack.record import StackRecord, end_leftovers, exclusive
from veilface.cli.local_stack.services import DRAIN_TIMEOUT_S, SERVICES, redis_process, service_process
from veilface.cli.local_stack.signals import uninterrupted
from veilface.client import ClientSettings, VeilfaceClient
from veilface.client.keys import Key
from veilface.common.errors import NotFoundError
from veilface.common.pki import tls_settings

REDIS = "redis"
READY_TIMEOUT_S = 180.0
_STOP_ORDER = (("matching", "embedding"), ("keys",), (REDIS,))
_STOP_TIMEOUT_S = DRAIN_TIMEOUT_S + 5
# The path of a unix socket has room for 107 bytes on Linux and 103 on macOS.
_LONGEST_SOCKET_PATH = 100


@dataclass(frozen=True, slots=True)
class Started:
    """A process that is ready.

    Attributes:
        address: "127.0.0.1:port", or the path of Redis's socket.
        seconds: From its start until it was ready.
    """

    name: str
    address: str
    pid: int
    seconds: float


class LocalStack:
    """The three services and Redis. Stop it, or use it in a with statement, which starts it too.

    Args:
        folder: The state folder; it is made, and reused with everything in it.
        ready_timeout_s: How long one process may take to be ready.
        on_started: Told about each process when it is ready.
        settings: Settings of the services by their fields' names, in place of what the environment says.
    """

    def __init__(
        self,
        folder: Path,
        *,
        ready_timeout_s: float = READY_TIMEOUT_S,
        on_started: Callable[[Started], None] = lambda started: None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.layout = StateLayout.of(folder)
        self._ready_timeout_s = ready_timeout_s
        self._on_started = on_started
        self._settings = dict(settings or {})
        self._addresses: Mapping[str, str] = {}
        self._processes: dict[str, StackProcess] = {}
        self._redis_socket = self.layout.redis / "redis.sock"
        self._cleanup = ExitStack()

    def start(self) -> None:
        """Start everything and wait until it is ready.

        Raises:
            FailedPreconditionError: STACK_RUNNING if another process runs the stack of this folder.
            UnavailableError: STACK_FAILED if a process ends or is not ready in time; nothing is left running.
            ConfigurationError: INVALID_SETTING if something in the folder cannot be used.
        """
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop everything, those first that depend on others. It takes seconds, and no signal cuts it short."""
        with uninterrupted():
            for together in _STOP_ORDER:
                processes = [self._processes[name] for name in together if name in self._processes]
                for process in processes:
                    process.ask_to_stop()
                for process in processes:
                    process.stop(_STOP_TIMEOUT_S)
            self._processes.clear()
            self._cleanup.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def addresses(self) -> Mapping[str, str]:
        """Where each service listens."""
        return dict(self._addresses)

    @property
    def redis_socket(self) -> Path:
        """Redis's unix socket."""
        return self._redis_socket

    def process(self, name: str) -> StackProcess:
        """The process of "redis", "keys", "embedding" or "matching"."""
        return self._processes[name]

    def check(self) -> None:
        """Raise UnavailableError STACK_FAILED, with the end of its log, if a process has ended by itself."""
        for process in self._processes.values():
            process.check()

    def restart(self, name: str) -> None:
        """Stop one process, in order if it still runs, start it again and wait until it is ready."""
        self._processes[name].stop(_STOP_TIMEOUT_S)
        self._launch(name)
        self._wait(name, time.monotonic())
        self._save_record()

    def client(self, identity: str = "client") -> VeilfaceClient:
        """A client of this stack; the caller closes it. "operator" may create keys."""
        return VeilfaceClient(ClientSettings.from_state(self.layout.root, identity))

    def ensure_key(self, key: str = "default") -> tuple[Key, bool]:
        """The key of that name, and whether it was made just now."""
        with self.client("operator") as client:
            try:
                return client.keys.get(key), False
            except NotFoundError:
                return client.keys.create(key), True

    def _start(self) -> None:
        self.layout.create()
        self._cleanup.enter_context(exclusive(self.layout))
        left_behind = StackRecord.read(self.layout)
        if left_behind is not None:
            end_leftovers(left_behind)
        ensure_credentials(self.layout)
        self._redis_socket = self._choose_socket()
        self._addresses = choose_addresses(self.layout)
        self._processes[REDIS] = redis_process(self.layout, self._redis_socket)
        for name in SERVICES:
            self._processes[name] = service_process(
                self.layout, name, self._addresses, self._redis_socket, self._settings
            )
        self._cleanup.callback(self.layout.record.unlink, missing_ok=True)
        started_s = {}
        for name in self._processes:
            started_s[name] = time.monotonic()
            self._launch(name)
        self._save_record()
        for name, start_s in started_s.items():
            self._wait(name, start_s)

    def _launch(self, name: str) -> None:
        if name == REDIS:
            self._redis_socket.unlink(missing_ok=True)
        self._processes[name].start()

    def _wait(self, name: str, started_s: float) -> None:
        process = self._processes[name]
        if name == REDIS:
            address = str(self._redis_socket)
            wait_for_redis(process, self._redis_socket, self._ready_timeout_s)
        else:
            address = self._addresses[name]
            tls = tls_settings(self.layout.certificates, "client")
            wait_until_serving(process, address, tls, self._ready_timeout_s)
        self._on_started(Started(name, address, process.pid or 0, time.monotonic() - started_s))

    def _save_record(self) -> None:
        pids = {name: process.pid for name, process in self._processes.items()}
        StackRecord.of_this_process(pids, self._redis_socket).save(self.layout)

    def _choose_socket(self) -> Path:
        path = self.layout.redis / "redis.sock"
        if len(str(path).encode()) <= _LONGEST_SOCKET_PATH:
            return path
        folder = Path(tempfile.mkdtemp(prefix="veilface-"))
        self._cleanup.callback(shutil.rmtree, folder, ignore_errors=True)
        return folder / "redis.sock"
