from pathlib import Path

import pytest

from tests.unit.client.fakes import GALLERY, KEY_VERSION, MODEL, NO_FACE, Fakes, score_batch
from veilface.client import ClientSettings, VeilfaceClient
from veilface.client.faces import FaceSelection
from veilface.client.results import Enrolled, Photograph
from veilface.client.steps import PayloadKind, Service
from veilface.common.errors import (
    DataLossError,
    FailedPreconditionError,
    NotFoundError,
    Reason,
    UnavailableError,
    VeilfaceError,
)
from veilface.crypto.contract import Metric, TemplateUse
from veilface.embedding.v1 import embedding_service_pb2
from veilface.keys.v1 import key_service_pb2
from veilface.matching.v1 import matching_service_pb2
from veilface.types.v1 import template_pb2


def segment(batch_index: int, etag: str, first: int, subjects: list[str]) -> matching_service_pb2.SearchGalleryResponse:
    runs = [matching_service_pb2.EnrollmentRun(first_enrollment=first, count=len(subjects))]
    return matching_service_pb2.SearchGalleryResponse(
        score_batch=score_batch(batch_index),
        directory_etag=etag,
        directory=matching_service_pb2.SegmentDirectory(runs=runs, subject_ids=subjects),
    )


def test_enrolling_extracts_a_reference_under_the_gallerys_key(client: VeilfaceClient, fakes: Fakes) -> None:
    enrolled = client.enroll("staff", b"ada.jpg", subject="ada", labels={"room": "12"}, request_id="once")
    (extracted,) = fakes.embedding.requests
    assert extracted.use == template_pb2.TEMPLATE_USE_REFERENCE
    assert (extracted.key, extracted.model) == (KEY_VERSION, MODEL)
    (request,) = fakes.matching.enrolled
    assert (request.gallery, request.subject_id, request.request_id) == (GALLERY, "ada", "once")
    assert request.template.ciphertext == b"of:ada.jpg"
    assert (enrolled.enrollment.subject, enrolled.enrollment.labels) == ("ada", {"room": "12"})


def test_every_enrollment_has_a_request_id_of_its_own(client: VeilfaceClient, fakes: Fakes) -> None:
    client.enroll("staff", b"1", subject="ada")
    client.enroll("staff", b"2", subject="ada")
    first, second = (request.request_id for request in fakes.matching.enrolled)
    assert first
    assert second
    assert first != second


def test_verifying_carries_the_scores_to_the_key_service(client: VeilfaceClient, fakes: Fakes) -> None:
    answer = client.verify(GALLERY, "ada", b"visitor", operating_point="strict")
    (comparison,) = fakes.matching.comparisons
    assert comparison.subject == f"{GALLERY}/subjects/ada"
    assert fakes.embedding.requests[0].use == template_pb2.TEMPLATE_USE_PROBE
    (decided,) = fakes.keys.verifications
    assert list(decided.score_batches) == [score_batch(0)]
    assert decided.operating_point == "strict"
    assert answer.is_match


def test_no_match_is_an_answer(client: VeilfaceClient, fakes: Fakes) -> None:
    fakes.keys.decision = key_service_pb2.DECISION_NO_MATCH
    assert not client.verify("staff", "ada", b"visitor").is_match


def test_comparing_makes_one_template_for_each_side(client: VeilfaceClient, fakes: Fakes) -> None:
    client.compare(b"left", b"right", key="other", faces=FaceSelection.LARGEST)
    assert [(each.image, each.use, each.key, each.face_selection) for each in fakes.embedding.requests] == [
        (b"left", template_pb2.TEMPLATE_USE_REFERENCE, "keys/other", embedding_service_pb2.FACE_SELECTION_LARGEST),
        (b"right", template_pb2.TEMPLATE_USE_PROBE, "keys/other", embedding_service_pb2.FACE_SELECTION_LARGEST),
    ]
    (comparison,) = fakes.matching.comparisons
    assert (comparison.reference.ciphertext, comparison.probe.ciphertext) == (b"of:left", b"of:right")


