"""The whole service: photographs in over mutual TLS, signed and encrypted templates out."""

import io
import queue
from collections.abc import Callable, Iterator

import grpc
import numpy as np
import pytest
from PIL import Image, ImageOps
from tests.integration.embedding.conftest import TIMEOUT_S, EmbeddingService, request_for
from tests.portraits import portrait_path
from tests.unit.embedding.bad_images import BadImage, bad_images, encoded, noise

from veilface.common.attested import TemplateStatement, template_from_proto, verify_template
from veilface.common.errors import FailedPreconditionError, NotFoundError, PermissionDeniedError, Reason, VeilfaceError
from veilface.common.status import error_from_rpc
from veilface.crypto.contract import Scheme, TemplateUse
from veilface.crypto.public.registry import load_comparer
from veilface.embedding.v1 import embedding_service_pb2 as pb
from veilface.types.v1 import template_pb2

NO_FACE = encoded(Image.new("RGB", (640, 480), (90, 120, 150)), "JPEG")


def portrait(filename: str = "obama.jpg") -> bytes:
    return portrait_path(filename).read_bytes()


def two_people() -> bytes:
    """A large face on the left, a smaller one on the right."""
    image = Image.new("RGB", (1000, 600), (128, 128, 128))
    image.paste(ImageOps.fit(Image.open(portrait_path("obama.jpg")).convert("RGB"), (500, 600)), (0, 0))
    image.paste(ImageOps.fit(Image.open(portrait_path("astronaut.png")).convert("RGB"), (300, 360)), (650, 120))
    return encoded(image, "JPEG")


def extract(service: EmbeddingService, image: bytes, **changes: object) -> pb.ExtractTemplatesResponse:
    return service.stub().ExtractTemplates(request_for(image, **changes), timeout=TIMEOUT_S)


def statement_of(service: EmbeddingService, face: pb.Face) -> TemplateStatement:
    return verify_template(service.trust, template_from_proto(face.template))


def refusal(call: Callable[[], object]) -> VeilfaceError:
    with pytest.raises(grpc.RpcError) as raised:
        call()
    return error_from_rpc(raised.value)


def batch(service: EmbeddingService, images: list[bytes]) -> list[pb.BatchExtractTemplatesResponse]:
    requests = (pb.BatchExtractTemplatesRequest(request=request_for(image)) for image in images)
    return list(service.stub().BatchExtractTemplates(requests, timeout=TIMEOUT_S))


def test_a_portrait_becomes_one_signed_template(running: EmbeddingService) -> None:
    response = extract(running, portrait())
    (face,) = response.faces
    statement = statement_of(running, face)
    assert (response.image_width, response.image_height, response.model) == (910, 1137, "dlib-resnet/hog/chip")
    assert statement.model == response.model
    assert statement.key_version == "keys/staff/versions/1"
    assert (statement.scheme, statement.space.dimension) == (Scheme.CKKS_PACKED, 128)
    assert statement.use is TemplateUse.PROBE
    assert 0.5 < face.detection_confidence <= 1.0
    assert 0.0 < face.quality.overall <= 1.0
    assert len(face.landmarks) == 3


def test_templates_of_one_person_can_be_compared_under_encryption(running: EmbeddingService) -> None:
    (probe,) = extract(running, portrait("obama.jpg")).faces
    (reference,) = extract(running, portrait("obama2.jpg"), use=template_pb2.TEMPLATE_USE_REFERENCE).faces
    comparer = load_comparer(running.keys.material("keys/staff"))
    space = statement_of(running, probe).space
    assert comparer.compare(reference.template.ciphertext, probe.template.ciphertext, space)


def test_an_oriented_photograph_is_measured_upright(running: EmbeddingService) -> None:
    image = Image.open(io.BytesIO(portrait())).transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6
    turned, upright = extract(running, encoded(image, "PNG", exif=exif)), extract(running, portrait())
    assert (turned.image_width, turned.image_height) == (upright.image_width, upright.image_height)
    assert abs(turned.faces[0].bounding_box.x - upright.faces[0].bounding_box.x) <= 4


@pytest.mark.parametrize("bad", bad_images(), ids=lambda bad: bad.name)
def test_an_unusable_image_is_refused_with_its_reason(running: EmbeddingService, bad: BadImage) -> None:
    error = refusal(lambda: extract(running, bad.encoded))
    assert error.reason is bad.reason
    assert error.message


def test_the_service_works_after_all_unusable_images(running: EmbeddingService) -> None:
    for bad in bad_images():
        refusal(lambda bad=bad: extract(running, bad.encoded))
    assert len(extract(running, portrait()).faces) == 1


def test_an_image_without_a_face_is_refused(running: EmbeddingService) -> None:
    error = refusal(lambda: extract(running, NO_FACE))
    assert isinstance(error, FailedPreconditionError)
    assert error.reason is Reason.NO_FACE


def test_two_faces_are_refused_where_one_is_expected(running: EmbeddingService) -> None:
    error = refusal(lambda: extract(running, two_people()))
    assert isinstance(error, FailedPreconditionError)
    assert error.reason is Reason.SEVERAL_FACES


def test_the_largest_of_two_faces_is_taken(running: EmbeddingService) -> None:
    (face,) = extract(running, two_people(), face_selection=pb.FACE_SELECTION_LARGEST).faces
    assert face.bounding_box.x < 500


