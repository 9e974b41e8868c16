"""A real local stack that has served people full of canaries, and every place where one could turn up."""

import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.integration.security.history import History, serve_people
from tests.integration.security.unprivileged import unprivileged_thread

from veilface.cli.local_stack.stack import LocalStack
from veilface.embedding.domain.pipeline import Pipeline
from veilface.embedding.models.building import build_pipelines
from veilface.embedding.settings import DEFAULT_PIPELINE

READY_TIMEOUT_S = 240.0


@pytest.fixture(scope="session")
def unprivileged() -> Iterator[ThreadPoolExecutor]:
    with unprivileged_thread() as thread:
        yield thread


@pytest.fixture(scope="session")
def stack(unprivileged: ThreadPoolExecutor) -> Iterator[LocalStack]:
    """A stack that logs all it can, shows its metrics, and was started without the right to trace others."""
    with tempfile.TemporaryDirectory(prefix="veilface-security-") as folder:
        settings = {"log_level": "debug", "metrics_port": "0"}
        made = LocalStack(Path(folder), ready_timeout_s=READY_TIMEOUT_S, settings=settings)
        try:
            unprivileged.submit(made.start).result()
            yield made
        finally:
            made.stop()


@pytest.fixture(scope="session")
def pipeline() -> Pipeline:
    """The pipeline of the stack's embedding service, in this process."""
    return build_pipelines((DEFAULT_PIPELINE,), Path.home(), 1).default


@pytest.fixture(scope="session")
def history(stack: LocalStack, pipeline: Pipeline, tmp_path_factory: pytest.TempPathFactory) -> History:
    return serve_people(stack, pipeline, tmp_path_factory.mktemp("photographs"))
