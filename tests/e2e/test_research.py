"""Key sizes that only research may use: refused by a stack as it is, and whole on one that was told so."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import READY_TIMEOUT_S
from tests.faces import LabelledFaces
from veilface.cli.local_stack.stack import LocalStack
from veilface.client import VeilfaceClient
from veilface.common.errors import InvalidArgumentError, Reason
from veilface.crypto.contract import Scheme
from veilface.keys.v1 import policy_pb2

PROFILE = "paillier-80"


@pytest.fixture
def research_stack(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalStack]:
    monkeypatch.setenv("VEILFACE_RESEARCH", "true")
    with (
        tempfile.TemporaryDirectory(prefix="veilface-e2e-") as folder,
        LocalStack(Path(folder), ready_timeout_s=READY_TIMEOUT_S) as running,
    ):
        yield running


def create_key(operator: VeilfaceClient) -> None:
    policy = policy_pb2.KeyPolicy(plaintext_probe_allowed=True)
    operator.keys.create("research", Scheme.PAILLIER, PROFILE, policy)


def test_80_bits_are_refused(operator: VeilfaceClient) -> None:
    with pytest.raises(InvalidArgumentError, match=PROFILE) as refused:
        create_key(operator)
    assert refused.value.reason is Reason.INSECURE_PARAMETERS


def test_80_bits_do_for_research(research_stack: LocalStack, faces: LabelledFaces) -> None:
    with research_stack.client("operator") as operator:
        create_key(operator)
    somebody = max(faces.people, key=len)
    stranger = next(photographs for photographs in faces.people if photographs != somebody)
    with research_stack.client() as client:
        client.galleries.create("studied", "research")
        client.enroll("studied", somebody[0], subject="ada")
        assert client.verify("studied", "ada", somebody[1]).is_match
        assert not client.verify("studied", "ada", stranger[0]).is_match
