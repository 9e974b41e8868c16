"""1:1 comparison, beside CipherFace's."""

import numpy as np

from veilface.cli.bench.measurement import MS, Sheet
from veilface.cli.bench.peers import CipherFaceCosts
from veilface.cli.bench.subjects import subject, unit_vectors_float64
from veilface.cli.bench.timing import seconds
from veilface.crypto.contract import TemplateSpace, TemplateUse

_PAIRS = 16


def measure_verify(profile: str, dim: int) -> Sheet:
    """Compare one reference with one probe, decrypt the score, and compare sizes; the error is that of a few pairs."""
    sheet = Sheet(profile, 1, dim, threads=1)
    owner = subject(profile)
    space = TemplateSpace(dim)
    vectors = unit_vectors_float64(1 + _PAIRS, dim, 3)
    reference = owner.encryptor.encrypt(vectors[0], space, TemplateUse.REFERENCE)
    probes = [owner.encryptor.encrypt(vector, space, TemplateUse.PROBE) for vector in vectors[1:]]
    compare_s = seconds(lambda: owner.comparer.compare(reference, probes[0], space), 20)
    scores = [owner.comparer.compare(reference, probe, space) for probe in probes]
    decrypt_s = seconds(lambda: owner.decrypter.decrypt(scores[0], space, 1), 20)
    found = np.array([owner.decrypter.decrypt(score, space, 1)[0] for score in scores])

    theirs = CipherFaceCosts.measure(vectors[0], vectors[1])
    sheet.add("compare 1:1", compare_s * MS, "ms", theirs.time("comparison", theirs.compare_s * MS))
    sheet.add("decrypt one score", decrypt_s * MS, "ms", theirs.time("decryption", theirs.decrypt_s * MS))
    sheet.add("template", len(reference), "bytes", theirs.size("template", theirs.template_bytes))
    sheet.add("score", len(scores[0]), "bytes", theirs.size("score", theirs.score_bytes))
    sheet.add(
        "keys that a matcher holds",
        len(owner.material.evaluation_keys),
        "bytes",
        theirs.size("public context", theirs.public_context_bytes),
    )
    sheet.add_errors(found - vectors[1:] @ vectors[0], theirs.size("one score", theirs.error))
    return sheet
