"""What is not protected: a matcher and a caller who work together get the secret key, within the shipped quotas.

A matcher vouches for the ciphertexts that are decrypted. One that lies hands out ciphertexts of its own making, whose
decryption depends on single coefficients of the secret key; each answer about 20 positions then tells 20 of them.
"""

import hashlib
import secrets
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import grpc
import numpy as np
import pytest
from numpy.typing import NDArray
from tests.integration.security.secret_forms import unsealed

from veilface.cli.local_stack.stack import LocalStack
from veilface.common.attested import Circuit, ScoreStatement, scores_to_proto, sign_scores
from veilface.common.channel import open_sync_channel
from veilface.common.errors import Reason
from veilface.common.identities import MATCHING_IDENTITY
from veilface.common.names import KeyVersionName
from veilface.common.pki import tls_settings
from veilface.common.signing import Signer
from veilface.common.status import error_from_rpc
from veilface.crypto.contract import Scheme, TemplateSpace
from veilface.crypto.public.packed import bitpack, wire
from veilface.crypto.public.packed.profiles import RESIDUE_BITS, packed_profile
from veilface.crypto.public.packed.scores import search_format
from veilface.crypto.public.packed.segment import coefficient_positions
from veilface.crypto.public.packed.space import scores_of
from veilface.crypto.secret.packed.keyset import read_secret
from veilface.embedding.settings import DEFAULT_PIPELINE
from veilface.keys.domain.policy import KeyPolicy
from veilface.keys.domain.thresholds import ThresholdTable
from veilface.keys.v1 import key_service_pb2, key_service_pb2_grpc

TIMEOUT_S = 60
KEY = "betrayed"
PROFILE = packed_profile("ckks-packed-128")
SPACE = TemplateSpace(128)
STEP = 0.04
POSITIONS_PER_ANSWER = KeyPolicy().top_k_limit

Slots = NDArray[np.intp]


def crafted(slots: Slots, offset: float, factor: float) -> bytes:
    """A search answer whose scores decrypt to offset + factor * (the secret's coefficient at the slot's position)."""
    form, prime = search_format(PROFILE), PROFILE.data_primes[0]
    (score_of_one,) = scores_of(np.ones(1), SPACE, PROFILE)
    first = np.full(slots.size, round(offset / score_of_one * form.scale), dtype=np.int64)
    second = np.zeros(PROFILE.degree, dtype=np.int64)
    second[0] = round(factor / score_of_one * form.scale)
    residues = np.concatenate([first, second, np.zeros_like(second)]) % prime
    bitmap = np.zeros(PROFILE.degree, dtype=np.uint8)
    bitmap[slots] = 1
    payload = np.packbits(bitmap, bitorder="little").tobytes() + bitpack.pack(residues.astype("u4"), RESIDUE_BITS)
    header = wire.Header(form.kind, form.polynomials, form.limbs, form.log_scale, SPACE.dimension, slots.size)
    return wire.write(PROFILE, header, payload)


class Colluders:
    """A caller with a certificate, and whoever can sign as a matcher."""

    def __init__(self, keys: key_service_pb2_grpc.KeyServiceStub, signer: Signer) -> None:
        self._keys = keys
        self._signer = signer
        self.answers = 0

    def matching_slots(self, slots: Slots, offset: float, factor: float) -> Slots:
        ciphertext = crafted(slots, offset, factor)
        statement = ScoreStatement(
            key_version=f"keys/{KEY}/versions/1",
            scheme=Scheme.CKKS_PACKED,
            profile=PROFILE.name,
            circuit=Circuit.SEARCH,
            model=DEFAULT_PIPELINE,
            space=SPACE,
            gallery=f"galleries/g{secrets.token_hex(4)}",
            generation=1,
            gallery_uid=1,
            subject="",
            probe_sha256=secrets.token_bytes(32),
            ciphertext_sha256=hashlib.sha256(ciphertext).digest(),
            score_count=slots.size,
            batch_index=0,
            batch_count=1,
            nonce=secrets.token_bytes(16),
            expire_time=datetime.now(UTC) + timedelta(minutes=5),
        )
        request = key_service_pb2.DecideIdentificationRequest(
            options=key_service_pb2.IdentificationOptions(top_k=POSITIONS_PER_ANSWER),
            score_batch=scores_to_proto(sign_scores(self._signer, statement, ciphertext)),
        )
        response = self._keys.DecideIdentification(iter([request]), timeout=TIMEOUT_S)
        self.answers += 1
        return slots[[candidate.score_index for candidate in response.candidates]]


@pytest.fixture
def collude(stack: LocalStack) -> Iterator[Callable[[Signer], Colluders]]:
    stack.ensure_key(KEY)
    with open_sync_channel(stack.addresses["keys"], tls_settings(stack.layout.certificates, "client")) as channel:
        yield lambda signer: Colluders(key_service_pb2_grpc.KeyServiceStub(channel), signer)


def test_a_matcher_and_a_caller_together_get_the_secret_key_within_one_day(
    stack: LocalStack, collude: Callable[[Signer], Colluders]
) -> None:
    threshold = ThresholdTable.load(None).resolve(DEFAULT_PIPELINE, SPACE.metric, "", ()).value
    colluders = collude(Signer.from_file(stack.layout.signing / "matching.key", MATCHING_IDENTITY))
    found = np.zeros(PROFILE.degree, dtype=np.int8)
    for start in range(0, PROFILE.degree, POSITIONS_PER_ANSWER):
        slots = np.arange(start, min(start + POSITIONS_PER_ANSWER, PROFILE.degree))
        for value in (1, -1):
            matching = colluders.matching_slots(slots, threshold - STEP / 2, value * STEP)
            found[coefficient_positions(matching, SPACE.dimension, PROFILE.degree)] = value
    secret = read_secret(PROFILE, unsealed(stack.layout, KeyVersionName(KEY, 1)))
    assert np.array_equal(found, secret)
    assert colluders.answers < KeyPolicy().quotas.answers_per_caller / 10


def test_a_caller_who_cannot_sign_as_a_matcher_gets_nothing(collude: Callable[[Signer], Colluders]) -> None:
    colluders = collude(Signer.generate(MATCHING_IDENTITY))
    with pytest.raises(grpc.RpcError) as refused:
        colluders.matching_slots(np.arange(POSITIONS_PER_ANSWER), 0.9, STEP)
    assert error_from_rpc(refused.value).reason is Reason.UNTRUSTED_SIGNER
