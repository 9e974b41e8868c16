import pytest
from hypothesis import given
from hypothesis import strategies as st

from veilface.common.errors import InvalidArgumentError, Reason
from veilface.common.names import (
    EnrollmentName,
    GalleryName,
    KeyName,
    KeyVersionName,
    SubjectName,
    parse_key_or_version,
)

resource_ids = st.from_regex(r"[a-z][a-z0-9-]{0,62}", fullmatch=True)
subject_ids = st.from_regex(r"[A-Za-z0-9._@-]{1,128}", fullmatch=True)
names = st.one_of(
    st.builds(KeyName, resource_ids),
    st.builds(KeyVersionName, resource_ids, st.integers(1, 2**32 - 1)),
    st.builds(GalleryName, resource_ids),
    st.builds(EnrollmentName, resource_ids, st.integers(0, 2**63 - 1)),
    st.builds(SubjectName, resource_ids, subject_ids),
)


@given(name=names)
def test_every_name_parses_back_from_its_text(name):
    assert type(name).parse(str(name)) == name


@given(text=st.text(max_size=60))
@pytest.mark.parametrize("kind", [KeyName, KeyVersionName, GalleryName, EnrollmentName, SubjectName])
def test_any_text_is_a_name_or_an_invalid_name(kind, text):
    try:
        name = kind.parse(text)
    except InvalidArgumentError:
        return
    assert str(name) == text


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (KeyName, ""),
        (KeyName, "keys/"),
        (KeyName, "keys/A"),
        (KeyName, "keys/1a"),
        (KeyName, "keys/a\n"),
        (KeyName, "keys/" + "a" * 64),
        (KeyName, "keys/a/versions/1"),
        (KeyName, "galleries/a"),
        (KeyVersionName, "keys/a"),
        (KeyVersionName, "keys/a/versions/0"),
        (KeyVersionName, "keys/a/versions/01"),
        (KeyVersionName, "keys/a/versions/+1"),
        (KeyVersionName, "keys/a/versions/\u0661"),
        (KeyVersionName, f"keys/a/versions/{2**32}"),
        (KeyVersionName, "keys/a/versions/1/"),
        (GalleryName, "galleries/../etc"),
        (EnrollmentName, "galleries/a/enrollments/-1"),
        (EnrollmentName, f"galleries/a/enrollments/{2**63}"),
        (EnrollmentName, "galleries/a/enrollments/" + "9" * 5000),
        (SubjectName, "galleries/a/subjects/"),
        (SubjectName, "galleries/a/subjects/a b"),
        (SubjectName, "galleries/a/subjects/" + "a" * 129),
        (SubjectName, "galleries/a/subjects/\u00e9"),
    ],
)
def test_a_malformed_name_is_refused_with_a_message_of_bounded_length(kind, text):
    with pytest.raises(InvalidArgumentError) as caught:
        kind.parse(text)
    assert caught.value.reason is Reason.INVALID_NAME
    assert len(caught.value.message) < 300


def test_ids_are_checked_when_a_name_is_built_from_parts():
    assert str(KeyName("default").version(3)) == "keys/default/versions/3"
    with pytest.raises(InvalidArgumentError):
        KeyName("Default")
    with pytest.raises(InvalidArgumentError):
        KeyName("default").version(0)


def test_a_key_and_a_version_are_told_apart():
    assert parse_key_or_version("keys/a") == KeyName("a")
    assert parse_key_or_version("keys/a/versions/2") == KeyVersionName("a", 2)
    with pytest.raises(InvalidArgumentError, match=r"keys/\{key\} or keys/\{key\}/versions/\{version\}"):
        parse_key_or_version("keys/a/versions")


def test_children_know_their_parents():
    gallery = GalleryName("staff")
    assert gallery.enrollment(7).gallery_name == gallery
    assert gallery.subject("ann@example.org").gallery_name == gallery
    assert KeyVersionName("default", 2).key_name == KeyName("default")
