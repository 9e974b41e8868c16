import random
import secrets
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from veilface.common.database import Database
from veilface.common.errors import (
    AlreadyExistsError,
    DataLossError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    Reason,
    UnavailableError,
)
from veilface.common.names import KeyName, KeyVersionName
from veilface.keys.domain.master_key import MasterKey
from veilface.keys.domain.policy import KeyPolicy, Release
from veilface.keys.domain.resealing import reseal
from veilface.keys.domain.vault import Vault
from veilface.keys.domain.versions import Key, VersionState
from veilface.keys.storage.key_store import SqlKeyStore
from veilface.keys.storage.migrate import migrate
from veilface.keys.storage.tables import key_material, key_versions

NAME = KeyName("office")
FIRST = NAME.version(1)


def secret_of(vault: Vault, name: KeyVersionName = FIRST) -> bytes:
    with vault.open_secret_key(vault.resolve(name)) as secret_key, secret_key.exposed() as view:
        return bytes(view)


def state_of(key: Key, version: int = 1) -> VersionState:
    found = key.version(version)
    assert found is not None
    return found.state


class Capturing:
    """A key generator that remembers the secrets it gave away."""

    def __init__(self, generate: Callable[..., Any]) -> None:
        self.generate = generate
        self.secrets: list[bytes] = []

    def __call__(self, *arguments: object) -> Any:
        key = self.generate(*arguments)
        self.secrets.append(bytes(key.secret_key))
        return key


@pytest.fixture
def capturing(generate: Callable[..., Any]) -> Capturing:
    return Capturing(generate)


@pytest.fixture
def vault(store: SqlKeyStore, capturing: Capturing, clock: Any, master_key: MasterKey) -> Vault:
    vault = Vault(store, capturing, clock)
    vault.unseal(master_key)
    return vault


def test_a_new_key_has_one_enabled_primary_version(create: Callable[..., Key], generated: list[Any]) -> None:
    key = create()
    assert (key.primary_version, key.minimum_version, len(key.versions)) == (1, 1, 1)
    assert state_of(key) is VersionState.ENABLED
    assert key.versions[0].public_key_bytes == len(generated[0].public_key)


def test_the_generated_secret_is_wiped_once_it_is_sealed(create: Callable[..., Key], generated: list[Any]) -> None:
    create()
    assert generated[0].secret_key == bytes(512)


def test_the_secret_key_comes_out_as_it_went_in(create: Callable[..., Key], vault: Vault, capturing: Capturing) -> None:
    create()
    assert secret_of(vault) == capturing.secrets[0]


def test_a_taken_name_is_refused(create: Callable[..., Key]) -> None:
    create()
    with pytest.raises(AlreadyExistsError):
        create()


def test_two_creators_of_one_name_cannot_both_win(store: SqlKeyStore, create: Callable[..., Key], vault: Vault) -> None:
    key = create("lobby")
    with pytest.raises(AlreadyExistsError):
        store.insert_key(key, _stored(store, key))


def _stored(store: SqlKeyStore, key: Key) -> Any:
    from veilface.keys.domain.key_store import StoredVersion

    return StoredVersion(key.versions[0], b"sealed", b"", b"public", b"evaluation")


def test_everything_survives_a_restart(
    create: Callable[..., Key], capturing: Capturing, master_key: MasterKey, clock: Any, database_url: str
) -> None:
    created = create(policy=KeyPolicy(release=Release.BANDED))
    database = Database(database_url)
    migrate(database)
    restarted = Vault(SqlKeyStore(database), capturing, clock)
    restarted.unseal(master_key)
    assert restarted.get_key(NAME) == created
    assert secret_of(restarted) == capturing.secrets[0]
    database.close()


def test_a_sealed_vault_refuses_everything(
    store: SqlKeyStore, create: Callable[..., Key], capturing: Capturing, clock: Any
) -> None:
    create()
    sealed = Vault(store, capturing, clock)
    for attempt in (
        lambda: sealed.get_key(NAME),
        lambda: sealed.list_keys(0, ""),
        lambda: sealed.resolve(NAME),
        lambda: sealed.rotate(NAME),
        lambda: sealed.disable(FIRST),
    ):
        with pytest.raises(UnavailableError) as caught:
            attempt()
        assert caught.value.reason is Reason.MASTER_KEY_MISSING


