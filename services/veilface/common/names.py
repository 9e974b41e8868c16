"""Resource names (AIP-122): parsed once at the edge, then carried as types."""

import re
from dataclasses import dataclass
from typing import Self

from veilface.common.errors import InvalidArgumentError, Reason

LARGEST_VERSION = 2**32 - 1
LARGEST_ENROLLMENT = 2**63 - 1

_RESOURCE_ID = re.compile(r"[a-z][a-z0-9-]{0,62}")
_SUBJECT_ID = re.compile(r"[A-Za-z0-9._@-]{1,128}")
_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}")
_SHOWN_CHARACTERS = 80


@dataclass(frozen=True, slots=True, order=True)
class KeyName:
    """A key, "keys/{key}".

    Attributes:
        key: 1 to 63 of a-z, 0-9 and '-', starting with a letter.

    Raises:
        InvalidArgumentError: INVALID_NAME for another id.
    """

    key: str

    def __post_init__(self) -> None:
        _check_resource_id("key", self.key)

    @classmethod
    def parse(cls, name: str) -> Self:
        """Parse "keys/{key}". Raises InvalidArgumentError INVALID_NAME."""
        parts = name.split("/")
        if len(parts) != 2 or parts[0] != "keys":
            raise _invalid_name(name, "keys/{key}")
        return cls(parts[1])

    def version(self, version: int) -> "KeyVersionName":
        """The name of one of its versions."""
        return KeyVersionName(self.key, version)

    def __str__(self) -> str:
        return f"keys/{self.key}"


@dataclass(frozen=True, slots=True, order=True)
class KeyVersionName:
    """A version of a key, "keys/{key}/versions/{version}".

    Attributes:
        key: The id of the key.
        version: From 1.

    Raises:
        InvalidArgumentError: INVALID_NAME for another id or number.
    """

    key: str
    version: int

    def __post_init__(self) -> None:
        _check_resource_id("key", self.key)
        _check_number("key version", self.version, 1, LARGEST_VERSION)

    @classmethod
    def parse(cls, name: str) -> Self:
        """Parse "keys/{key}/versions/{version}". Raises InvalidArgumentError INVALID_NAME."""
        form = "keys/{key}/versions/{version}"
        parts = name.split("/")
        if len(parts) != 4 or parts[0] != "keys" or parts[2] != "versions":
            raise _invalid_name(name, form)
        return cls(parts[1], _parse_number(name, parts[3], form))

    @property
    def key_name(self) -> KeyName:
        """The name of the key."""
        return KeyName(self.key)

    def __str__(self) -> str:
        return f"keys/{self.key}/versions/{self.version}"


@dataclass(frozen=True, slots=True, order=True)
class GalleryName:
    """A gallery, "galleries/{gallery}".

    Attributes:
        gallery: 1 to 63 of a-z, 0-9 and '-', starting with a letter.

    Raises:
        InvalidArgumentError: INVALID_NAME for another id.
    """

    gallery: str

    def __post_init__(self) -> None:
        _check_resource_id("gallery", self.gallery)

    @classmethod
    def parse(cls, name: str) -> Self:
        """Parse "galleries/{gallery}". Raises InvalidArgumentError INVALID_NAME."""
        parts = name.split("/")
        if len(parts) != 2 or parts[0] != "galleries":
            raise _invalid_name(name, "galleries/{gallery}")
        return cls(parts[1])

    def enrollment(self, enrollment: int) -> "EnrollmentName":
        """The name of one of its enrollments."""
        return EnrollmentName(self.gallery, enrollment)

    def subject(self, subject: str) -> "SubjectName":
        """The name of one of its subjects."""
        return SubjectName(self.gallery, subject)

    def __str__(self) -> str:
        return f"galleries/{self.gallery}"


