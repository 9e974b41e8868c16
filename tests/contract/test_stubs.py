"""The committed stubs are what the protos generate."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
SERVICES = REPOSITORY / "services"
TIMEOUT_S = 120


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("stubs")
    tools = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(
        [str(REPOSITORY / "deploy" / "local" / "generate-stubs"), str(folder)],
        env=os.environ | {"PATH": tools, "PYTHON": sys.executable},
        check=True,
        timeout=TIMEOUT_S,
    )
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_stubs_are_generated_for_every_proto(generated: dict[str, bytes]) -> None:
    protos = [path.relative_to(REPOSITORY / "protos") for path in (REPOSITORY / "protos").rglob("*.proto")]
    assert protos
    for proto in protos:
        assert str(proto.with_name(f"{proto.stem}_pb2.py")) in generated


def test_committed_stubs_are_the_generated_ones(generated: dict[str, bytes]) -> None:
    changed = [
        name
        for name, content in generated.items()
        if not (SERVICES / name).is_file() or (SERVICES / name).read_bytes() != content
    ]
    assert not changed, f"run deploy/local/generate-stubs: {changed}"


def test_no_stub_is_left_without_its_proto(generated: dict[str, bytes]) -> None:
    committed = {str(path.relative_to(SERVICES)) for path in SERVICES.glob("veilface/*/v1/*_pb2*") if path.is_file()}
    assert committed
    assert committed <= set(generated)
