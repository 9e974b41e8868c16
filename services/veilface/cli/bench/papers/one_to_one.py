"""One profile at one dimension: encrypt, compare 1:1 and decrypt as the services do."""

import numpy as np

from veilface.cli.bench.measurement import progress
from veilface.cli.bench.papers.rows import VEILFACE, Quantity, Reading, Row
from veilface.cli.bench.parties import Party
from veilface.cli.bench.subjects import unit_vectors, unit_vectors_float64
from veilface.cli.bench.timing import timed
from veilface.crypto.contract import TemplateSpace, TemplateUse

_PAIRS = 3
_WARM_DIM = 16


def measure_row(party: Party, security_bits: int, dim: int, cap_s: float) -> Row:
    """The row of one profile. The error is the largest of a few pairs, against float64."""
    progress(f"{party.profile}: {dim} dimensions, 1:1")
    _warm(party)
    space = TemplateSpace(dim)
    vectors = unit_vectors_float64(_PAIRS + 1, dim, 11)
    probes = [party.encryptor.encrypt(vector, space, party.probe_use) for vector in vectors[1:]]
    encryption, reference = timed(lambda: party.encryptor.encrypt(vectors[0], space, TemplateUse.REFERENCE), cap_s)
    comparison, score = timed(lambda: party.comparer.compare(reference, probes[0], space), cap_s)
    decryption, _ = timed(lambda: party.decrypter.decrypt(score, space, 1), cap_s)
    scores = [
        float(party.decrypter.decrypt(party.comparer.compare(reference, probe, space), space, 1)[0]) for probe in probes
    ]
    error = float(np.abs(np.array(scores) - vectors[1:] @ vectors[0]).max())
    values = {
        Quantity.KEY_GENERATION: party.key_generation.wall_s,
        Quantity.ENCRYPTION: encryption.wall_s,
        Quantity.COMPARISON: comparison.wall_s,
        Quantity.DECRYPTION: decryption.wall_s,
        Quantity.PUBLIC_KEYS: len(party.key.public_key) + len(party.key.evaluation_keys),
        Quantity.SECRET_KEY: len(party.key.secret_key),
        Quantity.TEMPLATE: len(reference),
        Quantity.SCORE: len(score),
        Quantity.ERROR: error,
    }
    readings = {quantity: Reading(float(value)) for quantity, value in values.items()}
    return Row(party.scheme.value, party.profile, VEILFACE, security_bits, dim, readings)


def _warm(party: Party) -> None:
    """Compile what compiles itself and make the tables of the key, before anything is timed."""
    space = TemplateSpace(_WARM_DIM)
    vector = unit_vectors(1, _WARM_DIM, 10)[0].astype(np.float64)
    reference = party.encryptor.encrypt(vector, space, TemplateUse.REFERENCE)
    score = party.comparer.compare(reference, party.encryptor.encrypt(vector, space, party.probe_use), space)
    party.decrypter.decrypt(score, space, 1)
