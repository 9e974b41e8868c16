"""What the client asked of which service, how long it took and which bytes crossed the wire."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message

from veilface.types.v1 import template_pb2

_EXCERPT_BYTES = 8


class Service(StrEnum):
    """The three services, in the order of their work."""

    EMBEDDING = "embedding"
    MATCHING = "matching"
    KEYS = "keys"


class PayloadKind(StrEnum):
    """What a large field of a message holds."""

    IMAGE = "image"
    TEMPLATE = "encrypted template"
    PLAINTEXT_PROBE = "probe in the clear"
    SCORES = "encrypted scores"


_NOT_ENCRYPTED = frozenset((PayloadKind.IMAGE, PayloadKind.PLAINTEXT_PROBE))
_KINDS: dict[tuple[str, str], PayloadKind] = {
    ("veilface.embedding.v1.ExtractTemplatesRequest", "image"): PayloadKind.IMAGE,
    ("veilface.types.v1.Template", "ciphertext"): PayloadKind.TEMPLATE,
    ("veilface.types.v1.ScoreBatch", "ciphertext"): PayloadKind.SCORES,
}


@dataclass(frozen=True, slots=True)
class Payload:
    """The payloads of one kind in one direction of one call.

    Attributes:
        kind: What they are.
        count: How many there were.
        total_bytes: Their size together.
        excerpt: Eight bytes from the middle of the first ciphertext, in hexadecimal; empty for what is not encrypted.
    """

    kind: PayloadKind
    count: int
    total_bytes: int
    excerpt: str


@dataclass(frozen=True, slots=True)
class Step:
    """One call to one service.

    Attributes:
        service: Who was asked.
        call: The method, for example "SearchGallery".
        milliseconds: From the first byte sent to the last byte received.
        sent_bytes: The size of the request messages.
        received_bytes: The size of the response messages.
        sent: The payloads that the service was shown.
        received: The payloads that it made.
    """

    service: Service
    call: str
    milliseconds: float
    sent_bytes: int
    received_bytes: int
    sent: tuple[Payload, ...]
    received: tuple[Payload, ...]


def payloads_of(messages: Iterable[Message]) -> tuple[Payload, ...]:
    """Summarize the images and ciphertexts inside messages, by kind."""
    found: dict[PayloadKind, Payload] = {}
    for message in messages:
        for kind, data in _walk(message):
            before = found.get(kind)
            found[kind] = Payload(
                kind,
                count=1 + (before.count if before else 0),
                total_bytes=len(data) + (before.total_bytes if before else 0),
                excerpt=before.excerpt if before else _excerpt(kind, data),
            )
    return tuple(found.values())


def _walk(message: Message) -> Iterator[tuple[PayloadKind, bytes]]:
    for field, value in message.ListFields():
        kind = _KINDS.get((message.DESCRIPTOR.full_name, field.name))
        if kind is PayloadKind.TEMPLATE and isinstance(message, template_pb2.Template):
            yield _template_kind(message), value
        elif kind is not None:
            yield kind, value
        for inner in _messages_in(field, value):
            yield from _walk(inner)


def _template_kind(message: template_pb2.Template) -> PayloadKind:
    statement = template_pb2.TemplateStatement()
    try:
        statement.ParseFromString(message.statement)
    except DecodeError:
        # Nobody vouches for it being encrypted.
        return PayloadKind.PLAINTEXT_PROBE
    if statement.use == template_pb2.TEMPLATE_USE_PLAINTEXT_PROBE:
        return PayloadKind.PLAINTEXT_PROBE
    return PayloadKind.TEMPLATE


def _messages_in(field: FieldDescriptor, value: Any) -> Iterable[Message]:
    if field.type != FieldDescriptor.TYPE_MESSAGE:
        return ()
    if isinstance(value, Message):
        return (value,)
    return [inner for inner in value if isinstance(inner, Message)]


def _excerpt(kind: PayloadKind, data: bytes) -> str:
    if kind in _NOT_ENCRYPTED:
        return ""
    # A ciphertext begins with a header, the same in all of them.
    middle = max(0, (len(data) - _EXCERPT_BYTES) // 2)
    return data[middle : middle + _EXCERPT_BYTES].hex()
