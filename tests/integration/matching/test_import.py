"""Bulk import with real encryption: what the client sends is what searches find."""

import asyncio
from dataclasses import replace

import grpc
import numpy as np
import pytest

from veilface.client.calls import ServiceCalls
from veilface.client.galleries import gallery_from_proto
from veilface.client.import_source import ImportSource
from veilface.client.imports import Imports
from veilface.client.steps import Service
from veilface.common.attested import Circuit
from veilface.common.errors import (
    FailedPreconditionError,
    InvalidArgumentError,
    PermissionDeniedError,
    Reason,
    UnavailableError,
)
from veilface.common.identities import OPERATOR_IDENTITY
from veilface.common.signing import Signer
from veilface.common.status import error_from_rpc
from veilface.crypto.contract import PublicMaterial, Scheme
from veilface.matching.v1 import gallery_service_pb2, matching_service_pb2

CAPACITY = 4096
MODEL = "dlib-resnet/hog/chip"
SCORE_TOLERANCE = 1e-3
IMPORTER = "spiffe://veilface/importer"


def unit_vectors(count, dimension=64, seed=11):
    drawn = np.random.default_rng(seed).normal(size=(count, dimension)).astype(np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


@pytest.fixture(scope="session")
def crowd():
    """Embeddings of two whole segments and a part of a third."""
    return unit_vectors(2 * CAPACITY + 100)


def source_of(vectors, normalize=False):
    return ImportSource(vectors, tuple(f"p{number}" for number in range(1, len(vectors) + 1)), normalize)


class FixedKeys:
    def __init__(self, material):
        self.material = material

    def fetch(self, key_version):
        return self.material


class Importer:
    """The client's side of an import, in a thread of its own."""

    def __init__(self, replica, material=None, signer=None):
        self.replica = replica
        self.channel = grpc.insecure_channel(replica.server.address)
        calls = ServiceCalls(Service.MATCHING, replica.server.address, 60)
        keys = FixedKeys(material or replica.keyset.material)
        self.imports = Imports(self.channel, calls, keys, lambda: signer or replica.keyset.operator_signer)

    async def run(self, source, gallery="staff", model=MODEL, on_progress=lambda count: None):
        request = gallery_service_pb2.GetGalleryRequest(name=f"galleries/{gallery}")
        found = gallery_from_proto(await self.replica.galleries.GetGallery(request))
        work = asyncio.to_thread(self.imports.run, found, source, model=model, on_progress=on_progress)
        return await work


async def refusal(call, kind):
    with pytest.raises(kind) as caught:
        await call
    return caught.value.reason


def assert_scores(found, vectors, probe, erased=()):
    expected = vectors.astype(np.float64) @ probe
    kept = [number for number in range(1, len(vectors) + 1) if number not in erased]
    assert sorted(found) == kept
    scores = np.array([found[number] for number in kept])
    assert np.abs(scores - expected[np.array(kept) - 1]).max() < SCORE_TOLERANCE


@pytest.fixture
async def open_replica(run_replica, tmp_path):
    """A replica whose only caller is an operator that may also search."""

    def run(**changes):
        services = ("veilface.matching.v1.MatchingService", "veilface.matching.v1.GalleryService")
        rules = {f"/{service}/*": (OPERATOR_IDENTITY,) for service in services}
        return run_replica(identity=OPERATOR_IDENTITY, blobs=tmp_path / "blobs", rules=rules, **changes)

    return run


@pytest.fixture
async def replica(open_replica):
    async with open_replica() as replica:
        await replica.create()
        yield replica


async def test_what_was_imported_is_found_as_numpy_finds_it(replica, crowd, face):
    progress = []
    report = await Importer(replica).run(source_of(crowd), on_progress=progress.append)
    assert (report.enrollment_count, report.segment_count, report.known_segment_count) == (len(crowd), 3, 0)
    assert progress == [CAPACITY, CAPACITY, 100]
    found, statistics = await replica.scores(face)
    assert_scores(found, crowd, face)
    assert (statistics.segment_count, statistics.segments_from_disk, statistics.segments_rebuilt) == (3, 3, 0)
    found, statistics = await replica.scores(face)
    assert_scores(found, crowd, face)
    assert (statistics.segments_from_memory, statistics.segments_from_disk) == (3, 0)


async def test_an_import_that_is_repeated_encrypts_and_sends_nothing(replica, crowd, face):
    source = source_of(crowd[: CAPACITY + 10])
    await Importer(replica).run(source)
    again = await Importer(replica).run(source)
    assert (again.segment_count, again.known_segment_count, again.sent_bytes, again.encrypt_s) == (2, 2, 0, 0.0)
    assert_scores((await replica.scores(face))[0], source.vectors, face)


async def test_an_interrupted_import_goes_on_where_it_was(replica, crowd, face):
    def stop(count):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await Importer(replica).run(source_of(crowd), on_progress=stop)
    (gallery,) = (await replica.galleries.ListGalleries(gallery_service_pb2.ListGalleriesRequest())).galleries
    assert gallery.enrollment_count == CAPACITY
    report = await Importer(replica).run(source_of(crowd))
    assert (report.segment_count, report.known_segment_count) == (3, 1)
    assert_scores((await replica.scores(face))[0], crowd, face)


async def test_a_whole_segment_is_imported_though_its_answer_was_lost(replica, crowd, face, monkeypatch):
    importer = Importer(replica)
    send = importer.imports.import_segment
    monkeypatch.setattr(importer.imports, "import_segment", lambda requests: (send(requests), send(requests)))
    await importer.run(source_of(crowd[:50]))
    assert_scores((await replica.scores(face))[0], crowd[:50], face)


async def test_embeddings_that_are_not_normalized_can_be(replica, crowd, face):
    scaled = crowd[:20] * np.linspace(0.1, 9, 20, dtype=np.float32)[:, None]
    assert (
        await refusal(Importer(replica).run(source_of(scaled)), InvalidArgumentError) is Reason.EMBEDDING_OUT_OF_RANGE
    )
    await Importer(replica).run(source_of(scaled, normalize=True))
    assert_scores((await replica.scores(face))[0], crowd[:20], face)


async def test_an_erased_enrollment_of_an_import_is_not_scored(replica, crowd, face):
    await Importer(replica).run(source_of(crowd[:30]))
    assert_scores((await replica.scores(face))[0], crowd[:30], face)
    await replica.erase(7)
    assert_scores((await replica.scores(face))[0], crowd[:30], face, erased={7})


async def test_an_imported_face_is_verified_one_to_one(replica, crowd, face):
    await Importer(replica).run(source_of(crowd[:30]))
    request = matching_service_pb2.CompareTemplatesRequest(
        probe=replica.keyset.probe(face), subject="galleries/staff/subjects/p9"
    )
    (batch,) = (await replica.matcher.CompareTemplates(request)).score_batches
    ticket, scores = replica.keyset.open(batch)
    assert (ticket.circuit, ticket.subject) == (Circuit.VERIFY, "galleries/staff/subjects/p9")
    assert scores == pytest.approx([float(crowd[8].astype(np.float64) @ face)], abs=SCORE_TOLERANCE)


async def test_faces_are_enrolled_beside_imported_ones(replica, crowd, face):
    await Importer(replica).run(source_of(crowd[:30]))
    await replica.scores(face)
    await replica.enroll("late", crowd[30])
    await replica.settle()
    assert_scores((await replica.scores(face))[0], crowd[:31], face)


async def test_an_import_survives_a_restart_and_a_tampered_file_is_reported(open_replica, tmp_path, crowd, face):
    async with open_replica() as replica:
        await replica.create()
        await Importer(replica).run(source_of(crowd[:30]))
    async with open_replica() as replica:
        assert_scores((await replica.scores(face))[0], crowd[:30], face)
    (path,) = (tmp_path / "blobs").rglob("*.segment")
    data = bytearray(path.read_bytes())
    data[100_000] ^= 1
    path.write_bytes(data)
    async with open_replica() as replica:
        with pytest.raises(grpc.RpcError) as caught:
            await replica.scores(face)
        assert caught.value.code() is grpc.StatusCode.DATA_LOSS
        assert path.name in error_from_rpc(caught.value).message


async def test_an_operator_whose_key_is_not_trusted_imports_nothing(replica, crowd):
    stranger = Importer(replica, signer=Signer.generate(OPERATOR_IDENTITY))
    assert await refusal(stranger.run(source_of(crowd[:5])), PermissionDeniedError) is Reason.UNTRUSTED_SIGNER
    assert (await Importer(replica).run(source_of(crowd[:5]))).enrollment_count == 5


async def test_who_is_not_an_operator_imports_nothing(run_replica, tmp_path, crowd):
    async with run_replica(blobs=tmp_path / "blobs") as replica:
        await replica.create()
        reason = await refusal(Importer(replica).run(source_of(crowd[:5])), PermissionDeniedError)
        assert reason is Reason.IDENTITY_DENIED


async def test_a_key_takes_imports_only_from_whom_its_policy_names(replica, crowd, monkeypatch):
    material = replica.keyset.material
    monkeypatch.setattr(replica.keyset, "material", replace(material, importers=(IMPORTER,)))
    reason = await refusal(Importer(replica).run(source_of(crowd[:5])), PermissionDeniedError)
    assert reason is Reason.POLICY_DENIED
    monkeypatch.setattr(replica.keyset, "material", replace(material, importers=(IMPORTER, OPERATOR_IDENTITY)))
    assert (await Importer(replica).run(source_of(crowd[:5]))).enrollment_count == 5


async def test_another_identity_than_the_operator_imports_if_the_policy_names_it(
    run_replica, keyset, tmp_path, crowd, face, monkeypatch
):
    monkeypatch.setattr(keyset, "operator_signer", Signer.generate(IMPORTER))
    rules = {f"/veilface.matching.v1.{each}/*": (IMPORTER,) for each in ("MatchingService", "GalleryService")}
    async with run_replica(identity=IMPORTER, blobs=tmp_path / "blobs", rules=rules) as replica:
        await replica.create()
        reason = await refusal(Importer(replica).run(source_of(crowd[:5])), PermissionDeniedError)
        assert reason is Reason.POLICY_DENIED
        monkeypatch.setattr(keyset, "material", replace(keyset.material, importers=(IMPORTER,)))
        await Importer(replica).run(source_of(crowd[:5]))
        assert_scores((await replica.scores(face))[0], crowd[:5], face)


@pytest.mark.parametrize(
    ("vectors", "model", "reason"),
    [
        (unit_vectors(5, 32), MODEL, Reason.WRONG_DIMENSION),
        (unit_vectors(5), "another/model", Reason.WRONG_MODEL),
    ],
)
async def test_what_does_not_fit_the_gallery_is_not_encrypted(replica, crowd, vectors, model, reason):
    await Importer(replica).run(source_of(crowd[:5]))
    assert await refusal(Importer(replica).run(source_of(vectors), model=model), FailedPreconditionError) is reason


async def test_segments_under_another_key_version_are_refused(replica, crowd):
    material = replica.keyset.material
    other = PublicMaterial(material.scheme, material.profile, "keys/faces/versions/2", material.public_key, b"")
    reason = await refusal(Importer(replica, other).run(source_of(crowd[:5])), FailedPreconditionError)
    assert reason is Reason.WRONG_KEY_VERSION


async def test_keys_that_segments_cannot_be_made_for_are_refused_before_anything_is_sent(replica, crowd):
    material = replica.keyset.material
    transformed = PublicMaterial(
        material.scheme, material.profile, material.key_version, material.public_key, b"", embedding_transform=True
    )
    row_by_row = PublicMaterial(Scheme.CKKS_TENSEAL, "ckks-tenseal-128-defensive", material.key_version, b"", b"")
    for other, reason in ((transformed, Reason.UNSUPPORTED_BY_KEY), (row_by_row, Reason.UNSUPPORTED_BY_SCHEME)):
        assert await refusal(Importer(replica, other).run(source_of(crowd[:5])), FailedPreconditionError) is reason


async def test_a_gallery_without_a_model_takes_an_import_that_names_one(replica, crowd):
    call = Importer(replica).run(source_of(crowd[:5]), model="")
    assert await refusal(call, InvalidArgumentError) is Reason.MISSING_FIELD
    await Importer(replica).run(source_of(crowd[:5]))
    assert (await Importer(replica).run(source_of(crowd[5:9]), model="")).enrollment_count == 4


async def test_a_service_that_is_away_is_said_to_be(replica, crowd, monkeypatch):
    importer = Importer(replica)
    monkeypatch.setattr("veilface.client.imports._FIRST_PAUSE_S", 0.01)
    await replica.server.drain()
    calls = ServiceCalls(Service.MATCHING, replica.server.address, 5)
    imports = Imports(importer.channel, calls, FixedKeys(None), lambda: None)
    with pytest.raises(UnavailableError):
        await asyncio.to_thread(imports.import_segment, lambda: iter(()))
