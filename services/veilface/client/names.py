"""Names as people give them: the bare id or the full resource name."""

from veilface.common.names import GalleryName, KeyName, parse_key_or_version


def parse_key(key: str) -> KeyName:
    """A key from its id, "staff", or its name, "keys/staff". Raises InvalidArgumentError INVALID_NAME."""
    return KeyName.parse(key) if "/" in key else KeyName(key)


def name_of_key(key: str) -> str:
    """The full name of a key or key version from its id or name. Raises InvalidArgumentError INVALID_NAME."""
    return str(parse_key_or_version(key) if "/" in key else KeyName(key))


def parse_gallery(gallery: str) -> GalleryName:
    """A gallery from its id, "staff", or its name, "galleries/staff". Raises InvalidArgumentError INVALID_NAME."""
    return GalleryName.parse(gallery) if "/" in gallery else GalleryName(gallery)