def test_comparing_takes_a_model_and_a_metric(client: VeilfaceClient, fakes: Fakes) -> None:
    client.compare(b"left", b"right", model="Facenet/yunet/deepface", metric=Metric.SQUARED_EUCLIDEAN)
    for request in fakes.embedding.requests:
        assert (request.model, request.metric) == ("Facenet/yunet/deepface", template_pb2.METRIC_SQUARED_EUCLIDEAN)


@pytest.mark.parametrize(
    ("plaintext_probe", "use"),
    [(False, template_pb2.TEMPLATE_USE_PROBE), (True, template_pb2.TEMPLATE_USE_PLAINTEXT_PROBE)],
)
def test_a_probe_is_in_the_clear_only_if_the_caller_says_so(
    client: VeilfaceClient, fakes: Fakes, plaintext_probe: bool, use: int
) -> None:
    client.identify("staff", b"visitor", plaintext_probe=plaintext_probe)
    assert [request.use for request in fakes.embedding.requests] == [use]


def test_bands_that_a_key_releases_are_told(client: VeilfaceClient, fakes: Fakes) -> None:
    fakes.keys.band = "strict"
    fakes.matching.segments = [segment(0, "a", 7, ["ada", "bob", "cyd"])]
    fakes.keys.positions = ((0, 0),)
    assert client.verify("staff", "ada", b"visitor").band == "strict"
    assert [candidate.band for candidate in client.identify("staff", b"visitor").candidates] == ["strict"]


def test_older_versions_of_a_key_are_refused_from_a_minimum_on(client: VeilfaceClient, fakes: Fakes) -> None:
    client.keys.rotate("default")
    changed = client.keys.set_minimum_version("default", 2)
    assert (changed.primary_version, changed.minimum_version) == (2, 2)
    assert changed == client.keys.get("default")


def test_candidates_are_mapped_to_enrollments_by_the_caller(client: VeilfaceClient, fakes: Fakes) -> None:
    # The batches come in another order than their indices.
    fakes.matching.segments = [segment(1, "b", 500, ["eve", "fay", "gus"]), segment(0, "a", 7, ["ada", "bob", "cyd"])]
    fakes.keys.positions = ((1, 2), (0, 0))
    answer = client.identify("staff", b"visitor", top_k=5)
    assert [(each.rank, each.subject, each.enrollment) for each in answer.candidates] == [
        (1, "gus", f"{GALLERY}/enrollments/502"),
        (2, "ada", f"{GALLERY}/enrollments/7"),
    ]
    (messages,) = fakes.keys.identifications
    assert [message.HasField("options") for message in messages] == [True, False]
    assert messages[0].options.top_k == 5


def test_a_directory_travels_once(client: VeilfaceClient, fakes: Fakes) -> None:
    fakes.matching.segments = [segment(0, "a", 7, ["ada", "bob", "cyd"])]
    fakes.keys.positions = ((0, 1),)
    first = client.identify("staff", b"visitor")
    second = client.identify("staff", b"visitor")
    assert [list(search.known_directory_etags) for search in fakes.matching.searches] == [[], ["a"]]
    assert first.candidates == second.candidates


def test_a_changed_directory_is_used_at_once(client: VeilfaceClient, fakes: Fakes) -> None:
    fakes.matching.segments = [segment(0, "a", 7, ["ada", "bob", "cyd"])]
    fakes.keys.positions = ((0, 1),)
    client.identify("staff", b"visitor")
    fakes.matching.segments = [segment(0, "b", 7, ["ada", "dee", "cyd"])]
    assert client.identify("staff", b"visitor").candidates[0].subject == "dee"


def test_a_segment_without_its_directory_is_refused(client: VeilfaceClient, fakes: Fakes) -> None:
    nameless = segment(0, "a", 7, ["ada"])
    nameless.ClearField("directory")
    fakes.matching.segments = [nameless]
    with pytest.raises(DataLossError):
        client.identify("staff", b"visitor")


@pytest.mark.parametrize("position", [(0, 3), (5, 0)])
def test_a_candidate_outside_of_the_search_is_refused(
    client: VeilfaceClient, fakes: Fakes, position: tuple[int, int]
) -> None:
    fakes.matching.segments = [segment(0, "a", 7, ["ada", "bob", "cyd"])]
    fakes.keys.positions = (position,)
    with pytest.raises(DataLossError):
        client.identify("staff", b"visitor")


