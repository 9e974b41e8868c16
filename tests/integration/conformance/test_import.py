"""Every scheme with segments takes a bulk import, and what was imported is like what was enrolled."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.integration.conformance.conftest import System, policy_of

from veilface.client.import_source import ImportSource
from veilface.common.attested import SignedTemplate
from veilface.common.errors import FailedPreconditionError, PermissionDeniedError, Reason
from veilface.common.identities import MATCHING_IDENTITY, OPERATOR_IDENTITY
from veilface.embedding.settings import DEFAULT_PIPELINE
from veilface.keys.v1 import policy_pb2

# More than one segment of the default profiles of Paillier and Okamoto-Uchiyama.
CROWD = 110


@pytest.fixture(scope="session")
def source(system: System, embedded: Mapping[Path, NDArray[np.float64]]) -> ImportSource:
    """The people as "person-0" and so on and the stranger as "eve", spread over many who look like nobody."""
    crowd = np.random.default_rng(12).normal(size=(CROWD, system.embeddings[0].size))
    rows = [*(crowd / np.linalg.norm(crowd, axis=1, keepdims=True))]
    names = [f"nobody-{number}" for number in range(CROWD)]
    known = [*system.embeddings, embedded[system.people.stranger]]
    for number, embedding in enumerate(known):
        place = 1 + number * (CROWD // len(known))
        rows.insert(place, embedding)
        names.insert(place, f"person-{number}" if number < len(system.embeddings) else "eve")
    return ImportSource(np.array(rows), tuple(names))


def check_recognition(system: System, gallery: str, *, is_eve_there: bool) -> None:
    key = system.client.galleries.get(gallery).key_version

    def probe_of(photograph: Path) -> SignedTemplate:
        return system.client.extract(photograph, system.case.probe_use, key=key).faces[0].template

    for number, photograph in enumerate(system.people.probes):
        probe = probe_of(photograph)
        found = system.client.identify_template(gallery, probe, top_k=5).candidates
        assert [candidate.subject for candidate in found] == [f"person-{number}"]
        assert system.client.verify_template(gallery, f"person-{number}", probe).is_match
    eve = probe_of(system.people.stranger)
    found = system.client.identify_template(gallery, eve, top_k=5).candidates
    assert [candidate.subject for candidate in found] == (["eve"] if is_eve_there else [])
    assert not system.client.verify_template(gallery, "person-0", eve).is_match


def test_the_imported_are_recognised_until_they_are_erased_and_after_a_rotation(
    system: System, source: ImportSource
) -> None:
    if not system.case.searches_packed:
        gallery = system.operator.galleries.create(f"no-import-{system.case.profile}", system.key)
        with pytest.raises(FailedPreconditionError, match="one by one") as refused:
            system.operator.imports.run(gallery, source, model=DEFAULT_PIPELINE)
        assert refused.value.reason is Reason.UNSUPPORTED_BY_SCHEME
        return
    name = f"imported-{system.case.profile}"
    system.operator.keys.create(name, system.case.scheme, system.case.profile, policy_of())
    gallery = system.operator.galleries.create(name, name)
    report = system.operator.imports.run(gallery, source, model=DEFAULT_PIPELINE)
    assert report.enrollment_count == source.count
    check_recognition(system, name, is_eve_there=True)

    system.client.subjects.delete(name, "eve")
    check_recognition(system, name, is_eve_there=False)

    rotated = system.operator.keys.rotate(name)
    *_, last = system.operator.galleries.rotate(name, f"keys/{name}/versions/{rotated.primary_version}")
    assert last.is_switched
    assert system.client.galleries.get(name).key_version.endswith(f"/{rotated.primary_version}")
    check_recognition(system, name, is_eve_there=False)
    system.operator.galleries.delete(name)


def test_a_key_takes_imports_only_from_whom_its_policy_names(system: System, source: ImportSource) -> None:
    if not system.case.searches_packed:
        return
    name = f"importers-{system.case.profile}"

    def grant(identity: str) -> policy_pb2.KeyPolicy:
        return policy_of(grants=[policy_pb2.Grant(operation=policy_pb2.OPERATION_IMPORT, identities=[identity])])

    for granted, suffix in ((MATCHING_IDENTITY, "others"), (OPERATOR_IDENTITY, "operators")):
        system.operator.keys.create(f"{name}-{suffix}", system.case.scheme, system.case.profile, grant(granted))
        gallery = system.operator.galleries.create(f"{name}-{suffix}", f"{name}-{suffix}")
        if granted == OPERATOR_IDENTITY:
            assert system.operator.imports.run(gallery, source, model=DEFAULT_PIPELINE).enrollment_count == source.count
            continue
        with pytest.raises(PermissionDeniedError) as refused:
            system.operator.imports.run(gallery, source, model=DEFAULT_PIPELINE)
        assert refused.value.reason is Reason.POLICY_DENIED
