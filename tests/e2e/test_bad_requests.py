"""Wrong images, keys, dimensions and tickets: a clear status, the service alive, nothing half-written."""

import io
import uuid
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from tests.e2e.conftest import Templates
from tests.e2e.forgery import Forger
from tests.faces import LabelledFaces
from tests.portraits import ASTRONAUT, portrait_path
from tests.unit.embedding.bad_images import BadImage, bad_images
from veilface.cli.local_stack.stack import LocalStack
from veilface.client import VeilfaceClient
from veilface.client.images import LARGEST_IMAGE_BYTES
from veilface.common.attested import SignedTemplate
from veilface.common.errors import PermissionDeniedError, Reason, VeilfaceError
from veilface.crypto.contract import TemplateUse

BAD_IMAGES = bad_images()
KEY = "photographs"


@pytest.fixture
def gallery(client: VeilfaceClient, faces: LabelledFaces, templates: Templates) -> Iterator[str]:
    # Of its own: the key's policy answers only so many questions about one subject.
    name = f"strict-{uuid.uuid4().hex[:8]}"
    client.galleries.create(name, templates.key)
    client.enrollments.create(name, templates.fresh(faces.people[-1][0]), "ada", request_id="first")
    yield name
    # Nothing that a test sent was half-written.
    found = client.galleries.get(name)
    assert (found.enrollment_count, found.subject_count) == (1, 1)
    assert client.verify_template(name, "ada", templates.probes[faces.people[-1][0]]).is_match
    client.galleries.delete(name)


@pytest.fixture
def forger(stack: LocalStack, client: VeilfaceClient) -> Forger:
    return Forger.with_keys_of(stack, KEY)


def reason_of(refused: pytest.ExceptionInfo[VeilfaceError]) -> Reason:
    assert len(refused.value.message) > 10, "a message says what was wrong and what to do"
    return refused.value.reason


@pytest.mark.parametrize("bad", BAD_IMAGES, ids=lambda bad: bad.name.replace(" ", "-"))
def test_a_bad_image_is_refused_with_its_own_reason(client: VeilfaceClient, gallery: str, bad: BadImage) -> None:
    with pytest.raises(VeilfaceError) as refused:
        client.enroll(gallery, bad.encoded, subject="mallory")
    assert reason_of(refused) is bad.reason


def test_there_are_twenty_kinds_of_bad_image() -> None:
    assert len(BAD_IMAGES) >= 20
    assert max(len(bad.encoded) for bad in BAD_IMAGES) > LARGEST_IMAGE_BYTES


def test_an_image_without_a_face_is_refused(client: VeilfaceClient, gallery: str) -> None:
    with pytest.raises(VeilfaceError) as refused:
        client.enroll(gallery, png_of(np.full((200, 200, 3), 128, dtype=np.uint8)), subject="mallory")
    assert reason_of(refused) is Reason.NO_FACE


def test_an_image_of_two_people_is_refused_unless_one_may_be_chosen(client: VeilfaceClient, gallery: str) -> None:
    portrait = np.asarray(Image.open(portrait_path(ASTRONAUT.filename)).convert("RGB"))
    both = png_of(np.concatenate([portrait, portrait[:, ::-1]], axis=1))
    with pytest.raises(VeilfaceError) as refused:
        client.enroll(gallery, both, subject="mallory")
    assert reason_of(refused) is Reason.SEVERAL_FACES


def test_a_template_under_another_key_is_refused(client: VeilfaceClient, gallery: str, faces: LabelledFaces) -> None:
    photograph = faces.people[-1][0]
    for use in (TemplateUse.REFERENCE, TemplateUse.PROBE):
        (face,) = client.extract(photograph, use, key="default").faces
        with pytest.raises(VeilfaceError) as refused:
            _use(client, gallery, face.template, use)
        assert reason_of(refused) is Reason.WRONG_KEY_VERSION


def test_an_unknown_key_is_refused(client: VeilfaceClient, faces: LabelledFaces) -> None:
    with pytest.raises(VeilfaceError) as refused:
        client.extract(faces.people[-1][0], TemplateUse.PROBE, key="nobody")
    assert reason_of(refused) is Reason.KEY_NOT_FOUND


@pytest.mark.parametrize("dimension", [1, 127, 129, 512])
def test_a_template_of_another_dimension_is_refused(
    client: VeilfaceClient, gallery: str, forger: Forger, dimension: int
) -> None:
    for use in (TemplateUse.REFERENCE, TemplateUse.PROBE):
        with pytest.raises(VeilfaceError) as refused:
            _use(client, gallery, forger.template(dimension, use), use)
        assert reason_of(refused) is Reason.WRONG_DIMENSION


def test_a_template_of_another_model_is_refused(client: VeilfaceClient, gallery: str, forger: Forger) -> None:
    for use in (TemplateUse.REFERENCE, TemplateUse.PROBE):
        with pytest.raises(VeilfaceError) as refused:
            _use(client, gallery, forger.template(128, use, model="other/model/here"), use)
        assert reason_of(refused) is Reason.WRONG_MODEL


def test_what_the_forger_makes_is_accepted_when_nothing_is_wrong_with_it(
    client: VeilfaceClient, gallery: str, forger: Forger
) -> None:
    enrolled = client.enrollments.create(
        gallery, forger.template(128, TemplateUse.REFERENCE), "random", request_id="control"
    )
    assert not client.verify_template(gallery, "random", forger.template(128, TemplateUse.PROBE)).is_match
    client.enrollments.delete(enrolled.name)


def test_a_probe_cannot_be_enrolled(
    client: VeilfaceClient, gallery: str, faces: LabelledFaces, templates: Templates
) -> None:
    with pytest.raises(VeilfaceError) as refused:
        client.enrollments.create(gallery, templates.probes[faces.people[-1][0]], "mallory", request_id="probe")
    assert reason_of(refused) is Reason.WRONG_USE


def test_a_changed_template_is_refused(
    client: VeilfaceClient, gallery: str, faces: LabelledFaces, templates: Templates
) -> None:
    genuine = templates.references[faces.people[-1][0]]
    changed = bytearray(genuine.ciphertext)
    changed[len(changed) // 2] ^= 1
    forged = SignedTemplate(genuine.statement_bytes, bytes(changed), genuine.signature)
    with pytest.raises(VeilfaceError) as refused:
        client.enrollments.create(gallery, forged, "mallory", request_id="changed")
    assert reason_of(refused) is Reason.DIGEST_MISMATCH


def test_a_template_that_nobody_vouches_for_is_refused(client: VeilfaceClient, gallery: str, stack: LocalStack) -> None:
    stranger = Forger.with_a_key_of_its_own(stack, KEY)
    with pytest.raises(PermissionDeniedError) as refused:
        client.enrollments.create(
            gallery, stranger.template(128, TemplateUse.REFERENCE), "mallory", request_id="stranger"
        )
    assert reason_of(refused) is Reason.UNTRUSTED_SIGNER


def _use(client: VeilfaceClient, gallery: str, template: SignedTemplate, use: TemplateUse) -> None:
    if use is TemplateUse.REFERENCE:
        client.enrollments.create(gallery, template, "mallory", request_id="mallory")
    else:
        client.identify_template(gallery, template)


def png_of(pixels: "np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()