def test_another_master_key_leaves_the_vault_sealed(
    store: SqlKeyStore, create: Callable[..., Key], capturing: Capturing, clock: Any, master_key: MasterKey
) -> None:
    create()
    vault = Vault(store, capturing, clock)
    with pytest.raises(DataLossError, match="not the one"):
        vault.unseal(MasterKey(bytearray(32)))
    assert vault.is_sealed
    vault.unseal(master_key)
    assert not vault.is_sealed


def test_rotation_adds_a_primary_version_and_keeps_the_old_one(
    create: Callable[..., Key], vault: Vault, capturing: Capturing
) -> None:
    create()
    key = vault.rotate(NAME)
    assert (key.primary_version, len(key.versions)) == (2, 2)
    assert vault.resolve(NAME).version.number == 2
    assert [secret_of(vault, NAME.version(number)) for number in (1, 2)] == capturing.secrets


def test_of_two_rotations_at_the_same_time_one_is_refused(
    create: Callable[..., Key], vault: Vault, store: SqlKeyStore
) -> None:
    key = create()
    vault.rotate(NAME)
    stale = replace(_stored(store, key), version=replace(key.versions[0], name=NAME.version(2)))
    with pytest.raises(FailedPreconditionError) as caught:
        store.insert_primary(NAME, 1, stale)
    assert caught.value.reason is Reason.KEY_CHANGED
    assert len(vault.get_key(NAME).versions) == 2


def test_a_disabled_version_is_refused_until_it_is_enabled_again(create: Callable[..., Key], vault: Vault) -> None:
    create()
    vault.disable(FIRST)
    with pytest.raises(FailedPreconditionError) as caught:
        vault.resolve(FIRST)
    assert caught.value.reason is Reason.KEY_DISABLED
    vault.enable(FIRST)
    assert vault.resolve(FIRST).version.name == FIRST


def test_versions_below_the_minimum_are_refused(create: Callable[..., Key], vault: Vault) -> None:
    create()
    vault.rotate(NAME)
    vault.update(NAME, 2, None)
    with pytest.raises(FailedPreconditionError) as caught:
        vault.resolve(FIRST)
    assert caught.value.reason is Reason.KEY_VERSION_TOO_OLD
    vault.update(NAME, 1, None)
    vault.resolve(FIRST)


@pytest.mark.parametrize("minimum", [0, 2, -1])
def test_the_minimum_is_at_most_the_primary_version(create: Callable[..., Key], vault: Vault, minimum: int) -> None:
    create()
    with pytest.raises(InvalidArgumentError):
        vault.update(NAME, minimum, None)


def test_a_scheduled_version_is_refused_at_once_and_can_be_restored(
    create: Callable[..., Key], vault: Vault, clock: Any
) -> None:
    create()
    vault.rotate(NAME)
    key = vault.schedule_destruction(FIRST, timedelta(hours=2))
    assert state_of(key) is VersionState.DESTROY_SCHEDULED
    assert key.versions[0].destroy_time == clock.now + timedelta(hours=2)
    with pytest.raises(FailedPreconditionError):
        vault.resolve(FIRST)
    assert state_of(vault.restore(FIRST)) is VersionState.DISABLED
    vault.enable(FIRST)
    secret_of(vault)


def test_a_scheduled_version_is_destroyed_when_its_time_has_come(
    create: Callable[..., Key], vault: Vault, clock: Any, database: Database
) -> None:
    create()
    vault.rotate(NAME)
    vault.schedule_destruction(FIRST, timedelta(hours=2))
    assert vault.due_for_destruction() == []
    clock.advance(timedelta(hours=2))
    assert vault.due_for_destruction() == [FIRST]
    assert vault.destroy_due(FIRST)
    with database.read() as connection:
        left = connection.execute(select(key_material.c.version)).scalars().all()
    assert left == [2]


