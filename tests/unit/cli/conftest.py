import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.unit.client.fakes import Fakes, running_fakes
from veilface.cli.root import app


@dataclass(frozen=True)
class Finished:
    exit_code: int
    stdout: str
    stderr: str

    @property
    def document(self) -> dict[str, Any]:
        document = json.loads(self.stdout)
        assert isinstance(document, dict)
        return document


Run = Callable[..., Finished]


@pytest.fixture
def veilface(monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.delenv("VEILFACE_STATE", raising=False)

    def run(*arguments: str, **environment: str) -> Finished:
        result = CliRunner().invoke(app, [*arguments], env=environment)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Finished(result.exit_code, result.stdout, result.stderr)

    return run


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> Iterator[Fakes]:
    with running_fakes() as running:
        for name, value in running.environment.items():
            monkeypatch.setenv(name, value)
        yield running
