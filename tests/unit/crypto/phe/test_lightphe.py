"""LightPHE 0.0.27 as the oracle: keys, ciphertexts and its own dot product."""

import json

import numpy as np
import pytest
from gmpy2 import mpz
from lightphe import LightPHE

from tests.unit.crypto.phe.conftest import Party
from tests.unit.crypto.phe.faces import embeddings, integer_scores
from veilface.crypto.contract import Metric, Scheme, TemplateSpace, TemplateUse
from veilface.crypto.public.phe.lightphe_path import compare_with_lightphe
from veilface.crypto.public.phe.public_key import LIGHTPHE_NAMES

MESSAGES = [0, 1, -1, 2000, -2000, 1 << 40, -(1 << 40)]


def lightphe(party: Party) -> LightPHE:
    keys = json.loads(party.generated.secret_key)
    return LightPHE(LIGHTPHE_NAMES[party.key.profile.scheme], keys=keys)


def plaintext_modulus(party: Party) -> int:
    keys = json.loads(party.generated.secret_key)
    ring = keys["private_key"]["p"] if party.key.profile.scheme is Scheme.OKAMOTO_UCHIYAMA else keys["public_key"]["n"]
    return int(ring)


@pytest.mark.parametrize("message", MESSAGES)
def test_our_ciphertexts_decrypt_in_lightphe(party: Party, message: int):
    (ciphertext,) = party.encryptor.encrypt_integers([message])
    assert lightphe(party).cs.decrypt(int(ciphertext)) == message % plaintext_modulus(party)


@pytest.mark.parametrize("message", MESSAGES)
def test_lightphes_ciphertexts_decrypt_here(party: Party, message: int):
    ciphertext = lightphe(party).cs.encrypt(message % plaintext_modulus(party))
    decrypted = party.private_key.decrypt(mpz(ciphertext))
    # LightPHE raises Damgard-Jurik's randomness to n instead of n^s, which spoils the message above n.
    assert decrypted % plaintext_modulus(party) == message % plaintext_modulus(party)


def test_our_public_key_encrypts_in_lightphe(party: Party):
    public = LightPHE(LIGHTPHE_NAMES[party.key.profile.scheme], keys=json.loads(party.generated.public_key))
    assert party.private_key.decrypt(mpz(public.cs.encrypt(123))) % plaintext_modulus(party) == 123


@pytest.mark.parametrize("metric", list(Metric))
def test_the_fast_path_equals_lightphes_dot_product(party: Party, metric: Metric):
    space = TemplateSpace(24, metric)
    reference, probe = embeddings(2, 24, seed=21)
    template = party.encryptor.encrypt(reference, space, TemplateUse.REFERENCE)
    query = party.encryptor.encrypt(probe, space, TemplateUse.PLAINTEXT_PROBE)

    slow = compare_with_lightphe(party.key, template, query, space)
    fast = party.comparer.compare(template, query, space)

    expected = integer_scores(reference[None], probe, space)
    assert party.decrypter.decrypt_integers(slow, space, 1) == expected
    assert party.decrypter.decrypt_integers(fast, space, 1) == expected


def test_the_reference_path_takes_probes_of_one_sign_and_zeros(party: Party):
    space = TemplateSpace(3)
    template = party.encryptor.encrypt(np.array([0.6, 0.0, -0.8]), space, TemplateUse.REFERENCE)
    for probe in ([1.0, 0.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]):
        query = party.encryptor.encrypt(np.array(probe), space, TemplateUse.PLAINTEXT_PROBE)
        score = compare_with_lightphe(party.key, template, query, space)
        assert party.decrypter.decrypt(score, space, 1).tolist() == [pytest.approx(0.6 * probe[0])]