def test_a_version_that_was_scheduled_anew_meanwhile_is_not_destroyed(
    create: Callable[..., Key], vault: Vault, clock: Any
) -> None:
    create()
    vault.rotate(NAME)
    vault.schedule_destruction(FIRST, timedelta(hours=1))
    clock.advance(timedelta(minutes=59))
    vault.restore(FIRST)
    vault.schedule_destruction(FIRST, timedelta(hours=1))
    clock.advance(timedelta(minutes=2))
    assert vault.destroy_due(FIRST) is False
    assert state_of(vault.get_key(NAME)) is VersionState.DESTROY_SCHEDULED
    clock.advance(timedelta(hours=1))
    assert vault.destroy_due(FIRST) is True
    assert state_of(vault.get_key(NAME)) is VersionState.DESTROYED


def test_an_overdue_version_counts_as_destroyed_before_the_sweep(
    create: Callable[..., Key], vault: Vault, clock: Any
) -> None:
    create()
    vault.rotate(NAME)
    vault.schedule_destruction(FIRST, timedelta(hours=2))
    clock.advance(timedelta(hours=3))
    for attempt in (lambda: vault.resolve(FIRST), lambda: vault.restore(FIRST)):
        with pytest.raises(FailedPreconditionError) as caught:
            attempt()
        assert caught.value.reason is Reason.KEY_DESTROYED


def test_destroying_now_leaves_no_byte_of_the_sealed_key_in_the_database(
    create: Callable[..., Key], vault: Vault, database: Database, sqlite_files: Callable[[], bytes]
) -> None:
    create()
    vault.rotate(NAME)
    with database.read() as connection:
        rows = connection.execute(select(key_material.c.sealed_secret_key).order_by(key_material.c.version))
        first, second = rows.scalars().all()
    vault.destroy_now(FIRST)
    stored = sqlite_files()
    assert first[100:164] not in stored
    assert second[100:164] in stored
    for attempt in (vault.enable, vault.restore, vault.disable, vault.resolve):
        with pytest.raises(FailedPreconditionError) as caught:
            attempt(FIRST)
        assert caught.value.reason is Reason.KEY_DESTROYED


def test_the_primary_version_is_not_destroyed_while_it_is_enabled(create: Callable[..., Key], vault: Vault) -> None:
    create()
    for attempt in (lambda: vault.destroy_now(FIRST), lambda: vault.schedule_destruction(FIRST, None)):
        with pytest.raises(FailedPreconditionError, match="rotate"):
            attempt()
    vault.disable(FIRST)
    assert state_of(vault.destroy_now(FIRST)) is VersionState.DESTROYED


@pytest.mark.parametrize("delay", [timedelta(0), timedelta(seconds=-1), timedelta(days=366)])
def test_a_senseless_delay_is_refused(create: Callable[..., Key], vault: Vault, delay: timedelta) -> None:
    create()
    vault.rotate(NAME)
    with pytest.raises(InvalidArgumentError):
        vault.schedule_destruction(FIRST, delay)


@pytest.mark.parametrize("name", [KeyName("absent"), KeyVersionName("office", 2), KeyVersionName("absent", 1)])
def test_an_unknown_key_is_not_found(create: Callable[..., Key], vault: Vault, name: KeyName | KeyVersionName) -> None:
    create()
    with pytest.raises(NotFoundError):
        vault.resolve(name)


def test_pages_of_keys_are_complete_and_ordered(create: Callable[..., Key], vault: Vault) -> None:
    for key_id in ("delta", "alpha", "charlie", "bravo", "echo"):
        create(key_id)
    seen: list[str] = []
    token = ""
    for _ in range(3):
        keys, token = vault.list_keys(2, token)
        seen += [key.name.key for key in keys]
    assert seen == ["alpha", "bravo", "charlie", "delta", "echo"]
    assert token == ""


@pytest.mark.parametrize("page_size", [-1, 1001])
def test_a_page_size_out_of_range_is_refused(vault: Vault, page_size: int) -> None:
    with pytest.raises(InvalidArgumentError):
        vault.list_keys(page_size, "")


