"""A walk over protobuf descriptors for fields that could carry a secret key, an embedding or a raw score."""

import importlib
import pkgutil
import re
from collections.abc import Iterable, Iterator

from google.protobuf.descriptor import Descriptor, FieldDescriptor, FileDescriptor

import veilface

_RAW_TYPES = frozenset((FieldDescriptor.TYPE_BYTES, FieldDescriptor.TYPE_FLOAT, FieldDescriptor.TYPE_DOUBLE))
_NOT_NUMBERS = frozenset(
    (
        FieldDescriptor.TYPE_MESSAGE,
        FieldDescriptor.TYPE_GROUP,
        FieldDescriptor.TYPE_STRING,
        FieldDescriptor.TYPE_BOOL,
        FieldDescriptor.TYPE_ENUM,
    )
)
_TELLING_NAME = re.compile(r"secret|private|plaintext|embedding|vector|similarity|distance|(^|_)scores?($|_)")


def project_files() -> list[FileDescriptor]:
    """The descriptors of all generated modules of the package."""
    names = [
        module.name
        for module in pkgutil.walk_packages(veilface.__path__, "veilface.", onerror=_raise)
        if re.fullmatch(r"veilface\.\w+\.v\d+\.\w+_pb2", module.name)
    ]
    return [importlib.import_module(name).DESCRIPTOR for name in names]


def can_carry_raw_values(files: Iterable[FileDescriptor]) -> set[str]:
    """The full names of fields that hold bytes or real numbers, or many numbers."""
    return {field.full_name for field in _fields(files) if _is_raw(field)}


def has_telling_name(files: Iterable[FileDescriptor]) -> set[str]:
    """The full names of fields, other than messages, that are named like a secret, an embedding or a score."""
    return {
        field.full_name
        for field in _fields(files)
        if field.type != FieldDescriptor.TYPE_MESSAGE and _TELLING_NAME.search(field.name)
    }


def _fields(files: Iterable[FileDescriptor]) -> Iterator[FieldDescriptor]:
    for file in files:
        for message in file.message_types_by_name.values():
            yield from _fields_of(message)


def _fields_of(message: Descriptor) -> Iterator[FieldDescriptor]:
    yield from message.fields
    # A map is a nested message, with its values in a field.
    for nested in message.nested_types:
        yield from _fields_of(nested)


def _is_raw(field: FieldDescriptor) -> bool:
    return field.type in _RAW_TYPES or (field.is_repeated and field.type not in _NOT_NUMBERS)


def _raise(name: str) -> None:
    raise ImportError(f"{name} cannot be imported")
