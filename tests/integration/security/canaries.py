"""What must not turn up outside of where it belongs, and the search for it in text and in bytes."""

import base64
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from tests.integration.security import history as planted
from tests.integration.security.history import History
from tests.integration.security.search import PieceSearch
from tests.integration.security.secret_forms import forms_of, pieces_of, windows_of

from veilface.cli.local_stack.layout import StateLayout
from veilface.crypto.public.packed.profiles import packed_profile

# Decimals that are no coincidence: one in a hundred thousand million numbers has the same ones.
_DECIMALS = re.compile(rb"\d\.\d{6,}")
_COMPARED = len("0.12345678901")


@dataclass(frozen=True)
class Canary:
    """Pieces of bytes, each of which gives the canary away."""

    pieces: tuple[bytes, ...]

    def is_in(self, content: bytes) -> bool:
        return any(piece in content for piece in self.pieces)


@dataclass(frozen=True)
class LongCanary:
    """Many pieces of 64 bytes or more, looked for all at once."""

    pieces: Sequence[bytes]

    def is_in(self, content: bytes) -> bool:
        return bool(PieceSearch(self.pieces).found_in(content))


class NumberCanary:
    """Floating-point numbers, written by Python, NumPy or a format string, in decimal or scientific notation."""

    def __init__(self, values: Iterable[float]) -> None:
        self.texts: set[bytes] = set()
        for value in map(abs, values):
            short = (str(np.float32(value)), f"{value:.8f}")
            long = (repr(value), f"{value:.16e}")
            self.texts |= {text.encode() for text in short if _DECIMALS.fullmatch(text.encode())}
            self.texts |= {text.encode()[:_COMPARED] for text in long if "." in text}

    def is_in(self, content: bytes) -> bool:
        written = set(_DECIMALS.findall(content))
        return not self.texts.isdisjoint(written | {number[:_COMPARED] for number in written})


AnyCanary = Canary | LongCanary | NumberCanary


def canaries_of(history: History, layout: StateLayout) -> dict[str, AnyCanary]:
    """Every canary by what it is."""
    degree = packed_profile(history.profile).degree
    secret = pieces_of(forms_of(history.secret_key, history.profile), degree)
    raw_master_key = base64.b64decode(layout.master_key.read_bytes())
    values = np.concatenate(history.embeddings)
    return {
        "key id": _text(planted.KEY),
        "subject id": _text(planted.SUBJECT),
        "unknown subject id": _text(planted.UNKNOWN_SUBJECT),
        "label": _text(planted.LABEL_NAME, planted.LABEL_VALUE),
        "text in an image": _text(planted.IMAGE_TEXT),
        "image": LongCanary([window for image in history.images for window in windows_of(image)]),
        "pixels": LongCanary(windows_of(history.pixels, 3 * 64)),
        "forged ciphertext": Canary((planted.SMUGGLED[:58],)),
        "embedding in decimals": NumberCanary(values.tolist()),
        "embedding in bytes": LongCanary(
            [each.astype(kind).tobytes()[:128] for each in history.embeddings for kind in ("f4", "f8")]
        ),
        "score in decimals": NumberCanary(history.scores),
        "score in bytes": Canary(tuple(np.float64(score).tobytes() for score in history.scores)),
        "secret key": LongCanary([piece for pieces in secret.values() for piece in pieces]),
        "secret key in text": LongCanary(_written(history.secret_key)),
        "transform seed": Canary(_spelled(history.transform_seed)),
        "master key": Canary(_spelled(raw_master_key)),
    }


def _text(*texts: str) -> Canary:
    return Canary(tuple(text.encode() for text in texts))


def _spelled(secret: bytes) -> tuple[bytes, ...]:
    """A short secret as it is, in hexadecimal and in base64; half of it is too much already."""
    half = secret[: len(secret) // 2 // 3 * 3]
    return (half, half.hex().encode(), half.hex().upper().encode(), base64.b64encode(half))


def _written(secret: bytes) -> list[bytes]:
    # A multiple of three bytes is encoded in base64 in the same way wherever it begins at such a multiple.
    starts = range(0, len(secret) - 96, 192)
    pieces = [secret[start : start + 96] for start in starts]
    return [encoded for piece in pieces for encoded in (piece.hex().encode(), base64.b64encode(piece))]
