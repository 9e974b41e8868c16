import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from veilface.common.errors import InvalidArgumentError, Reason
from veilface.matching.domain.paging import PageTokens, page_size

TOKENS = PageTokens(b"k" * 32)
QUERY = ("enrollments", "galleries/staff", "")


@given(st.text(min_size=1, max_size=200))
def test_a_token_leads_back_to_its_place(next_key):
    assert TOKENS.decode(QUERY, TOKENS.encode(QUERY, next_key)) == next_key


def test_the_last_page_has_no_token_and_no_token_is_the_first_page():
    assert TOKENS.encode(QUERY, None) == ""
    assert TOKENS.decode(QUERY, "") is None


@pytest.mark.parametrize(
    "query",
    [
        ("enrollments", "galleries/other", ""),
        ("enrollments", "galleries/staff", "galleries/staff/subjects/anna"),
        ("subjects", "galleries/staff"),
        ("enrollments", "galleries/staffgalleries/", "staff"),
        ("galleries",),
    ],
)
def test_a_token_of_another_list_is_refused(query):
    with pytest.raises(InvalidArgumentError) as caught:
        TOKENS.decode(query, TOKENS.encode(QUERY, "17"))
    assert caught.value.reason is Reason.INVALID_PAGE_TOKEN


def test_a_token_of_another_store_is_refused():
    with pytest.raises(InvalidArgumentError):
        PageTokens(b"x" * 32).decode(QUERY, TOKENS.encode(QUERY, "17"))


def test_an_altered_token_is_refused():
    decoded = bytearray(base64.urlsafe_b64decode(TOKENS.encode(QUERY, "17")))
    for position in range(len(decoded)):
        changed = bytearray(decoded)
        changed[position] ^= 1
        with pytest.raises(InvalidArgumentError):
            TOKENS.decode(QUERY, base64.urlsafe_b64encode(changed).decode())


@given(st.text(max_size=80))
def test_an_invented_token_is_refused(token):
    if token:
        with pytest.raises(InvalidArgumentError) as caught:
            TOKENS.decode(QUERY, token)
        assert caught.value.reason is Reason.INVALID_PAGE_TOKEN


def test_page_sizes_have_a_default_and_a_maximum():
    assert (page_size(0), page_size(1), page_size(1000)) == (100, 1, 1000)
    with pytest.raises(InvalidArgumentError):
        page_size(1001)
