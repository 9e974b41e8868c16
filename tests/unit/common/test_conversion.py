from datetime import UTC, datetime, timedelta, timezone

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from veilface.common.conversion import (
    metric_from_proto,
    metric_to_proto,
    scheme_from_proto,
    scheme_to_proto,
    space_from_proto,
    time_from_proto,
    time_to_proto,
    use_from_proto,
    use_to_proto,
)
from veilface.common.errors import InvalidArgumentError, Reason
from veilface.crypto.contract import Metric, Scheme, TemplateUse
from veilface.types.v1 import template_pb2

PAIRS = [
    (Scheme, scheme_to_proto, scheme_from_proto, template_pb2.Scheme),
    (Metric, metric_to_proto, metric_from_proto, template_pb2.Metric),
    (TemplateUse, use_to_proto, use_from_proto, template_pb2.TemplateUse),
]


@pytest.mark.parametrize(("enum", "to_proto", "from_proto", "wire"), PAIRS)
def test_every_member_and_every_number_has_its_counterpart(enum, to_proto, from_proto, wire):
    numbers = [to_proto(member) for member in enum]
    assert [from_proto(number) for number in numbers] == list(enum)
    assert sorted([0, *numbers]) == sorted(wire.values())


@pytest.mark.parametrize(("enum", "to_proto", "from_proto", "wire"), PAIRS)
@pytest.mark.parametrize(("value", "reason"), [(0, Reason.MISSING_FIELD), (99, Reason.INVALID_FIELD)])
def test_unspecified_and_unknown_numbers_are_refused(enum, to_proto, from_proto, wire, value, reason):
    with pytest.raises(InvalidArgumentError) as caught:
        from_proto(value)
    assert caught.value.reason is reason


def test_unspecified_can_select_a_default():
    assert scheme_from_proto(0, unspecified=Scheme.CKKS_PACKED) is Scheme.CKKS_PACKED
    with pytest.raises(InvalidArgumentError):
        scheme_from_proto(99, unspecified=Scheme.CKKS_PACKED)


def test_a_space_without_dimensions_is_refused():
    assert space_from_proto(512, template_pb2.METRIC_COSINE).dimension == 512
    with pytest.raises(InvalidArgumentError) as caught:
        space_from_proto(0, template_pb2.METRIC_COSINE)
    assert caught.value.reason is Reason.WRONG_DIMENSION


@given(time=st.datetimes(timezones=st.just(UTC)).filter(lambda time: time != datetime(1970, 1, 1, tzinfo=UTC)))
def test_a_time_survives_to_the_microsecond(time):
    assert time_from_proto("create_time", time_to_proto(time)) == time


def test_a_time_of_another_zone_is_the_same_moment():
    time = datetime(2026, 1, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    assert time_from_proto("create_time", time_to_proto(time)) == time


def test_a_time_without_a_zone_is_a_programming_error():
    with pytest.raises(ValueError, match="time zone"):
        time_to_proto(datetime(2026, 1, 1))


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (Timestamp(), Reason.MISSING_FIELD),
        (Timestamp(seconds=10**15), Reason.INVALID_FIELD),
        (Timestamp(seconds=-(10**15)), Reason.INVALID_FIELD),
        (Timestamp(seconds=1, nanos=-1), Reason.INVALID_FIELD),
    ],
)
def test_a_missing_or_impossible_time_is_refused(message, reason):
    with pytest.raises(InvalidArgumentError) as caught:
        time_from_proto("create_time", message)
    assert caught.value.reason is reason
