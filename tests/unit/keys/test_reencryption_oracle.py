"""Re-encryption of crafted segments: what they decrypt to is a bit of the secret key, and the answer does not tell it.

The segments are as a matching service, or an operator by importing, can make them without any key: all coefficients
are 1 but one of 0.875, plus or minus a twentieth of the secret key. Slot by slot that is within the norm of an
embedding exactly if the secret coefficient at that place has the sign that was guessed.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

import numpy as np
import pytest
from tests.unit.crypto.packed.tiles import dense, tile

from veilface.common.identities import KEYS_IDENTITY, MATCHING_IDENTITY
from veilface.common.names import KeyName
from veilface.common.signing import Signer, TrustStore
from veilface.crypto.contract import PublicMaterial, Reencrypter, Scheme, TemplateSpace
from veilface.crypto.public.packed.bulk import SegmentEncryptor
from veilface.crypto.public.packed.expand import expanded_scale
from veilface.crypto.public.packed.profiles import packed_profile
from veilface.crypto.public.packed.ring import prime_ring
from veilface.crypto.public.packed.segment import write_segment
from veilface.crypto.public.packed.transform import to_ntt
from veilface.crypto.public.registry import load_comparer
from veilface.crypto.secret.packed.keyset import read_secret
from veilface.crypto.secret.registry import generate_key, load_reencrypter
from veilface.keys.domain.implausibility import ImplausibilityAlarm
from veilface.keys.domain.policy import KeyPolicy
from veilface.keys.domain.reencryption import ReencryptionKeys, ReencryptionMeans, SegmentContent, open_reencryption
from veilface.keys.domain.vault import Vault

PROFILE = packed_profile("ckks-packed-128")
SPACE = TemplateSpace(1)
NAME = KeyName("office")
OLD, NEW = NAME.version(1), NAME.version(2)
GUESSED_COEFFICIENTS = 12


def crafted(position: int, sign: int) -> bytes:
    """A segment that is an embedding in every slot exactly if the secret key has this sign at this position."""
    scale, degree = expanded_scale(PROFILE, PROFILE.segment_log_scale), PROFILE.degree
    message = np.full(degree, 1.0)
    message[position] = 0.875
    residues = np.empty((2, PROFILE.segment_limbs, degree), dtype=np.uint32)
    for limb in range(PROFILE.segment_limbs):
        prime = PROFILE.data_primes[limb]
        residues[0, limb] = np.rint(message * scale).astype(np.int64) % prime
        to_ntt(residues[0, limb], prime_ring(prime, degree))
        residues[1, limb] = round(sign * 0.05 * scale) % prime
    return write_segment(PROFILE, 1, dense(tile(residues[None])))


class Attack:
    """A key with two versions in a real vault, and whoever may have segments moved."""

    def __init__(self, vault: Vault, means: Any, audit: Any) -> None:
        self.vault = vault
        self.audit = audit
        self.alarms = 0
        self.reencrypters: list[Reencrypter] = []
        vault.create_key(NAME, Scheme.CKKS_PACKED, PROFILE.name, KeyPolicy(), transformed=False)
        vault.rotate(NAME)
        signer = Signer.generate(KEYS_IDENTITY)
        self.means = ReencryptionMeans(
            vault=vault,
            ledger=means.ledger,
            audit=audit,
            load=self._load,
            alarm=ImplausibilityAlarm(self._sound),
            signer=signer,
            trust=TrustStore({signer.identity: [signer.public_key_bytes]}),
            clock=means.clock,
        )

    def _load(self, keys: ReencryptionKeys) -> Reencrypter:
        loaded = load_reencrypter(keys.scheme, keys.profile, keys.secret_key, keys.target, keys.seeds)
        self.reencrypters.append(loaded)
        return loaded

    def _sound(self) -> None:
        self.alarms += 1

    def material(self) -> PublicMaterial:
        usable = self.vault.resolve(OLD)
        public, evaluation = self.vault.public_key(usable), self.vault.evaluation_keys(usable)
        return PublicMaterial(Scheme.CKKS_PACKED, PROFILE.name, str(OLD), public.content, evaluation.content)

    def secret(self) -> np.ndarray:
        with self.vault.open_secret_key(self.vault.resolve(OLD)) as secret_key, secret_key.exposed() as view:
            return read_secret(PROFILE, view)

    def answer(self, segment: bytes) -> tuple[object, ...]:
        """All that the caller sees of one segment, and an operator of the audit log about it."""
        self.audit.events.clear()
        content = SegmentContent(SPACE, np.arange(PROFILE.degree))
        with ExitStack() as stack:
            try:
                opening = open_reencryption(self.means, MATCHING_IDENTITY, OLD, NEW)
                seen: object = len(stack.enter_context(opening).move_segment(segment, content))
            except Exception as error:  # noqa: BLE001 - whatever it is, the attacker sees it
                seen = repr(error)
        return seen, tuple(self.audit.events)


@pytest.fixture
def attack(store: Any, clock: Any, master_key: Any, means: Any, audit: Any) -> Iterator[Attack]:
    vault = Vault(store, partial(generate_key), clock)
    vault.unseal(master_key)
    return Attack(vault, means, audit)


def test_the_answer_to_a_crafted_segment_says_nothing_about_the_secret_key(attack: Attack) -> None:
    comparer = load_comparer(attack.material())
    secret = attack.secret()
    segments = {(at, sign): crafted(at, sign) for at in range(GUESSED_COEFFICIENTS) for sign in (1, -1)}
    for segment in segments.values():
        # All that a matching service checks when an operator imports one.
        comparer.segment_from_bytes(segment, SPACE)
    honest = SegmentEncryptor(attack.material()).encrypt(np.ones((PROFILE.degree, 1)), SPACE)
    expected = attack.answer(honest)
    assert expected[0] == len(honest)
    assert (attack.alarms, attack.reencrypters[-1].replaced_count) == (0, 0)

    answers = {guess: attack.answer(segment) for guess, segment in segments.items()}

    assert set(answers.values()) == {expected}
    # The bit was there: inside, each guess is right exactly if nothing was replaced.
    replaced = [reencrypter.replaced_count for reencrypter in attack.reencrypters[1:]]
    rightly_guessed = [secret[at] == sign for at, sign in segments]
    assert [count == 0 for count in replaced] == rightly_guessed
    assert any(rightly_guessed)
    assert attack.alarms == 1
