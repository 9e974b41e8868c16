"""Encryption: one template at a time, and whole segments in bulk."""

import numpy as np

from veilface.cli.bench.measurement import MS, US, Peer, Sheet
from veilface.cli.bench.peers import CipherFaceCosts
from veilface.cli.bench.subjects import subject, unit_vectors_float64
from veilface.cli.bench.timing import seconds
from veilface.crypto.contract import TemplateSpace, TemplateUse
from veilface.crypto.public.packed.bulk import SegmentEncryptor


def measure_encrypt(profile: str, dim: int) -> Sheet:
    """Encrypt one template, one ciphertext as SEAL does, and a full segment; the error is of all its scores."""
    owner = subject(profile)
    space = TemplateSpace(dim)
    bulk = SegmentEncryptor(owner.material)
    capacity = bulk.capacity(space)
    sheet = Sheet(profile, capacity, dim)
    vectors = unit_vectors_float64(capacity, dim, 4)
    template = owner.encryptor.encrypt(vectors[0], space, TemplateUse.PROBE)
    serialized = bulk.encrypt(vectors, space)
    one_s = seconds(lambda: owner.encryptor.encrypt(vectors[0], space, TemplateUse.REFERENCE), 20)
    seal_s = seconds(lambda: owner.encryptor.encrypt_zero(owner.comparer.profile.segment_limbs), 20)
    bulk_s = seconds(lambda: bulk.encrypt(vectors, space), 2)
    theirs = CipherFaceCosts.measure(vectors[0], vectors[-1])

    segment = owner.comparer.segment_from_bytes(serialized, space)
    prepared = owner.comparer.prepare_probe(template, space)
    (answer,) = owner.comparer.search(prepared, [segment], [np.arange(capacity)])
    differences = owner.decrypter.decrypt(answer, space, capacity) - vectors @ vectors[0]

    sheet.add(
        "encrypt one template", one_s * MS, "ms", theirs.time("one template", theirs.encrypt_s * MS), n=1, threads=1
    )
    sheet.add(
        "bulk, per template",
        bulk_s / capacity * US,
        "us",
        theirs.time("one template", theirs.encrypt_s * US),
    )
    sheet.add(
        "bulk, per ciphertext of a segment",
        bulk_s / dim * MS,
        "ms",
        Peer("SEAL encrypt_zero and save", seal_s * MS, 1),
    )
    sheet.add("bulk, whole segment", bulk_s * MS, "ms")
    sheet.add("template", len(template), "bytes", theirs.size("template", theirs.template_bytes), n=1)
    sheet.add(
        "segment, bytes per template",
        len(serialized) / capacity,
        "bytes",
        theirs.size("template", theirs.template_bytes),
    )
    sheet.add_errors(differences, theirs.size("one score", theirs.error))
    return sheet
