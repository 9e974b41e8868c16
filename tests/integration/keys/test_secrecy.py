"""Where secret keys are not: in answers, logs, the audit log, the database, metrics and core dumps."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from veilface.common.database import Database
from veilface.common.names import KeyVersionName
from veilface.crypto.secret.registry import generate_key
from veilface.keys.domain.master_key import FileSource
from veilface.keys.domain.sealing import open_seal
from veilface.keys.domain.secret_bytes import SecretKey
from veilface.keys.storage.key_store import SqlKeyStore
from veilface.keys.v1 import key_service_pb2 as pb

TIMEOUT_S = 60
NAME = KeyVersionName("shared", 1)


def secret_of(running: Any) -> bytes:
    database = Database(f"sqlite:///{running.folder}/keys.db")
    sealed = SqlKeyStore(database).sealed(NAME)
    assert sealed is not None
    with (
        FileSource(running.master_key).load() as master_key,
        open_seal(SecretKey, sealed.secret_key, sealed.context, master_key) as secret_key,
        secret_key.exposed() as view,
    ):
        secret = bytes(view)
    database.close()
    return secret


def hits(secret: bytes, haystack: bytes) -> int:
    """How many 48-byte pieces of the secret are in the haystack, as they are or in hexadecimal."""
    pieces = [secret[start : start + 48] for start in range(0, len(secret) - 48, 16)]
    return sum(piece in haystack or piece.hex().encode() in haystack for piece in pieces)


@pytest.fixture
def everything(running: Any, comparing: Any) -> bytes:
    """All that the service answers about a key, and all that it writes."""
    request = pb.DecideVerificationRequest(score_batches=comparing.verification(0.97))
    decision = running.stub("client").DecideVerification(request, timeout=TIMEOUT_S)
    operator = running.stub("operator")
    answers = [
        decision,
        operator.GetKey(pb.GetKeyRequest(name="keys/shared"), timeout=TIMEOUT_S),
        operator.ListKeys(pb.ListKeysRequest(), timeout=TIMEOUT_S),
        operator.ListAuditRecords(pb.ListAuditRecordsRequest(page_size=1000), timeout=TIMEOUT_S),
        *operator.GetPublicKey(pb.GetPublicKeyRequest(name="keys/shared"), timeout=TIMEOUT_S),
        *operator.GetEvaluationKeys(pb.GetEvaluationKeysRequest(name="keys/shared"), timeout=TIMEOUT_S),
    ]
    files = [path.read_bytes() for path in sorted(running.folder.iterdir()) if path.is_file()]
    return b"".join([*(answer.SerializeToString() for answer in answers), *files])


def test_no_answer_and_no_file_holds_a_piece_of_a_secret_key(running: Any, everything: bytes) -> None:
    assert hits(secret_of(running), everything) == 0


def test_the_same_scan_finds_a_planted_secret_key(running: Any, everything: bytes) -> None:
    secret = secret_of(running)
    assert hits(secret, everything + secret) > 200
    assert hits(secret, everything + secret.hex().encode()) > 200


def test_a_secret_key_is_long_enough_to_scan_for() -> None:
    from veilface.crypto.contract import Scheme

    assert len(generate_key(Scheme.CKKS_PACKED, "ckks-packed-128").secret_key) > 1000


def test_the_process_dumps_no_core(running: Any) -> None:
    limits = Path(f"/proc/{running.pid}/limits").read_text()
    (core,) = [line for line in limits.splitlines() if line.startswith("Max core file size")]
    assert core.split()[4:6] == ["0", "0"]


def test_a_master_key_in_the_environment_is_gone_from_it_once_it_was_read(service: Any) -> None:
    text = service.master_key.read_text().strip()
    service.settings |= {"VEILFACE_MASTER_KEY_FILE": "", "VEILFACE_MASTER_KEY": text}
    service.start()
    environment = Path(f"/proc/{service.pid}/environ").read_bytes()
    assert b"VEILFACE_TRUST_STORE=" in environment
    assert b"VEILFACE_MASTER_KEY=" in environment
    assert text.encode() not in environment


def test_resealing_runs_without_cores(service: Any, tmp_path: Path) -> None:
    service.start()
    service.stop()
    limits = tmp_path / "limits"
    command = tmp_path / "new-key"
    command.write_text(f"#!/bin/sh\ncat /proc/$PPID/limits > {limits}\ncat {service.master_key}\n")
    command.chmod(0o700)
    arguments = ["--database-url", f"sqlite:///{service.folder}/keys.db", "--audit-file", str(tmp_path / "a.jsonl")]
    arguments += ["--old-file", str(service.master_key), "--new-command", str(command)]
    subprocess.run([sys.executable, "-m", "veilface.keys.offline", "reseal", *arguments], check=True, timeout=TIMEOUT_S)
    (core,) = [line for line in limits.read_text().splitlines() if line.startswith("Max core file size")]
    assert core.split()[4:6] == ["0", "0"]


def test_the_process_is_made_non_dumpable() -> None:
    script = (
        "import ctypes; libc = ctypes.CDLL(None); print(libc.prctl(3, 0, 0, 0, 0));"
        "from veilface.keys.hardening import protect_process_memory; protect_process_memory();"
        "print(libc.prctl(3, 0, 0, 0, 0))"
    )
    finished = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=TIMEOUT_S
    )
    before, after = finished.stdout.split()
    assert (before, after) == ("1", "0")