def test_public_material_is_what_was_generated(create: Callable[..., Key], vault: Vault, generated: list[Any]) -> None:
    create()
    usable = vault.resolve(NAME)
    assert vault.public_key(usable).content == generated[0].public_key
    assert vault.evaluation_keys(usable).content == generated[0].evaluation_keys


@pytest.mark.parametrize("column", ["public_key", "evaluation_keys"])
def test_an_exchanged_public_key_is_found_even_with_its_digest_exchanged(
    create: Callable[..., Key], vault: Vault, database: Database, column: str
) -> None:
    import hashlib

    create()
    planted = b"a public key of somebody else"
    with database.write() as connection:
        connection.execute(update(key_material).values({column: planted}))
    read = vault.public_key if column == "public_key" else vault.evaluation_keys
    with pytest.raises(DataLossError):
        read(vault.resolve(NAME))
    with database.write() as connection:
        connection.execute(update(key_versions).values({f"{column}_sha256": hashlib.sha256(planted).digest()}))
    with pytest.raises(DataLossError):
        read(vault.resolve(NAME))


def test_swapping_the_sealed_blobs_of_any_two_versions_is_refused(
    create: Callable[..., Key], vault: Vault, database: Database
) -> None:
    for key_id in ("office", "lobby"):
        create(key_id)
        for _ in range(4):
            vault.rotate(KeyName(key_id))
    with database.read() as connection:
        blobs = {
            KeyVersionName(row.key, row.version): row.sealed_secret_key
            for row in connection.execute(select(key_material))
        }
    names = sorted(blobs)
    for target in names:
        for source in names:
            _plant(database, target, blobs[source])
            if target == source:
                secret_of(vault, target)
                continue
            with pytest.raises(DataLossError) as caught:
                secret_of(vault, target)
            assert caught.value.reason is Reason.SEAL_BROKEN
        _plant(database, target, blobs[target])


