"""What an encryption scheme offers, whichever it is.

The embedding service holds a `TemplateEncryptor`, the matching service a `TemplateComparer`, the key service a
`ScoreDecrypter`. Services reach an implementation through `crypto.public.registry` and `crypto.secret.registry`
and never name a scheme in their own rules.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from veilface.common.errors import InvalidArgumentError, Reason

MAX_DIMENSION = 4096
SecretBytes = bytes | bytearray | memoryview


class Scheme(StrEnum):
    """The names of the schemes in commands, settings and databases."""

    CKKS_PACKED = "ckks-packed"
    CKKS_TENSEAL = "ckks-tenseal"
    PAILLIER = "paillier"
    DAMGARD_JURIK = "damgard-jurik"
    OKAMOTO_UCHIYAMA = "okamoto-uchiyama"


class Metric(StrEnum):
    """What a comparison score measures."""

    COSINE = "cosine"
    SQUARED_EUCLIDEAN = "squared-euclidean"


class TemplateUse(StrEnum):
    """The side of a comparison that a template is for. A plaintext probe shows the matcher who is asked about."""

    PROBE = "probe"
    REFERENCE = "reference"
    PLAINTEXT_PROBE = "plaintext-probe"


_ADDITIVE_SCHEMES: Final = frozenset({Scheme.PAILLIER, Scheme.DAMGARD_JURIK, Scheme.OKAMOTO_UCHIYAMA})


def probe_use_of(scheme: Scheme) -> TemplateUse:
    """How a probe is asked for: the additive schemes compare with probes in the clear only."""
    return TemplateUse.PLAINTEXT_PROBE if scheme in _ADDITIVE_SCHEMES else TemplateUse.PROBE


@dataclass(frozen=True, slots=True)
class TemplateSpace:
    """Where embeddings live: how many dimensions they have and how they are compared.

    Raises:
        InvalidArgumentError: WRONG_DIMENSION if `dimension` is not in 1..4096.
    """

    dimension: int
    metric: Metric = Metric.COSINE

    def __post_init__(self) -> None:
        if not 1 <= self.dimension <= MAX_DIMENSION:
            raise InvalidArgumentError(
                Reason.WRONG_DIMENSION,
                f"an embedding has 1 to {MAX_DIMENSION} dimensions, not {self.dimension}",
            )


class TemplateEncryptor(Protocol):
    """Encrypts embeddings under a public key."""

    def encrypt(self, embedding: NDArray[np.float64], space: TemplateSpace, use: TemplateUse) -> bytes:
        """Encrypt one embedding of shape (dimension,), L2-normalised.

        Raises:
            InvalidArgumentError: WRONG_DIMENSION for another shape; EMBEDDING_OUT_OF_RANGE if a value is not finite
                or the norm is not 1 within 1e-3.
        """
        ...


class SegmentEncryptor(Protocol):
    """Encrypts whole segments under a public key."""

    def capacity(self, space: TemplateSpace) -> int:
        """How many embeddings of this space a segment holds."""
        ...

    def encrypt(self, embeddings: NDArray[np.floating], space: TemplateSpace) -> bytes:
        """A serialized segment with embedding i in slot i.

        Args:
            embeddings: Shape (count, dimension), 1 <= count <= capacity, each as `TemplateEncryptor.encrypt` wants it.
            space: Of the embeddings.

        Raises:
            InvalidArgumentError: WRONG_DIMENSION or EMBEDDING_OUT_OF_RANGE.
        """
        ...


class PreparedProbe(Protocol):
    """A probe made ready for a search; valid for every segment of the same key version and space."""


class Segment(Protocol):
    """Packed reference templates: `capacity` slots of the same space, searched together."""

    @property
    def capacity(self) -> int:
        """How many slots there are."""
        ...

    def add(self, ciphertext: bytes, slot: int) -> None:
        """Add a reference template into an empty slot."""
        ...

    def add_many(self, ciphertexts: Sequence[bytes], slots: Sequence[int]) -> None:
        """Add several at once: consecutive slots share most of the work."""
        ...

    def subtract(self, ciphertext: bytes, slot: int) -> None:
        """Take the same template out of the slot again: the slot then holds an encryption of zero."""
        ...

    def to_bytes(self) -> bytes:
        """Serialize, for caches and blobs."""
        ...

    @property
    def memory_bytes(self) -> int:
        """How much memory it holds."""
        ...


class TemplateComparer(Protocol):
    """Compares encrypted templates under the public and evaluation keys of one key version."""

    @property
    def supports_search(self) -> bool:
        """Whether segments exist for this scheme; otherwise 1:N is a loop of 1:1."""
        ...

    def check_template(self, ciphertext: bytes, space: TemplateSpace, use: TemplateUse) -> None:
        """Parse strictly. Raises InvalidCiphertextError on the first thing that is not as it must be."""
        ...

    def compare(self, reference: bytes, probe: bytes, space: TemplateSpace) -> bytes:
        """The score ciphertext of one reference against one probe; it decrypts to one score and nothing else."""
        ...

    def prepare_probe(self, probe: bytes, space: TemplateSpace, use: TemplateUse = TemplateUse.PROBE) -> PreparedProbe:
        """Make a probe, encrypted or in the clear, ready for `search`."""
        ...

    def new_segment(self, space: TemplateSpace) -> Segment:
        """An empty segment."""
        ...

    def segment_from_bytes(self, data: bytes, space: TemplateSpace) -> Segment:
        """Parse a serialized segment strictly."""
        ...

    def search(
        self,
        probe: PreparedProbe,
        segments: Sequence[Segment],
        slots: Sequence[NDArray[np.intp]],
    ) -> list[bytes]:
        """The score ciphertexts of the given slots (ascending) of each segment: scores in slot order, nothing else."""
        ...

    def search_many(
        self,
        probes: Sequence[PreparedProbe],
        segments: Sequence[Segment],
        slots: Sequence[NDArray[np.intp]],
    ) -> list[list[bytes]]:
        """`search` for several probes in one pass over the segments: score ciphertexts by probe, then segment."""
        ...


class ScoreDecrypter(Protocol):
    """Decrypts comparison scores with a secret key."""

    def decrypt(self, ciphertext: bytes, space: TemplateSpace, score_count: int) -> NDArray[np.float64]:
        """The scores, shape (score_count,), in units of the metric.

        Raises:
            InvalidCiphertextError: for anything that is not a score ciphertext of exactly this many scores.
        """
        ...

    def wipe(self) -> None:
        """Overwrite the secret key as far as the language allows; the object is useless afterwards."""
        ...


class Reencrypter(Protocol):
    """Decrypts under one key version and encrypts under another; the embedding exists only inside a call."""

    def reencrypt_template(self, ciphertext: bytes, space: TemplateSpace, use: TemplateUse) -> bytes:
        """A fresh encryption of the same embedding under the target version."""
        ...

    def reencrypt_segment(self, segment: bytes, space: TemplateSpace, slots: NDArray[np.intp]) -> bytes:
        """A new segment under the target version: its slot i holds the template of the old slot `slots[i]`."""
        ...

    def wipe(self) -> None:
        """Overwrite the secret key; the object is useless afterwards."""
        ...


@dataclass(frozen=True, slots=True)
class PublicMaterial:
    """The public half of a key version, and what its key asks of whoever encrypts.

    Attributes:
        plaintext_probe_allowed: Whether the key's policy lets a matcher see probes in the clear.
        embedding_transform: Whether embeddings pass the version's secret transform first (see `crypto.renewal`).
        importers: The identities that alone may sign imported segments; None if the key's policy names none.
    """

    scheme: Scheme
    profile: str
    key_version: str
    public_key: bytes
    evaluation_keys: bytes
    plaintext_probe_allowed: bool = False
    embedding_transform: bool = False
    importers: tuple[str, ...] | None = None
