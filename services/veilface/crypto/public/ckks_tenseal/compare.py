"""The matching service's side of `ckks-tenseal`: CipherFace's comparison, 1:1 only.

What the result of TenSEAL's `dot` reveals: it is a vector of length one, but its ciphertext has n / 2 slots, and
whoever holds the secret key can decrypt them all. With embeddings padded to a power of two every slot holds the same
score (and errors of key switching, which say nothing useful). Without the padding the other slots hold sums over parts
of the element-wise product. The result is not re-randomised: it does not hide from the holder of the secret key which
ciphertexts it was made of.
"""

from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from veilface.common.errors import InvalidArgumentError, InvalidCiphertextError, Reason
from veilface.crypto.contract import Metric, PreparedProbe, Segment, TemplateSpace, TemplateUse
from veilface.crypto.public.ckks_tenseal import wire
from veilface.crypto.public.ckks_tenseal.ciphertexts import residues_of, vector_of
from veilface.crypto.public.ckks_tenseal.context import load_context
from veilface.crypto.public.ckks_tenseal.profiles import CkksTensealProfile
from veilface.crypto.public.ckks_tenseal.space import vector_size


class TensealComparer:
    """Compares encrypted templates under the evaluation keys of one key version."""

    supports_search = False
    plaintext_probes_share_a_pass = False

    def __init__(self, profile: CkksTensealProfile, evaluation_keys: bytes) -> None:
        self.profile = profile
        self._context = load_context(evaluation_keys, profile)
        if not (self._context.has_galois_keys() and self._context.has_relin_keys()):
            raise InvalidArgumentError(Reason.MALFORMED_KEY, "the context holds no evaluation keys")

    def check_template(self, ciphertext: bytes, space: TemplateSpace, use: TemplateUse) -> None:
        """See `TemplateComparer.check_template`."""
        vector_size(space, self.profile)
        wire.read(self.profile, wire.kind_of(use), space, ciphertext)

    def compare(self, reference: bytes, probe: bytes, space: TemplateSpace) -> bytes:
        """See `TemplateComparer.compare`. Cosine similarity, where CipherFace gives one minus it."""
        a = self._vector(reference, space, TemplateUse.REFERENCE)
        b = self._vector(probe, space, TemplateUse.PROBE)
        try:
            if space.metric is Metric.COSINE:
                score = a.dot(b)
            else:
                difference = a - b
                score = difference.dot(difference)
        except RuntimeError as error:
            raise InvalidCiphertextError(
                Reason.MALFORMED_CIPHERTEXT, "SEAL cannot compare these: their difference is not encrypted"
            ) from error
        residues = residues_of(score, self.profile, len(self.profile.score_primes))
        return wire.write(self.profile, wire.Kind.SCORE, space, residues)

    def prepare_probe(self, probe: bytes, space: TemplateSpace, use: TemplateUse = TemplateUse.PROBE) -> PreparedProbe:
        """There is no search."""
        _no_search()

    def new_segment(self, space: TemplateSpace) -> Segment:
        """There is no search."""
        _no_search()

    def segment_from_bytes(self, data: bytes, space: TemplateSpace) -> Segment:
        """There is no search."""
        _no_search()

    def search(
        self, probe: PreparedProbe, segments: Sequence[Segment], slots: Sequence[NDArray[np.intp]]
    ) -> list[bytes]:
        """There is no search."""
        _no_search()

    def search_many(
        self, probes: Sequence[PreparedProbe], segments: Sequence[Segment], slots: Sequence[NDArray[np.intp]]
    ) -> list[list[bytes]]:
        """There is no search."""
        _no_search()

    def _vector(self, ciphertext: bytes, space: TemplateSpace, use: TemplateUse) -> Any:
        size = vector_size(space, self.profile)
        residues = wire.read(self.profile, wire.kind_of(use), space, ciphertext)
        return vector_of(residues, size, self._context, self.profile)


def _no_search() -> NoReturn:
    raise InvalidArgumentError(
        Reason.UNSUPPORTED_BY_SCHEME, "ckks-tenseal compares 1:1 only; search with ckks-packed, paillier or its kin"
    )
