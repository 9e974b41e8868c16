import dataclasses
from datetime import UTC, datetime

import numpy as np
import pytest
from PIL import Image
from tests.unit.embedding.bad_images import encoded
from tests.unit.embedding.faces_in_images import square_pipeline

from veilface.common.attested import verify_template
from veilface.common.errors import FailedPreconditionError, InvalidArgumentError, Reason
from veilface.common.identities import EMBEDDING_IDENTITY
from veilface.common.signing import Signer, TrustStore
from veilface.crypto.contract import Metric, PublicMaterial, Scheme, TemplateSpace, TemplateUse
from veilface.crypto.public.registry import load_comparer, load_encryptor
from veilface.crypto.secret.generated import GeneratedKey
from veilface.crypto.secret.registry import load_decrypter
from veilface.embedding.domain.encryption import EncryptorCache
from veilface.embedding.domain.extraction import ExtractionLimits, ExtractionRequest, TemplateExtractor
from veilface.embedding.domain.face.geometry import BoundingBox
from veilface.embedding.domain.face.selection import FaceSelection
from veilface.embedding.domain.pipeline import PipelineSet, Scope

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
RED, BLUE = BoundingBox(0, 0, 40, 40), BoundingBox(60, 0, 80, 80)
SIGNER = Signer.generate(EMBEDDING_IDENTITY)
TRUST = TrustStore({EMBEDDING_IDENTITY: [SIGNER.public_key_bytes]})


def picture() -> bytes:
    """A small red and a large bluish square."""
    image = Image.new("RGB", (160, 90), (9, 9, 9))
    image.paste((200, 40, 0), (0, 0, 40, 40))
    image.paste((0, 40, 200), (60, 0, 140, 80))
    return encoded(image, "PNG")


def extractor(*boxes: BoundingBox) -> TemplateExtractor:
    pipelines = PipelineSet([square_pipeline(*boxes), square_pipeline(*boxes, name="other/square/none")])
    return TemplateExtractor(pipelines, EncryptorCache(load_encryptor), SIGNER, ExtractionLimits(faces=2), lambda: NOW)


def test_a_pipeline_for_another_scheme_is_refused(key: PublicMaterial) -> None:
    # The control is every other test here: the same pipeline without a scope.
    scope = Scope(Scheme.CKKS_TENSEAL, Metric.COSINE)
    pipelines = PipelineSet([dataclasses.replace(square_pipeline(RED), scope=scope)])
    parity = TemplateExtractor(pipelines, EncryptorCache(load_encryptor), SIGNER, ExtractionLimits(), lambda: NOW)
    with pytest.raises(InvalidArgumentError) as raised:
        parity.extract(request(), key)
    assert raised.value.reason is Reason.UNSUPPORTED_BY_SCHEME


def request(**changes: object) -> ExtractionRequest:
    return ExtractionRequest(**{"image": picture(), "use": TemplateUse.PROBE, **changes})  # type: ignore[arg-type]


def test_a_template_is_vouched_for_with_everything_that_matters(key: PublicMaterial) -> None:
    extraction = extractor(RED).extract(request(metric=Metric.SQUARED_EUCLIDEAN), key)
    statement = verify_template(TRUST, extraction.faces[0].template)
    assert statement.key_version == key.key_version
    assert (statement.scheme, statement.profile) == (key.scheme, key.profile)
    assert statement.space == TemplateSpace(6, Metric.SQUARED_EUCLIDEAN)
    assert statement.model == "color/square/none"
    assert statement.use is TemplateUse.PROBE
    assert statement.create_time == NOW


def test_the_encrypted_embedding_is_normalized_and_of_the_right_face(
    key_pair: GeneratedKey, key: PublicMaterial
) -> None:
    probe = extractor(RED).extract(request(), key).faces[0].template.ciphertext
    references = extractor(RED, BLUE).extract(request(use=TemplateUse.REFERENCE, selection=FaceSelection.ALL), key)
    comparer = load_comparer(
        PublicMaterial(key.scheme, key.profile, key.key_version, key.public_key, key_pair.evaluation_keys)
    )
    decrypter = load_decrypter(key.scheme, key.profile, key_pair.secret_key)
    space = TemplateSpace(6)
    scores = [
        decrypter.decrypt(comparer.compare(face.template.ciphertext, probe, space), space, 1)[0]
        for face in references.faces
    ]
    red, blue = np.array([200, 40, 0.0]), np.array([0, 40, 200.0])
    expected = red @ blue / np.linalg.norm(red) / np.linalg.norm(blue)
    assert scores == pytest.approx([expected, 1.0], abs=1e-3)


def test_faces_come_largest_first_with_their_places(key: PublicMaterial) -> None:
    extraction = extractor(RED, BLUE).extract(request(selection=FaceSelection.ALL), key)
    assert [face.box for face in extraction.faces] == [BLUE, RED]
    assert (extraction.width, extraction.height) == (160, 90)


def test_two_templates_of_one_image_are_different_ciphertexts(key: PublicMaterial) -> None:
    first, second = (extractor(RED).extract(request(), key).faces[0].template.ciphertext for _ in range(2))
    assert first != second


def test_a_model_is_chosen_by_its_name(key: PublicMaterial) -> None:
    assert extractor(RED).extract(request(model="other/square/none"), key).model == "other/square/none"


def test_an_unknown_model_is_refused(key: PublicMaterial) -> None:
    with pytest.raises(InvalidArgumentError) as raised:
        extractor(RED).extract(request(model="dlib-resnet/hog/chip"), key)
    assert raised.value.reason is Reason.UNKNOWN_MODEL


def test_a_face_that_the_model_cannot_describe_is_refused(key: PublicMaterial) -> None:
    black = encoded(Image.new("RGB", (160, 90)), "PNG")
    with pytest.raises(FailedPreconditionError) as raised:
        extractor(RED).extract(request(image=black), key)
    assert raised.value.reason is Reason.EMBEDDING_OUT_OF_RANGE


def test_a_request_does_not_show_its_image() -> None:
    assert "PNG" in str(request().image)
    assert "PNG" not in repr(request())