def test_nobody_is_asked_to_decide_about_an_empty_gallery(client: VeilfaceClient, fakes: Fakes) -> None:
    assert client.identify("staff", b"visitor").candidates == ()
    assert fakes.keys.identifications == []


def test_steps_tell_what_each_service_was_shown(client: VeilfaceClient, fakes: Fakes) -> None:
    answer = client.verify("staff", "ada", b"visitor")
    shown = {(step.service, payload.kind) for step in answer.steps for payload in step.sent}
    assert shown == {
        (Service.EMBEDDING, PayloadKind.IMAGE),
        (Service.MATCHING, PayloadKind.TEMPLATE),
        (Service.KEYS, PayloadKind.SCORES),
    }
    assert [step.call for step in answer.steps] == [
        "GetGallery",
        "ExtractTemplates",
        "CompareTemplates",
        "DecideVerification",
    ]
    assert all(step.sent_bytes > 0 and step.received_bytes > 0 for step in answer.steps)


def test_one_bad_photograph_does_not_stop_the_others(client: VeilfaceClient, fakes: Fakes, tmp_path: Path) -> None:
    good = tmp_path / "good.jpg"
    good.write_bytes(b"good")
    photographs = [
        Photograph(image=tmp_path / "missing.jpg", subject="ada"),
        Photograph(image=good, subject="bob"),
        Photograph(image=NO_FACE, subject="cyd"),
        Photograph(image=b"also good", subject="dee"),
        Photograph(image=b"", subject="eve"),
    ]
    outcomes = {outcome.photograph.subject: outcome.result for outcome in client.enroll_many("staff", photographs)}
    reasons = {subject: result.reason for subject, result in outcomes.items() if isinstance(result, VeilfaceError)}
    assert reasons == {"ada": Reason.INVALID_FIELD, "cyd": Reason.NO_FACE, "eve": Reason.IMAGE_EMPTY}
    assert isinstance(outcomes["bob"], Enrolled)
    assert outcomes["dee"].enrollment.subject == "dee"  # type: ignore[union-attr]
    assert [request.template.ciphertext for request in fakes.matching.enrolled] == [b"of:good", b"of:also good"]


def test_many_images_are_read_when_their_turn_comes(client: VeilfaceClient, tmp_path: Path) -> None:
    path = tmp_path / "later.jpg"
    path.write_bytes(b"before")
    extractions = client.extract_many(iter([path]), TemplateUse.PROBE)
    path.write_bytes(b"after")
    ((position, extraction),) = extractions
    assert position == 0
    assert not isinstance(extraction, VeilfaceError)
    assert extraction.faces[0].template.ciphertext == b"of:after"


def test_errors_keep_their_class_and_reason(client: VeilfaceClient) -> None:
    with pytest.raises(NotFoundError) as missing:
        client.galleries.get("nobody")
    assert missing.value.reason is Reason.GALLERY_NOT_FOUND
    with pytest.raises(FailedPreconditionError) as faceless:
        client.compare(NO_FACE, b"right")
    assert faceless.value.reason is Reason.NO_FACE


def test_an_unreachable_service_is_named(tmp_path: Path) -> None:
    address = f"unix:{tmp_path / 'nobody.sock'}"
    settings = ClientSettings(
        embedding_service=address, key_service=address, matching_service=address, insecure=True, timeout_s=5
    )
    with VeilfaceClient.connect(settings) as client, pytest.raises(UnavailableError, match="the matching service at"):
        client.galleries.list()


def test_lists_follow_their_pages(client: VeilfaceClient) -> None:
    client.keys.create("mine")
    assert [key.name for key in client.keys.list()] == ["keys/default", "keys/mine", "keys/other"]
    assert client.keys.get("mine") == client.keys.get("keys/mine")


def test_models_tell_their_weights(client: VeilfaceClient) -> None:
    (model,) = client.models()
    assert (model.name, model.is_default, model.weights) == (MODEL, True, (("weights.bin", "00" * 32),))
