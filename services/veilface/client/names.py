"""Names as people give them: the bare id or the full resource name."""

from veilface.common.errors import InvalidArgumentError, Reason
from veilface.common.names import GalleryName, KeyName, KeyVersionName, parse_key_or_version


def parse_key(key: str) -> KeyName:
    """A key from its id, "staff", or its name, "keys/staff". Raises InvalidArgumentError INVALID_NAME."""
    return KeyName.parse(key) if "/" in key else KeyName(key)


def name_of_key(key: str) -> str:
    """The full name of a key or key version from its id or name. Raises InvalidArgumentError INVALID_NAME."""
    return str(parse_key_or_version(key) if "/" in key else KeyName(key))


def parse_version(version: str) -> KeyVersionName:
    """A key version from "staff/2" or its name, "keys/staff/versions/2". Raises InvalidArgumentError INVALID_NAME."""
    key, _, number = version.partition("/")
    if version.startswith("keys/") and version.count("/") > 1:
        return KeyVersionName.parse(version)
    if not number.isascii() or not number.isdecimal():
        raise InvalidArgumentError(
            Reason.INVALID_NAME,
            f'{version[:80]!r} is not a key version: write it as "staff/2" or "keys/staff/versions/2"',
        )
    return KeyVersionName(key, int(number))


def parse_gallery(gallery: str) -> GalleryName:
    """A gallery from its id, "staff", or its name, "galleries/staff". Raises InvalidArgumentError INVALID_NAME."""
    return GalleryName.parse(gallery) if "/" in gallery else GalleryName(gallery)
