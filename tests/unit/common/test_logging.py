import io
import json
import logging
import sys

import numpy as np
import pytest
import structlog

from veilface.common.errors import Reason, UnavailableError
from veilface.common.logging import configure_logging
from veilface.types.v1.template_pb2 import Template

CANARY = "canary-7f3a"


@pytest.fixture
def log(monkeypatch):
    """Configures JSON logs and answers a function that reads the lines written so far."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    root = logging.getLogger()
    before = (root.handlers, root.level, logging.getLogger("veilface").level)
    configure_logging("info", "json")
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    root.handlers, root.level = before[0], before[1]
    logging.getLogger("veilface").setLevel(before[2])
    structlog.reset_defaults()


def test_an_event_is_one_json_object_with_level_and_time(log):
    structlog.get_logger().info("listening", address="unix:/x")
    (line,) = log()
    assert line["event"] == "listening"
    assert line["address"] == "unix:/x"
    assert line["level"] == "info"
    assert line["timestamp"].endswith("Z")


def test_events_below_the_level_are_not_written(log):
    structlog.get_logger().debug("quiet")
    structlog.get_logger().warning("loud")
    assert [line["event"] for line in log()] == ["loud"]


def test_content_is_replaced_by_its_kind(log):
    structlog.get_logger().info(
        "event",
        payload=CANARY.encode(),
        vector=np.array([0.123456]),
        message=Template(statement=CANARY.encode()),
        nested={"inner": [CANARY.encode()], "embedding": CANARY},
        secret_key=CANARY,
        score=0.123456,
        count=3,
    )
    (line,) = log()
    text = json.dumps(line)
    assert CANARY not in text
    assert "0.123456" not in text
    assert line["count"] == 3
    assert line["payload"] == "<11 bytes>"


def test_an_exception_is_logged_by_type_and_place_without_its_text(log):
    try:
        raise ValueError(CANARY)
    except ValueError:
        structlog.get_logger().exception("failed")
    (line,) = log()
    assert line["exception"] == "ValueError"
    assert any("test_an_exception_is_logged" in frame for frame in line["frames"])
    assert CANARY not in json.dumps(line)


def test_the_text_of_veilfaces_own_errors_is_logged_with_the_cause_by_type(log):
    try:
        try:
            raise ValueError(CANARY)
        except ValueError as cause:
            raise UnavailableError(Reason.DEPENDENCY_UNAVAILABLE, "the database does not answer") from cause
    except UnavailableError:
        structlog.get_logger().exception("failed")
    (line,) = log()
    assert line["exception_message"] == "the database does not answer"
    assert line["exception_reason"] == "DEPENDENCY_UNAVAILABLE"
    assert line["cause"]["exception"] == "ValueError"
    assert CANARY not in json.dumps(line)


def test_a_library_that_logs_an_exception_does_not_bring_its_text_in(log):
    try:
        raise ValueError(CANARY)
    except ValueError:
        logging.getLogger("some.library").exception("it broke")
    (line,) = log()
    assert (line["event"], line["exception"]) == ("it broke", "ValueError")
    assert CANARY not in json.dumps(line)


def test_libraries_are_quiet_below_warning(log):
    logging.getLogger("some.library").info("chatter")
    assert log() == []


def test_the_pretty_format_writes_the_same_facts_for_people(log, monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    configure_logging("info", "pretty")
    structlog.get_logger().info("listening", port=7001)
    assert "listening" in stream.getvalue()
    assert "7001" in stream.getvalue()
    assert not stream.getvalue().startswith("{")
