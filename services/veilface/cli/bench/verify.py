"""1:1 comparison, beside CipherFace's."""

import numpy as np

from veilface.cli.bench.measurement import Measurement, against, seconds
from veilface.cli.bench.peers import CipherFace
from veilface.cli.bench.subjects import subject, unit_vectors
from veilface.crypto.contract import TemplateSpace, TemplateUse


def measure_verify(profile: str, dim: int) -> list[Measurement]:
    """Compare one reference with one probe, decrypt the score, and compare sizes."""
    owner = subject(profile)
    space = TemplateSpace(dim)
    one, other = unit_vectors(2, dim, 3).astype(np.float64)
    reference = owner.encryptor.encrypt(one, space, TemplateUse.REFERENCE)
    probe = owner.encryptor.encrypt(other, space, TemplateUse.PROBE)
    compare_s = seconds(lambda: owner.comparer.compare(reference, probe, space), 20)
    score = owner.comparer.compare(reference, probe, space)
    decrypt_s = seconds(lambda: owner.decrypter.decrypt(score, space, 1), 20)
    error = abs(float(owner.decrypter.decrypt(score, space, 1)[0]) - float(one @ other))

    peer = CipherFace()
    theirs, probe_theirs = peer.encrypt(one), peer.encrypt(other)
    peer_s = seconds(lambda: peer.compare(theirs, probe_theirs), 5)
    their_score = peer.compare(theirs, probe_theirs)
    peer_decrypt_s = seconds(lambda: peer.decrypt(their_score), 5)
    peer_error = abs(peer.decrypt(their_score) - float(one @ other))
    return [
        against(Measurement("compare 1:1", compare_s * 1e3, "ms", dim=dim), peer.name, peer_s * 1e3),
        against(Measurement("decrypt one score", decrypt_s * 1e3, "ms", dim=dim), peer.name, peer_decrypt_s * 1e3),
        against(Measurement("error against float64", error, "cosine", dim=dim), peer.name, peer_error),
        against(Measurement("template", len(probe), "bytes", dim=dim), peer.name, float(peer.template_bytes(theirs))),
        against(Measurement("score", len(score), "bytes", dim=dim), peer.name, float(len(their_score.serialize()))),
        against(
            Measurement("keys that a matcher holds", len(owner.material.evaluation_keys), "bytes", dim=dim),
            peer.name,
            float(peer.public_context_bytes()),
        ),
    ]
