"""Expansion of one probe, beside the same tree walked with SEAL's Evaluator."""

import numpy as np

from veilface.cli.bench.measurement import Measurement, against, seconds
from veilface.cli.bench.peers import SealExpansion
from veilface.cli.bench.subjects import subject, unit_vectors
from veilface.crypto.contract import TemplateSpace, TemplateUse
from veilface.crypto.public.packed.expand import expanded_count
from veilface.crypto.public.packed.parallel import worker_count


def measure_expand(profile: str, dim: int) -> list[Measurement]:
    """Expand one probe of `dim` dimensions, then as an enrollment does: stacked templates share one expansion."""
    owner = subject(profile)
    space = TemplateSpace(dim)
    vectors = unit_vectors(1, dim, 2).astype(np.float64)
    probe = owner.encryptor.encrypt(vectors[0], space, TemplateUse.PROBE)
    expand_s = seconds(lambda: owner.comparer.prepare_probe(probe, space))
    peer = SealExpansion(profile)
    peer_s = seconds(lambda: peer.expand(expanded_count(dim).bit_length() - 1), 2)

    stacked = owner.comparer.profile.degree // expanded_count(dim)
    reference = owner.encryptor.encrypt(vectors[0], space, TemplateUse.REFERENCE)
    segment = owner.comparer.new_segment(space)
    enroll_s = seconds(lambda: segment.add_many([reference] * stacked, list(range(stacked))), 2)
    threads = worker_count()
    return [
        against(
            Measurement("expand one probe", expand_s * 1e3, "ms", dim=dim, threads=threads), peer.name, peer_s * 1e3
        ),
        Measurement(
            "expand, per key switch", expand_s / (expanded_count(dim) - 1) * 1e6, "us", dim=dim, threads=threads
        ),
        against(
            Measurement(
                f"pack {stacked} templates together, each",
                enroll_s / stacked * 1e3,
                "ms",
                dim=dim,
                threads=threads,
                n=stacked,
            ),
            "one expansion each",
            expand_s * 1e3,
        ),
    ]
