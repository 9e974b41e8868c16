import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from veilface.common.errors import FailedPreconditionError
from veilface.common.names import KeyName
from veilface.keys.domain.decrypters import DecrypterCache
from veilface.keys.domain.vault import UsableVersion, Vault
from veilface.keys.domain.versions import Key

TIMEOUT_S = 30
OFFICE, LOBBY = KeyName("office").version(1), KeyName("lobby").version(1)


@dataclass
class Opened:
    """A decrypter that does nothing but remember that it was wiped."""

    is_wiped: bool = False

    def wipe(self) -> None:
        self.is_wiped = True


@dataclass
class Opening:
    """Opens decrypters; the first one only once it may go on."""

    opened: list[Opened] = field(default_factory=list)
    has_begun: threading.Event = field(default_factory=threading.Event)
    may_go_on: threading.Event = field(default_factory=threading.Event)
    on_open: Callable[[], object] = lambda: None

    def __call__(self, *_: object) -> Any:
        self.opened.append(Opened())
        mine = self.opened[-1]
        if len(self.opened) == 1:
            self.has_begun.set()
            assert self.may_go_on.wait(TIMEOUT_S)
        self.on_open()
        return mine


@pytest.fixture
def opening() -> Opening:
    return Opening()


@pytest.fixture
def cache(vault: Vault, opening: Opening, create: Callable[..., Key]) -> DecrypterCache:
    for key in ("office", "lobby"):
        create(key)
    return DecrypterCache(vault, opening, 4)


@pytest.fixture
def usable(vault: Vault, cache: DecrypterCache) -> dict[str, UsableVersion]:
    return {str(name): vault.resolve(name) for name in (OFFICE, LOBBY)}


def test_opening_one_key_holds_up_nobody_who_wants_another(
    cache: DecrypterCache, opening: Opening, usable: dict[str, UsableVersion]
) -> None:
    leased: list[Any] = []

    def lease() -> None:
        with cache.lease(usable[str(OFFICE)]) as decrypter:
            leased.append(decrypter)

    waiting = [threading.Thread(target=lease) for _ in range(3)]
    for thread in waiting:
        thread.start()
    assert opening.has_begun.wait(TIMEOUT_S)
    with cache.lease(usable[str(LOBBY)]) as lobby:
        assert lobby is opening.opened[1]
    assert leased == []
    opening.may_go_on.set()
    for thread in waiting:
        thread.join(TIMEOUT_S)
    # Those who wanted the same version waited for the one who opened it.
    assert leased == [opening.opened[0]] * 3
    assert len(opening.opened) == 2


def test_a_version_that_is_disabled_while_it_is_opened_is_not_kept(
    cache: DecrypterCache, opening: Opening, usable: dict[str, UsableVersion], vault: Vault
) -> None:
    opening.may_go_on.set()

    def disable() -> None:
        vault.disable(OFFICE)
        cache.drop(OFFICE)

    opening.on_open = disable
    with pytest.raises(FailedPreconditionError), cache.lease(usable[str(OFFICE)]):
        pass
    assert (len(cache), opening.opened[0].is_wiped) == (0, True)
    opening.on_open = lambda: None
    vault.enable(OFFICE)
    with cache.lease(usable[str(OFFICE)]):
        assert not opening.opened[1].is_wiped


def test_a_sealed_vault_leaves_no_decrypter_behind(
    cache: DecrypterCache, opening: Opening, usable: dict[str, UsableVersion], vault: Vault
) -> None:
    opening.may_go_on.set()
    for version in usable.values():
        with cache.lease(version):
            pass
    cache.drop_unusable()
    assert len(cache) == 2
    vault._wrapper = None
    cache.drop_unusable()
    assert len(cache) == 0
    assert all(each.is_wiped for each in opening.opened)
