import hashlib
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from veilface.common.attested import Circuit, ScoreStatement, SignedScores, sign_scores
from veilface.common.database import Database
from veilface.common.identities import MATCHING_IDENTITY
from veilface.common.names import KeyName
from veilface.common.signing import Signer, TrustStore
from veilface.crypto.contract import Metric, Scheme, TemplateSpace
from veilface.keys.domain.alternation import AlternationMonitor
from veilface.keys.domain.audit import AuditEvent, AuditHead, StoredRecord
from veilface.keys.domain.ciphertext_budget import CiphertextBudget
from veilface.keys.domain.decide import Decider, DecisionMeans
from veilface.keys.domain.decrypters import DecrypterCache
from veilface.keys.domain.master_key import MasterKey
from veilface.keys.domain.policy import KeyPolicy
from veilface.keys.domain.thresholds import Threshold, ThresholdTable
from veilface.keys.domain.tickets import TicketRules
from veilface.keys.domain.vault import Vault
from veilface.keys.domain.versions import Key
from veilface.keys.storage.key_store import SqlKeyStore
from veilface.keys.storage.ledger import SqlLedger
from veilface.keys.storage.migrate import migrate

PROFILE = "ckks-packed-128"
MODEL = "test/pipeline"
SPACE = TemplateSpace(128)


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2030, 5, 17, 12, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, step: timedelta) -> None:
        self.now += step


@dataclass
class FakeKey:
    secret_key: bytearray = field(default_factory=lambda: bytearray(secrets.token_bytes(512)))
    public_key: bytes = field(default_factory=lambda: secrets.token_bytes(300))
    evaluation_keys: bytes = field(default_factory=lambda: secrets.token_bytes(900))


@dataclass
class PlainDecrypter:
    """Stands for a scheme: its ciphertexts are scores and then slots, as float64 in the clear. Counts decryptions."""

    decryptions: int = 0
    is_wiped: bool = False

    def decrypt(self, ciphertext: bytes, space: TemplateSpace, score_count: int) -> NDArray[np.float64]:
        self.decryptions += 1
        values = np.frombuffer(ciphertext, dtype=np.float64)
        assert values.size == 2 * score_count
        return values[:score_count]

    def slots(self, ciphertext: bytes, space: TemplateSpace, score_count: int) -> NDArray[np.intp]:
        return np.frombuffer(ciphertext, dtype=np.float64)[score_count:].astype(np.intp)

    def wipe(self) -> None:
        self.is_wiped = True


class MemoryAudit:
    def __init__(self) -> None:
        self.events: list[AuditEvent] = []

    def append(self, event: AuditEvent) -> None:
        self.events.append(event)

    def head(self) -> AuditHead:
        return AuditHead(len(self.events), bytes(32))

    def page(self, after: int, limit: int) -> list[StoredRecord]:
        raise NotImplementedError


@pytest.fixture
def clock() -> Clock:
    return Clock()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A module that sets ON_BOTH_DATABASES has each of its tests run on SQLite and on PostgreSQL."""
    is_asked_for = "database_url" in metafunc.fixturenames and "sqlite_files" not in metafunc.fixturenames
    if is_asked_for and getattr(metafunc.module, "ON_BOTH_DATABASES", False):
        metafunc.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database: SQLite, unless the test is run on both."""
    if getattr(request, "param", "sqlite") == "sqlite":
        yield f"sqlite:///{tmp_path}/keys.db"
        return
    with request.getfixturevalue("postgresql").database() as url:
        yield url


@pytest.fixture
def sqlite_files(tmp_path: Path, database: Database) -> Callable[[], bytes]:
    """Reads all that SQLite has written."""
    return lambda: b"".join(path.read_bytes() for path in sorted(tmp_path.glob("keys.db*")))


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    migrate(database)
    yield database
    database.close()


@pytest.fixture
def master_key() -> MasterKey:
    return MasterKey(bytearray(secrets.token_bytes(32)))


@pytest.fixture
def store(database: Database) -> SqlKeyStore:
    return SqlKeyStore(database)


@pytest.fixture
def generated() -> list[FakeKey]:
    """Every key that the vault of this test made."""
    return []


@pytest.fixture
def generate(generated: list[FakeKey]) -> Callable[[Scheme, str], FakeKey]:
    def make(scheme: Scheme, profile: str) -> FakeKey:
        generated.append(FakeKey())
        return generated[-1]

    return make


@pytest.fixture
def vault(store: SqlKeyStore, generate: Callable[[Scheme, str], FakeKey], clock: Clock, master_key: MasterKey) -> Vault:
    vault = Vault(store, generate, clock)
    vault.unseal(master_key)
    return vault


@pytest.fixture
def create(vault: Vault) -> Callable[..., Key]:
    def make(key_id: str = "office", policy: KeyPolicy | None = None, *, transformed: bool = False) -> Key:
        return vault.create_key(
            KeyName(key_id), Scheme.CKKS_PACKED, PROFILE, policy or KeyPolicy(), transformed=transformed
        )

    return make