def test_a_thousand_bit_flips_in_the_database_are_refused(
    create: Callable[..., Key], vault: Vault, database: Database
) -> None:
    create()
    usable = vault.resolve(NAME)
    with database.read() as connection:
        blob = connection.execute(select(key_material.c.sealed_secret_key)).scalar_one()
    source = random.Random(17)
    for bit in source.sample(range(8 * len(blob)), 1000):
        flipped = bytearray(blob)
        flipped[bit // 8] ^= 1 << (bit % 8)
        _plant(database, FIRST, bytes(flipped))
        with pytest.raises(DataLossError):
            vault.open_secret_key(usable)
    _plant(database, FIRST, blob)
    secret_of(vault)


def _plant(database: Database, name: KeyVersionName, blob: bytes) -> None:
    with database.write() as connection:
        connection.execute(
            update(key_material)
            .where(key_material.c.key == name.key, key_material.c.version == name.version)
            .values(sealed_secret_key=blob)
        )


def test_no_plain_secret_is_in_the_database_file(
    create: Callable[..., Key], capturing: Capturing, sqlite_files: Callable[[], bytes]
) -> None:
    create(transformed=True)
    stored = sqlite_files()
    assert capturing.secrets[0][:32] not in stored
    assert b"office" in stored


def test_resealing_moves_every_version_to_the_new_master_key(
    create: Callable[..., Key],
    vault: Vault,
    store: SqlKeyStore,
    capturing: Capturing,
    clock: Any,
    master_key: MasterKey,
) -> None:
    create(transformed=True)
    vault.rotate(NAME)
    new = MasterKey(bytearray(secrets.token_bytes(32)))
    assert reseal(store, master_key, new) == 2
    moved = Vault(store, capturing, clock)
    with pytest.raises(DataLossError):
        moved.unseal(master_key)
    moved.unseal(new)
    assert [secret_of(moved, NAME.version(number)) for number in (1, 2)] == capturing.secrets
    moved.open_transform_seed(moved.resolve(NAME))


def test_of_two_changes_that_know_the_same_etag_one_is_refused(create: Callable[..., Key], vault: Vault) -> None:
    read = create()
    changed = vault.update(NAME, None, KeyPolicy(top_k_limit=7), read.etag)
    assert changed.etag != read.etag
    with pytest.raises(FailedPreconditionError) as caught:
        vault.update(NAME, None, KeyPolicy(top_k_limit=9), read.etag)
    assert caught.value.reason is Reason.KEY_CHANGED
    assert vault.get_key(NAME) == changed
    # A rotation changes neither minimum version nor policy.
    assert vault.rotate(NAME).etag == changed.etag
    assert vault.update(NAME, 2, None, changed.etag).etag not in (changed.etag, read.etag)
    assert vault.update(NAME, None, KeyPolicy(top_k_limit=9)).policy.top_k_limit == 9


@pytest.mark.parametrize("position", [0, 12])
def test_a_damaged_version_is_refused_and_all_others_work(
    create: Callable[..., Key],
    vault: Vault,
    store: SqlKeyStore,
    database: Database,
    master_key: MasterKey,
    clock: Any,
    position: int,
) -> None:
    create()
    vault.rotate(NAME)
    with database.write() as connection:
        first = key_material.c.version == 1
        blob = bytearray(connection.execute(select(key_material.c.sealed_secret_key).where(first)).scalar_one())
        # In the magic, or in the name of the master key.
        blob[position] ^= 1
        connection.execute(update(key_material).where(first).values(sealed_secret_key=bytes(blob)))
    vault.seal_if_resealed()
    restarted = Vault(store, vault._generate, clock)
    assert restarted.unseal(master_key) == (FIRST,)
    for running in (vault, restarted):
        with pytest.raises(DataLossError):
            secret_of(running)
        assert secret_of(running, NAME.version(2))
        running.rotate(NAME)


def test_a_version_made_while_the_vault_moves_to_another_master_key_is_not_stored(
    create: Callable[..., Key], store: SqlKeyStore, clock: Any, master_key: MasterKey, generate: Callable[..., Any]
) -> None:
    create()
    new = MasterKey(bytearray(secrets.token_bytes(32)))

    def generate_slowly(*arguments: Any) -> Any:
        reseal(store, master_key, new)
        return generate(*arguments)

    late = Vault(store, generate_slowly, clock)
    late.unseal(master_key)
    with pytest.raises(FailedPreconditionError, match="another master key") as caught:
        late.rotate(NAME)
    assert caught.value.reason is Reason.KEY_CHANGED
    moved = Vault(store, generate, clock)
    assert moved.unseal(new) == ()
    assert len(moved.get_key(NAME).versions) == 1
    reseal(store, new, master_key)
    with pytest.raises(FailedPreconditionError, match="another master key"):
        late.create_key(KeyName("lobby"), late.get_key(NAME).scheme, "ckks-packed-128", KeyPolicy(), transformed=False)
    reseal(store, new, master_key)
    assert moved.unseal(master_key) == ()
    assert len(moved.rotate(NAME).versions) == 2


def test_resealing_with_a_wrong_old_key_changes_nothing(
    create: Callable[..., Key], vault: Vault, store: SqlKeyStore, master_key: MasterKey
) -> None:
    create()
    with pytest.raises(DataLossError):
        reseal(store, MasterKey(bytearray(32)), master_key)
    secret_of(vault)


def test_each_version_of_a_transformed_key_has_its_own_seed(create: Callable[..., Key], vault: Vault) -> None:
    create(transformed=True)
    vault.rotate(NAME)
    seeds = set()
    for number in (1, 2):
        usable = vault.resolve(NAME.version(number))
        with vault.open_transform_seed(usable) as seed, seed.exposed() as view:
            seeds.add(bytes(view))
    assert {len(seed) for seed in seeds} == {32}
    assert len(seeds) == 2


def test_a_key_without_transform_has_no_seed(create: Callable[..., Key], vault: Vault) -> None:
    create()
    with pytest.raises(FailedPreconditionError) as caught:
        vault.open_transform_seed(vault.resolve(NAME))
    assert caught.value.reason is Reason.UNSUPPORTED_BY_KEY