def test_all_faces_come_largest_first(running: EmbeddingService) -> None:
    large, small = extract(running, two_people(), face_selection=pb.FACE_SELECTION_ALL).faces
    assert large.bounding_box.x < 500 < small.bounding_box.x
    assert large.bounding_box.width > small.bounding_box.width
    assert large.template.ciphertext != small.template.ciphertext


def test_a_message_larger_than_the_server_takes_is_refused(running: EmbeddingService) -> None:
    error = refusal(lambda: extract(running, bytes(21 << 20)))
    assert error.message
    assert len(extract(running, portrait()).faces) == 1


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"use": 0}, Reason.MISSING_FIELD),
        ({"key": ""}, Reason.MISSING_FIELD),
        ({"key": "staff"}, Reason.INVALID_NAME),
        ({"model": "Facenet/yunet/deepface"}, Reason.UNKNOWN_MODEL),
        ({"face_selection": 9}, Reason.INVALID_FIELD),
    ],
)
def test_a_wrong_request_is_refused(running: EmbeddingService, changes: dict[str, object], reason: Reason) -> None:
    assert refusal(lambda: extract(running, portrait(), **changes)).reason is reason


@pytest.mark.parametrize("key", ["keys/nobody", "keys/staff/versions/7"])
def test_an_unknown_key_is_refused_in_the_key_services_words(running: EmbeddingService, key: str) -> None:
    error = refusal(lambda: extract(running, portrait(), key=key))
    assert isinstance(error, NotFoundError)
    assert error.reason is Reason.KEY_NOT_FOUND


def test_a_batch_answers_every_image_in_order(running: EmbeddingService) -> None:
    images = [portrait("biden.jpg"), b"", portrait("astronaut.png"), NO_FACE, two_people(), noise_file(), portrait()]
    responses = batch(running, images)
    assert [response.index for response in responses] == list(range(len(images)))
    assert [response.error.reason for response in responses] == [
        "",
        "IMAGE_EMPTY",
        "",
        "NO_FACE",
        "SEVERAL_FACES",
        "IMAGE_TRUNCATED",
        "",
    ]
    codes = [response.error.code for response in responses if response.WhichOneof("outcome") == "error"]
    assert codes == [grpc.StatusCode.INVALID_ARGUMENT.value[0], 9, 9, grpc.StatusCode.INVALID_ARGUMENT.value[0]]
    for response in responses:
        for face in response.response.faces:
            assert statement_of(running, face).model == "dlib-resnet/hog/chip"


def test_a_batch_is_longer_than_what_is_worked_on_at_once(running: EmbeddingService) -> None:
    responses = batch(running, [portrait("astronaut.png"), b"no image"] * 10)
    assert [response.WhichOneof("outcome") for response in responses] == ["response", "error"] * 10


def test_a_batch_answers_an_image_before_the_next_is_sent(running: EmbeddingService) -> None:
    waiting: queue.SimpleQueue[pb.BatchExtractTemplatesRequest | None] = queue.SimpleQueue()

    def requests() -> Iterator[pb.BatchExtractTemplatesRequest]:
        while (request := waiting.get()) is not None:
            yield request

    item = pb.BatchExtractTemplatesRequest(request=request_for(portrait()))
    waiting.put(item)
    responses = running.stub().BatchExtractTemplates(requests(), timeout=TIMEOUT_S)
    assert next(responses).index == 0
    waiting.put(item)
    assert next(responses).index == 1
    waiting.put(None)
    assert list(responses) == []


def test_a_client_that_leaves_in_the_middle_of_a_batch_does_no_harm(running: EmbeddingService) -> None:
    requests = (pb.BatchExtractTemplatesRequest(request=request_for(portrait())) for _ in range(50))
    responses = running.stub().BatchExtractTemplates(requests, timeout=TIMEOUT_S)
    assert next(responses).index == 0
    responses.cancel()
    assert len(extract(running, portrait()).faces) == 1


def test_the_models_are_listed_with_their_files(running: EmbeddingService) -> None:
    (model,) = running.stub().ListModels(pb.ListModelsRequest(), timeout=TIMEOUT_S).models
    assert (model.name, model.dimension, model.is_default) == ("dlib-resnet/hog/chip", 128, True)
    assert len(model.weights) == 2
    assert all(len(file.sha256) == 64 for file in model.weights)


@pytest.mark.parametrize("party", ["matching", "embedding", "stranger"])
def test_only_clients_and_operators_may_extract(running: EmbeddingService, party: str) -> None:
    request = request_for(portrait())
    error = refusal(lambda: running.stub(party).ExtractTemplates(request, timeout=TIMEOUT_S))
    assert isinstance(error, PermissionDeniedError)
    assert running.stub("operator").ExtractTemplates(request, timeout=TIMEOUT_S).faces


def test_the_log_tells_the_calls_and_shows_no_numbers_of_an_embedding(running: EmbeddingService) -> None:
    extract(running, portrait())
    refusal(lambda: extract(running, NO_FACE))
    assert "ExtractTemplates" in running.log
    assert "NO_FACE" in running.log
    assert "[-0." not in running.log
    assert "Traceback" not in running.log


def noise_file() -> bytes:
    """A JPEG file that was cut off."""
    return encoded(noise(), "JPEG")[:2000]


def test_noise_is_no_face(running: EmbeddingService) -> None:
    random = np.random.default_rng(1).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    assert refusal(lambda: extract(running, encoded(Image.fromarray(random), "PNG"))).reason is Reason.NO_FACE
