"""Searches that are spread over replicas, under each scheme with its own ciphertexts."""

import hashlib
from datetime import UTC, datetime

import numpy as np
import pytest
from tests.schemes import scheme_cases
from tests.unit.matching.conftest import DIMENSION, KEY_VERSION, MODEL, PROFILE
from tests.unit.matching.fan_out.replicas import STAFF, Replicas, vectors

from veilface.common.attested_segments import SegmentStatement, sign_segment, subject_ids_sha256
from veilface.common.identities import OPERATOR_IDENTITY
from veilface.crypto.contract import PublicMaterial, Scheme, TemplateSpace, TemplateUse
from veilface.crypto.public.registry import load_comparer, load_encryptor, load_segment_encryptor, score_tolerance
from veilface.crypto.secret.registry import generate_key, load_decrypter
from veilface.matching.domain.blobs.folder import BlobFolder
from veilface.matching.domain.imports import ImportPiece, NewImport

SPACE = TemplateSpace(DIMENSION)
SEGMENTS = 4
PEOPLE_PER_SEGMENT = 3
PEOPLE = vectors(SEGMENTS * PEOPLE_PER_SEGMENT)
FACE = vectors(1, seed=9)[0]


class SchemeKey:
    """A real key of a scheme; the record store calls it by the name of the default scheme."""

    def __init__(self, case):
        generated = generate_key(case.scheme, case.profile)
        material = PublicMaterial(
            case.scheme, case.profile, KEY_VERSION, generated.public_key, generated.evaluation_keys
        )
        self.comparer = load_comparer(material)
        self.encryptor = load_encryptor(material)
        self.decrypter = load_decrypter(case.scheme, case.profile, generated.secret_key)
        self.segment_encryptor = load_segment_encryptor(material) if case.searches_packed else None
        self.tolerance = score_tolerance(case.scheme, case.profile, SPACE)
        self.probe = self.encryptor.encrypt(FACE, SPACE, case.probe_use)


async def import_people(world, key):
    """Each import makes a segment of its own."""
    for first in range(0, len(PEOPLE), PEOPLE_PER_SEGMENT):
        rows = PEOPLE[first : first + PEOPLE_PER_SEGMENT]
        subject_ids = [f"s{number}" for number in range(first, first + len(rows))]
        data = key.segment_encryptor.encrypt(rows, SPACE)
        statement = SegmentStatement(
            key_version=KEY_VERSION,
            scheme=Scheme.CKKS_PACKED,
            profile=PROFILE,
            model=MODEL,
            space=SPACE,
            gallery=STAFF,
            slot_count=len(rows),
            segment_bytes=len(data),
            segment_sha256=hashlib.sha256(data).digest(),
            subject_ids_sha256=subject_ids_sha256(subject_ids),
            create_time=datetime.now(UTC),
        )
        wanted = NewImport(STAFF, f"import-{first}", sign_segment(world.operator, statement))
        await world.matching.imports.add(OPERATOR_IDENTITY, wanted, pieces(data, subject_ids))


async def pieces(data, subject_ids):
    yield ImportPiece(b"", subject_ids)
    for start in range(0, len(data), 1 << 20):
        yield ImportPiece(data[start : start + (1 << 20)], [])


async def enroll_people(world, key):
    """Each is a segment of its own, where 1:N is a loop of comparisons."""
    for number, vector in enumerate(PEOPLE):
        ciphertext = key.encryptor.encrypt(vector, SPACE, TemplateUse.REFERENCE)
        await world.enroll(f"s{number}", vector, ciphertext=ciphertext)


@pytest.mark.parametrize("case", scheme_cases())
async def test_scores_of_peers_are_right_under_every_scheme(make_world, tmp_path, case):
    key = SchemeKey(case)
    replicas = Replicas(make_world, lambda: key.comparer, blobs=BlobFolder(tmp_path / "blobs", "store"))
    await replicas.front.create()
    fill = import_people if case.searches_packed else enroll_people
    await fill(replicas.front, key)
    # So that peers score all of it.
    replicas.directories[0].own_name = None
    parts = await replicas.front.search(FACE, use=case.probe_use, ciphertext=key.probe)
    assert len(parts) == (SEGMENTS if case.searches_packed else len(PEOPLE))
    assert replicas.front.events.by_peers == len(parts)
    assert not replicas.retried
    found = [
        key.decrypter.decrypt(
            part.segment.scores.ciphertext, SPACE, replicas.front.ticket(part.segment.scores).score_count
        )
        for part in parts
    ]
    assert np.abs(np.concatenate(found) - PEOPLE @ FACE).max() < key.tolerance
