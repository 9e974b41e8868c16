from collections.abc import Iterator

import pytest

from tests.unit.client.fakes import Fakes, running_fakes
from veilface.client import VeilfaceClient


@pytest.fixture
def fakes() -> Iterator[Fakes]:
    with running_fakes() as running:
        yield running


@pytest.fixture
def client(fakes: Fakes) -> Iterator[VeilfaceClient]:
    with VeilfaceClient.connect(fakes.settings) as connected:
        yield connected
