"""`veilface import` on the running stack, as an operator would type it."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from veilface.cli.exit_codes import ExitCode
from veilface.cli.local_stack.stack import LocalStack
from veilface.client import VeilfaceClient
from veilface.common.errors import Reason

COUNT = 4200
DIMENSION = 48
MODEL = "another/model"
TIMEOUT_S = 180


@pytest.fixture
def gallery(operator: VeilfaceClient) -> "str":
    name = "imported"
    operator.galleries.create(name)
    return name


def run(stack: LocalStack, *arguments: str | Path) -> "tuple[int, dict[str, object]]":
    command = [sys.executable, "-m", "veilface.cli.app", "import", *map(str, arguments), "--json"]
    finished = subprocess.run(
        [*command, "--state", str(stack.layout.root)], capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    return finished.returncode, json.loads(finished.stdout)


def test_an_operator_imports_and_imports_again(
    stack: LocalStack, operator: VeilfaceClient, gallery: str, tmp_path: Path
) -> None:
    vectors, ids = tmp_path / "vectors.npy", tmp_path / "ids.txt"
    np.save(vectors, np.random.default_rng(1).normal(size=(COUNT, DIMENSION)))
    ids.write_text("\n".join(f"person-{number // 2}" for number in range(COUNT)) + "\n")

    code, document = run(stack, gallery, vectors, "--ids", ids, "--model", MODEL)
    assert (code, document["error"]["reason"]) == (ExitCode.REFUSED, Reason.EMBEDDING_OUT_OF_RANGE)  # type: ignore[index]
    assert operator.galleries.get(gallery).enrollment_count == 0

    code, document = run(stack, gallery, vectors, "--ids", ids, "--model", MODEL, "--normalize")
    assert code == ExitCode.DONE
    assert (document["enrollment_count"], document["segment_count"], document["known_segment_count"]) == (COUNT, 2, 0)
    made = operator.galleries.get(gallery)
    assert (made.enrollment_count, made.subject_count, made.model, made.dimension) == (
        COUNT,
        COUNT // 2,
        MODEL,
        DIMENSION,
    )

    code, document = run(stack, gallery, vectors, "--ids", ids, "--normalize")
    assert (code, document["known_segment_count"], document["sent_bytes"]) == (ExitCode.DONE, 2, 0)
    assert operator.galleries.get(gallery).enrollment_count == COUNT
