"""Expansion of one probe, beside the same tree walked with SEAL's Evaluator."""

import numpy as np

from veilface.cli.bench.measurement import MS, US, Peer, Sheet
from veilface.cli.bench.peers import SealExpansion
from veilface.cli.bench.subjects import subject, unit_vectors_float64
from veilface.cli.bench.timing import seconds
from veilface.crypto.contract import TemplateSpace, TemplateUse
from veilface.crypto.public.packed.expand import expanded_count
from veilface.crypto.public.packed.search import ExpandedProbe

_REFERENCES = 16


def measure_expand(profile: str, dim: int) -> Sheet:
    """Expand one probe of `dim` dimensions, then as an enrollment does: stacked templates share one expansion."""
    sheet = Sheet(profile, 1, dim)
    owner = subject(profile)
    space = TemplateSpace(dim)
    vectors = unit_vectors_float64(1 + _REFERENCES, dim, 2)
    probe = owner.encryptor.encrypt(vectors[0], space, TemplateUse.PROBE)
    expand_s = seconds(lambda: owner.comparer.prepare_probe(probe, space))
    peer = SealExpansion(profile)
    peer_s = seconds(lambda: peer.expand(expanded_count(dim).bit_length() - 1), 2)

    stacked = owner.comparer.profile.degree // expanded_count(dim)
    references = [owner.encryptor.encrypt(vector, space, TemplateUse.REFERENCE) for vector in vectors[1:]]
    to_stack = [references[slot % _REFERENCES] for slot in range(stacked)]
    filled = owner.comparer.new_segment(space)
    enroll_s = seconds(lambda: filled.add_many(to_stack, range(stacked)), 2)

    prepared = owner.comparer.prepare_probe(probe, space)
    if not isinstance(prepared, ExpandedProbe):
        raise TypeError("an encrypted probe is expanded")
    segment = owner.comparer.new_segment(space)
    segment.add_many(to_stack, range(stacked))
    (answer,) = owner.comparer.search(prepared, [segment], [np.arange(stacked)])
    expected = vectors[1 + np.arange(stacked) % _REFERENCES] @ vectors[0]

    sheet.add("expand one probe", expand_s * MS, "ms", Peer(peer.name, peer_s * MS, 1))
    switches = max(1, expanded_count(dim) - 1)
    sheet.add("expand, per key switch", expand_s / switches * US, "us", Peer(peer.name, peer_s / switches * US, 1))
    sheet.add(
        f"pack {stacked} templates together, each",
        enroll_s / stacked * MS,
        "ms",
        Peer("one expansion each", expand_s * MS, sheet.threads),
        n=stacked,
    )
    sheet.add("probe", len(probe), "bytes")
    sheet.add("expanded probe, in memory", prepared.tiles.nbytes, "bytes")
    sheet.add("evaluation keys", len(owner.material.evaluation_keys), "bytes")
    sheet.add_errors(owner.decrypter.decrypt(answer, space, stacked) - expected)
    return sheet