@dataclass(frozen=True, slots=True, order=True)
class EnrollmentName:
    """An enrollment, "galleries/{gallery}/enrollments/{enrollment}".

    Attributes:
        gallery: The id of the gallery.
        enrollment: A number from 0, unique in the gallery.

    Raises:
        InvalidArgumentError: INVALID_NAME for another id or number.
    """

    gallery: str
    enrollment: int

    def __post_init__(self) -> None:
        _check_resource_id("gallery", self.gallery)
        _check_number("enrollment", self.enrollment, 0, LARGEST_ENROLLMENT)

    @classmethod
    def parse(cls, name: str) -> Self:
        """Parse "galleries/{gallery}/enrollments/{enrollment}". Raises InvalidArgumentError INVALID_NAME."""
        form = "galleries/{gallery}/enrollments/{enrollment}"
        parts = name.split("/")
        if len(parts) != 4 or parts[0] != "galleries" or parts[2] != "enrollments":
            raise _invalid_name(name, form)
        return cls(parts[1], _parse_number(name, parts[3], form))

    @property
    def gallery_name(self) -> GalleryName:
        """The name of the gallery."""
        return GalleryName(self.gallery)

    def __str__(self) -> str:
        return f"galleries/{self.gallery}/enrollments/{self.enrollment}"


@dataclass(frozen=True, slots=True, order=True)
class SubjectName:
    """A subject, "galleries/{gallery}/subjects/{subject}".

    Attributes:
        gallery: The id of the gallery.
        subject: 1 to 128 of A-Z, a-z, 0-9, '.', '_', '-' and '@'.

    Raises:
        InvalidArgumentError: INVALID_NAME for another id.
    """

    gallery: str
    subject: str

    def __post_init__(self) -> None:
        _check_resource_id("gallery", self.gallery)
        if not _SUBJECT_ID.fullmatch(self.subject):
            raise InvalidArgumentError(
                Reason.INVALID_NAME,
                f"{_shown(self.subject)} is not a subject id: 1 to 128 of A-Z, a-z, 0-9, '.', '_', '-' and '@'",
            )

    @classmethod
    def parse(cls, name: str) -> Self:
        """Parse "galleries/{gallery}/subjects/{subject}". Raises InvalidArgumentError INVALID_NAME."""
        parts = name.split("/")
        if len(parts) != 4 or parts[0] != "galleries" or parts[2] != "subjects":
            raise _invalid_name(name, "galleries/{gallery}/subjects/{subject}")
        return cls(parts[1], parts[3])

    @property
    def gallery_name(self) -> GalleryName:
        """The name of the gallery."""
        return GalleryName(self.gallery)

    def __str__(self) -> str:
        return f"galleries/{self.gallery}/subjects/{self.subject}"


def parse_key_or_version(name: str) -> KeyName | KeyVersionName:
    """Parse a key, which stands for its primary version, or one version.

    Raises:
        InvalidArgumentError: INVALID_NAME for anything else.
    """
    if name.count("/") == 1:
        return KeyName.parse(name)
    if name.count("/") == 3:
        return KeyVersionName.parse(name)
    raise _invalid_name(name, "keys/{key} or keys/{key}/versions/{version}")


def _check_resource_id(kind: str, value: str) -> None:
    if not _RESOURCE_ID.fullmatch(value):
        raise InvalidArgumentError(
            Reason.INVALID_NAME,
            f"{_shown(value)} is not a {kind} id: 1 to 63 of a-z, 0-9 and '-', starting with a letter",
        )


def _check_number(kind: str, value: int, smallest: int, largest: int) -> None:
    if not smallest <= value <= largest:
        raise InvalidArgumentError(Reason.INVALID_NAME, f"a {kind} is a number from {smallest} to {largest}")


def _parse_number(name: str, digits: str, form: str) -> int:
    if not _NUMBER.fullmatch(digits):
        raise _invalid_name(name, form)
    return int(digits)


def _invalid_name(name: str, form: str) -> InvalidArgumentError:
    return InvalidArgumentError(Reason.INVALID_NAME, f"{_shown(name)} is not a name of the form {form}")


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "...")
