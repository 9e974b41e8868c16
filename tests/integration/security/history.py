"""What the stack is asked before anybody looks for traces of it: people are served, and much is asked wrongly."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tests.integration.security.secret_forms import unsealed, unsealed_seed
from tests.portraits import ASTRONAUT, portrait_path

from veilface.cli.local_stack.stack import LocalStack
from veilface.common.attested import scores_from_proto, template_to_proto
from veilface.common.channel import open_sync_channel
from veilface.common.names import KeyVersionName
from veilface.common.pki import tls_settings
from veilface.crypto.contract import Scheme, TemplateSpace, TemplateUse
from veilface.crypto.renewal import OrthogonalTransform
from veilface.crypto.secret.registry import load_decrypter
from veilface.embedding.domain.image.decoding import ImageLimits, decode_image
from veilface.embedding.domain.normalization import l2_normalize
from veilface.embedding.domain.pipeline import Pipeline
from veilface.embedding.v1 import embedding_service_pb2, embedding_service_pb2_grpc
from veilface.keys.v1 import key_service_pb2, key_service_pb2_grpc
from veilface.matching.v1 import (
    gallery_service_pb2,
    gallery_service_pb2_grpc,
    matching_service_pb2,
    matching_service_pb2_grpc,
)
from veilface.types.v1 import score_pb2, template_pb2

TIMEOUT_S = 60
CACHED_TIMEOUT_S = 40.0

KEY = "canary-key-7d21f0"
GALLERY = "watched"
SUBJECT = "canary-subject-93ab55"
UNKNOWN_SUBJECT = "canary-nobody-0e4c17"
LABEL_NAME = "canary-label-name-b8f602"
LABEL_VALUE = "canary-label-value-41d9ce"
IMAGE_TEXT = "canary-in-an-image-c05e88"
# In the place of a ciphertext, where the matching service cannot but take it in.
SMUGGLED = b"canary-in-a-ciphertext-5b70aa" * 3000

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class History:
    """What must not turn up, and what the stack answered when it was asked wrongly.

    Attributes:
        profile: Of the key.
        secret_key: Serialized.
        public_key: What the embedding service encrypts with.
        evaluation_keys: What the matching service computes with.
        transform_seed: Of the key's version.
        images: The files that were sent.
        pixels: One of them, decoded.
        embeddings: Raw, normalized and transformed, of every image.
        scores: Of the comparisons that were decided on.
        errors: Everything that came with refused calls: status, message, trailing metadata.
    """

    profile: str
    secret_key: bytes = field(repr=False)
    public_key: bytes = field(repr=False)
    evaluation_keys: bytes = field(repr=False)
    transform_seed: bytes = field(repr=False)
    images: tuple[bytes, ...] = field(repr=False)
    pixels: bytes = field(repr=False)
    embeddings: tuple[Vector, ...] = field(repr=False)
    scores: tuple[float, ...] = field(repr=False)
    errors: tuple[bytes, ...] = field(repr=False)


def serve_people(stack: LocalStack, pipeline: Pipeline, folder: Path) -> History:
    """Enroll, verify, identify and compare with canaries in everything that can hold one."""
    with stack.client("operator") as operator:
        profile = operator.keys.create(KEY, Scheme.CKKS_PACKED, embedding_transform=True).profile
    version = KeyVersionName(KEY, 1)
    jpeg, png = _images(folder)
    with stack.client() as client:
        client.galleries.create(GALLERY, KEY)
        client.enroll(GALLERY, jpeg, subject=SUBJECT, labels={LABEL_NAME: LABEL_VALUE})
        assert client.verify(GALLERY, SUBJECT, png).is_match
        assert [each.subject for each in client.identify(GALLERY, png, top_k=3).candidates] == [SUBJECT]
        assert client.compare(jpeg, png, key=KEY).is_match
        _wait_until_cached(stack)
        probe = client.extract(png, TemplateUse.PROBE, key=KEY).faces[0].template
    secret_key, seed = unsealed(stack.layout, version), unsealed_seed(stack.layout, version)
    transform = OrthogonalTransform(seed, pipeline.dimension)
    embeddings: list[Vector] = []
    for path in (jpeg, png):
        (face,) = pipeline.finder.find(decode_image(path.read_bytes(), ImageLimits()))
        raw = pipeline.embedder.embed(face.aligned)
        normalized = l2_normalize(raw)
        embeddings += [raw, normalized, transform.apply(normalized)]
    asking = Asking(stack)
    (batch,) = asking.compare(template_to_proto(probe))
    decrypter = load_decrypter(Scheme.CKKS_PACKED, profile, secret_key)
    scores = decrypter.decrypt(scores_from_proto(batch).ciphertext, TemplateSpace(pipeline.dimension), 1)
    decrypter.wipe()
    assert abs(float(scores[0]) - float(embeddings[1] @ embeddings[4])) < 1e-3
    asking.wrongly(jpeg.read_bytes(), template_to_proto(probe), batch, embeddings[2])
    public_key, evaluation_keys = asking.public_halves()
    asking.close()
    return History(
        profile,
        secret_key,
        public_key,
        evaluation_keys,
        seed,
        (jpeg.read_bytes(), png.read_bytes()),
        decode_image(png.read_bytes(), ImageLimits()).tobytes(),
        tuple(embeddings),
        (float(scores[0]),),
        tuple(asking.errors),
    )


class Asking:
    """Calls as a client with its own ideas of a request would make them. Collects what comes with refusals."""

    def __init__(self, stack: LocalStack) -> None:
        self.errors: list[bytes] = []
        tls = tls_settings(stack.layout.certificates, "client")
        self._channels = {name: open_sync_channel(stack.addresses[name], tls) for name in stack.addresses}
        operator = tls_settings(stack.layout.certificates, "operator")
        self._channels["operator"] = open_sync_channel(stack.addresses["keys"], operator)
        self._embedding = embedding_service_pb2_grpc.EmbeddingServiceStub(self._channels["embedding"])
        self._galleries = gallery_service_pb2_grpc.GalleryServiceStub(self._channels["matching"])
        self._matching = matching_service_pb2_grpc.MatchingServiceStub(self._channels["matching"])
        self._keys = key_service_pb2_grpc.KeyServiceStub(self._channels["keys"])
        self._operator_keys = key_service_pb2_grpc.KeyServiceStub(self._channels["operator"])

    def close(self) -> None:
        for channel in self._channels.values():
            channel.close()

    def compare(self, probe: template_pb2.Template) -> list[score_pb2.ScoreBatch]:
        request = matching_service_pb2.CompareTemplatesRequest(
            probe=probe, subject=f"galleries/{GALLERY}/subjects/{SUBJECT}"
        )
        return list(self._matching.CompareTemplates(request, timeout=TIMEOUT_S).score_batches)

    def public_halves(self) -> tuple[bytes, bytes]:
        """The public key and the evaluation keys."""
        stub, name = self._operator_keys, f"keys/{KEY}"
        public = stub.GetPublicKey(key_service_pb2.GetPublicKeyRequest(name=name), timeout=TIMEOUT_S)
        evaluation = stub.GetEvaluationKeys(key_service_pb2.GetEvaluationKeysRequest(name=name), timeout=TIMEOUT_S)
        return b"".join(each.chunk.data for each in public), b"".join(each.chunk.data for each in evaluation)

    def wrongly(
        self, image: bytes, probe: template_pb2.Template, batch: score_pb2.ScoreBatch, embedding: Vector
    ) -> None:
        """Ask for much that is refused, with content in every field that takes any."""
        decide = self._keys.DecideVerification
        decide(_verification(batch), timeout=TIMEOUT_S)
        self._refused(lambda: decide(_verification(batch), timeout=TIMEOUT_S))
        self._refused(lambda: decide(_verification(batch, ciphertext=embedding.tobytes()), timeout=TIMEOUT_S))
        self._refused(lambda: decide(_verification(batch, statement=embedding.tobytes()), timeout=TIMEOUT_S))
        for wrong in (image[: len(image) // 2], image[200:], IMAGE_TEXT.encode() * 50):
            request = embedding_service_pb2.ExtractTemplatesRequest(
                image=wrong, use=template_pb2.TEMPLATE_USE_PROBE, key=f"keys/{KEY}"
            )
            self._refused(lambda request=request: self._embedding.ExtractTemplates(request, timeout=TIMEOUT_S))  # type: ignore[misc]
        self._refused(lambda: self._enroll(probe, SUBJECT, {LABEL_NAME: LABEL_VALUE}))
        self._refused(lambda: self._enroll(probe, SUBJECT, {LABEL_NAME: LABEL_VALUE * 100}))
        self._refused(lambda: self._enroll(probe, f"{SUBJECT} with spaces", {}))
        forged = template_pb2.Template()
        forged.CopyFrom(probe)
        forged.ciphertext = SMUGGLED
        self._refused(lambda: self._enroll(forged, SUBJECT, {}))
        self._refused(lambda: self.compare(forged))
        unknown = matching_service_pb2.CompareTemplatesRequest(
            probe=probe, subject=f"galleries/{GALLERY}/subjects/{UNKNOWN_SUBJECT}"
        )
        self._refused(lambda: self._matching.CompareTemplates(unknown, timeout=TIMEOUT_S))
        self._refused(lambda: self._keys.GetKey(key_service_pb2.GetKeyRequest(name=f"keys/{KEY}-2"), timeout=TIMEOUT_S))
        self._refused(lambda: list(self._keys.GetEvaluationKeys(key_service_pb2.GetEvaluationKeysRequest())))

    def _enroll(self, template: template_pb2.Template, subject: str, labels: dict[str, str]) -> object:
        request = gallery_service_pb2.EnrollRequest(
            gallery=f"galleries/{GALLERY}", subject_id=subject, template=template, labels=labels, request_id="wrong"
        )
        return self._galleries.Enroll(request, timeout=TIMEOUT_S)

    def _refused(self, call: Callable[[], object]) -> None:
        try:
            call()
        except grpc.RpcError as error:
            self.errors.append(_everything_in(error))
        else:
            raise AssertionError("a wrong request was answered")


def _everything_in(error: grpc.RpcError) -> bytes:
    assert isinstance(error, grpc.Call)
    metadata = [value if isinstance(value, bytes) else value.encode() for _, value in error.trailing_metadata() or ()]
    return b"\n".join([error.code().name.encode(), (error.details() or "").encode(), *metadata])


def _verification(batch: score_pb2.ScoreBatch, **changes: bytes) -> key_service_pb2.DecideVerificationRequest:
    changed = score_pb2.ScoreBatch()
    changed.CopyFrom(batch)
    for name, value in changes.items():
        setattr(changed, name, value)
    return key_service_pb2.DecideVerificationRequest(score_batches=[changed])


def _images(folder: Path) -> tuple[Path, Path]:
    """The same portrait with canaries in a JPEG's comment and EXIF fields, and in a PNG's text."""
    from PIL.PngImagePlugin import PngInfo

    with Image.open(portrait_path(ASTRONAUT)) as portrait:
        picture = portrait.convert("RGB")
    exif = Image.Exif()
    # ImageDescription and Artist.
    exif[0x010E], exif[0x013B] = IMAGE_TEXT, IMAGE_TEXT
    jpeg, png = folder / "face.jpg", folder / "face.png"
    picture.save(jpeg, quality=92, exif=exif, comment=IMAGE_TEXT.encode())
    text = PngInfo()
    text.add_text("Comment", IMAGE_TEXT)
    picture.save(png, pnginfo=text)
    assert IMAGE_TEXT.encode() in jpeg.read_bytes()
    assert IMAGE_TEXT.encode() in png.read_bytes()
    return jpeg, png


def _wait_until_cached(stack: LocalStack) -> None:
    """Until the gallery's segment is in Redis: what was enrolled is in every store that it will ever be in."""
    from redis import Redis

    deadline = time.monotonic() + CACHED_TIMEOUT_S
    with Redis(unix_socket_path=str(stack.redis_socket)) as redis:
        while not redis.dbsize():
            assert time.monotonic() < deadline, "the segment was never put into Redis"
            time.sleep(0.1)
