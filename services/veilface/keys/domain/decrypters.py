"""Decrypters of key versions that are in use, so that not every decision unseals its key anew."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from weakref import WeakValueDictionary

from veilface.common.errors import FailedPreconditionError, NotFoundError, UnavailableError
from veilface.common.names import KeyVersionName
from veilface.crypto.contract import Scheme, ScoreDecrypter
from veilface.keys.domain.vault import UsableVersion, Vault

DecrypterLoader = Callable[[Scheme, str, memoryview], ScoreDecrypter]


@dataclass(slots=True)
class _Loaded:
    decrypter: ScoreDecrypter
    leases: int = 0
    is_dropped: bool = False


class _Opening:
    """Held by who opens a version that is not loaded."""

    def __init__(self) -> None:
        self.lock = threading.Lock()


class DecrypterCache:
    """Keeps a few decrypters and wipes each when it was dropped and nobody uses it any more.

    It does not decide whether a version may be used: ask the vault before every lease.

    Args:
        vault: Where secret keys are opened.
        load: Makes a decrypter from a secret key.
        capacity: How many to keep, at least 1; the least recently used one goes first.
    """

    def __init__(self, vault: Vault, load: DecrypterLoader, capacity: int) -> None:
        self._vault = vault
        self._load = load
        self._capacity = capacity
        self._lock = threading.Lock()
        self._loaded: OrderedDict[KeyVersionName, _Loaded] = OrderedDict()
        self._opening: WeakValueDictionary[KeyVersionName, _Opening] = WeakValueDictionary()

    @contextmanager
    def lease(self, usable: UsableVersion) -> Iterator[ScoreDecrypter]:
        """Lend the decrypter of a version for the length of a `with` block.

        Raises:
            DataLossError: SEAL_BROKEN.
            FailedPreconditionError: KEY_DISABLED and its kin if it became unusable while it was opened.
        """
        loaded = self._acquire(usable)
        try:
            yield loaded.decrypter
        finally:
            with self._lock:
                loaded.leases -= 1
                _wipe_if_unused(loaded)

    def drop(self, name: KeyVersionName) -> None:
        """Forget a version: call it as soon as the version is disabled or destroyed."""
        with self._lock:
            loaded = self._loaded.pop(name, None)
            if loaded is not None:
                loaded.is_dropped = True
                _wipe_if_unused(loaded)

    def drop_unusable(self) -> None:
        """Forget every version that may not be used any more, also if another replica decided that.

        That is all of them if the vault was sealed.
        """
        with self._lock:
            names = list(self._loaded)
        for name in names:
            try:
                self._vault.resolve(name)
            except (FailedPreconditionError, NotFoundError):
                self.drop(name)
            except UnavailableError:
                if not self._vault.is_sealed:
                    raise
                self.drop(name)

    def close(self) -> None:
        """Forget everything."""
        for name in list(self._loaded):
            self.drop(name)

    def __len__(self) -> int:
        return len(self._loaded)

    def _acquire(self, usable: UsableVersion) -> _Loaded:
        name = usable.version.name
        with self._lock:
            loaded = self._leased(name)
            opening = self._opening.setdefault(name, _Opening())
        if loaded is not None:
            return loaded
        # Opening takes long: it holds up those who want the same version, and nobody else.
        with opening.lock:
            with self._lock:
                loaded = self._leased(name)
            return loaded or self._inserted(usable)

    def _leased(self, name: KeyVersionName) -> _Loaded | None:
        loaded = self._loaded.get(name)
        if loaded is not None:
            self._loaded.move_to_end(name)
            loaded.leases += 1
        return loaded

    def _inserted(self, usable: UsableVersion) -> _Loaded:
        name = usable.version.name
        loaded = _Loaded(self._open(usable), leases=1)
        with self._lock:
            self._loaded[name] = loaded
            self._evict()
        try:
            # Whoever made it unusable since `usable` was looked up may have dropped it before it was there.
            self._vault.resolve(name)
        except BaseException:
            self.drop(name)
            with self._lock:
                loaded.leases -= 1
                _wipe_if_unused(loaded)
            raise
        return loaded

    def _open(self, usable: UsableVersion) -> ScoreDecrypter:
        with self._vault.open_secret_key(usable) as secret_key, secret_key.exposed() as view:
            return self._load(usable.key.scheme, usable.key.profile, view)

    def _evict(self) -> None:
        while len(self._loaded) > self._capacity:
            _, oldest = self._loaded.popitem(last=False)
            oldest.is_dropped = True
            _wipe_if_unused(oldest)


def _wipe_if_unused(loaded: _Loaded) -> None:
    if loaded.is_dropped and loaded.leases == 0:
        loaded.decrypter.wipe()