@pytest.fixture
def matcher() -> Signer:
    return Signer.generate(MATCHING_IDENTITY)


@pytest.fixture
def audit() -> MemoryAudit:
    return MemoryAudit()


@pytest.fixture
def decrypter() -> PlainDecrypter:
    return PlainDecrypter()


@pytest.fixture
def alarms() -> list[str]:
    return []


@pytest.fixture
def withheld() -> list[bool]:
    """One for every search that was decided without some of its candidates."""
    return []


@pytest.fixture
def means(
    vault: Vault,
    database: Database,
    audit: MemoryAudit,
    matcher: Signer,
    clock: Clock,
    decrypter: PlainDecrypter,
    alarms: list[str],
    withheld: list[bool],
) -> DecisionMeans:
    return DecisionMeans(
        vault=vault,
        decrypters=DecrypterCache(vault, lambda scheme, profile, secret_key: decrypter, 4),
        ledger=SqlLedger(database),
        audit=audit,
        thresholds=ThresholdTable(
            [
                Threshold(
                    model=MODEL,
                    metric=Metric.COSINE,
                    operating_point=operating_point,
                    value=value,
                    source="made up for tests",
                    measured=date(2030, 1, 1),
                )
                for operating_point, value in (("strict", 0.95), ("balanced", 0.93), ("lenient", 0.91))
            ]
        ),
        trust=TrustStore({matcher.identity: [matcher.public_key_bytes]}),
        rules=TicketRules(),
        alternation=AlternationMonitor(alarms.append),
        budget=CiphertextBudget(1 << 30),
        on_withheld=lambda: withheld.append(True),
        clock=clock,
    )


@pytest.fixture
def decider(means: DecisionMeans) -> Decider:
    return Decider(means)


def score_ciphertext(scores: Sequence[float], slots: Sequence[int] | None = None) -> bytes:
    return np.array([*scores, *(range(len(scores)) if slots is None else slots)], dtype=np.float64).tobytes()


def in_search(changes: dict[str, object]) -> dict[str, object]:
    return {"subject": "", "gallery_uid": 7, "segment": changes.get("batch_index", 0)}


def in_comparison(changes: dict[str, object]) -> dict[str, object]:
    reference = f"reference {changes.get('batch_index', 0)} of ada"
    return {
        "subject": "galleries/staff/subjects/ada",
        "reference_sha256": hashlib.sha256(reference.encode()).digest(),
    }


class Matcher:
    """Makes the answers that a matching service would."""

    def __init__(self, signer: Signer, clock: Clock) -> None:
        self.signer = signer
        self.clock = clock

    def answer(self, batches: Sequence[Sequence[float]], **changes: object) -> list[SignedScores]:
        nonce = secrets.token_bytes(16)
        return [
            self.batch(scores, batch_index=index, batch_count=len(batches), **{"nonce": nonce, **changes})
            for index, scores in enumerate(batches)
        ]

    def batch(self, scores: Sequence[float], slots: Sequence[int] | None = None, **changes: object) -> SignedScores:
        ciphertext = score_ciphertext(scores, slots)
        statement = self.statement(ciphertext, score_count=len(scores), **changes)
        return sign_scores(self.signer, statement, ciphertext)

    def statement(self, ciphertext: bytes, **changes: object) -> ScoreStatement:
        fields: dict[str, object] = {
            "key_version": "keys/office/versions/1",
            "scheme": Scheme.CKKS_PACKED,
            "profile": PROFILE,
            "circuit": Circuit.VERIFY,
            "model": MODEL,
            "space": SPACE,
            "gallery": "galleries/staff",
            "generation": 3,
            **(in_search(changes) if changes.get("circuit") is Circuit.SEARCH else in_comparison(changes)),
            "probe_sha256": secrets.token_bytes(32),
            "ciphertext_sha256": hashlib.sha256(ciphertext).digest(),
            "score_count": 1,
            "batch_index": 0,
            "batch_count": 1,
            "nonce": secrets.token_bytes(16),
            "expire_time": self.clock() + timedelta(minutes=5),
        }
        return ScoreStatement(**{**fields, **changes})  # type: ignore[arg-type]

    def verification(self, *scores: float, **changes: object) -> list[SignedScores]:
        probe = {"probe_sha256": secrets.token_bytes(32)}
        return self.answer([[score] for score in scores], **{**probe, **changes})

    def search(self, *batches: Sequence[float], **changes: object) -> list[SignedScores]:
        probe = {"probe_sha256": secrets.token_bytes(32), "circuit": Circuit.SEARCH}
        return self.answer(batches, **{**probe, **changes})


@pytest.fixture
def matching(matcher: Signer, clock: Clock) -> Matcher:
    return Matcher(matcher, clock)
