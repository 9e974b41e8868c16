"""Encryption: one template at a time, and whole segments in bulk."""

import numpy as np

from veilface.cli.bench.measurement import Measurement, against, seconds
from veilface.cli.bench.peers import CipherFace
from veilface.cli.bench.subjects import subject, unit_vectors
from veilface.crypto.contract import TemplateSpace, TemplateUse
from veilface.crypto.public.packed.bulk import SegmentEncryptor
from veilface.crypto.public.packed.parallel import worker_count


def measure_encrypt(profile: str, dim: int) -> list[Measurement]:
    """Encrypt one template, one ciphertext as SEAL does, and a full segment."""
    owner = subject(profile)
    space = TemplateSpace(dim)
    bulk = SegmentEncryptor(owner.material)
    vectors = unit_vectors(bulk.capacity(space), dim, 4).astype(np.float64)
    one_s = seconds(lambda: owner.encryptor.encrypt(vectors[0], space, TemplateUse.REFERENCE), 20)
    peer = CipherFace()
    peer_s = seconds(lambda: peer.encrypt(vectors[0]), 10)
    limbs = owner.comparer.profile.segment_limbs
    seal_s = seconds(lambda: owner.encryptor.encrypt_zero(limbs), 20)
    count = bulk.capacity(space)
    bulk_s = seconds(lambda: bulk.encrypt(vectors, space), 2)
    threads = worker_count()
    return [
        against(Measurement("encrypt one template", one_s * 1e3, "ms", dim=dim), peer.name, peer_s * 1e3),
        against(
            Measurement("bulk, per ciphertext of a segment", bulk_s / dim * 1e3, "ms", dim=dim, threads=threads),
            "SEAL encrypt_zero and save, one thread",
            seal_s * 1e3,
        ),
        Measurement("bulk, per template", bulk_s / count * 1e6, "us", n=count, dim=dim, threads=threads),
    ]
