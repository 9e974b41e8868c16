"""The whole way of an image: decode, find faces, choose, embed, normalize, encrypt, sign."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from veilface.common.attested import SignedTemplate, TemplateStatement, sign_template
from veilface.common.signing import Signer
from veilface.crypto.contract import Metric, PublicMaterial, TemplateSpace, TemplateUse
from veilface.embedding.domain.encryption import EncryptorCache, TransformCache, check_plaintext_probe
from veilface.embedding.domain.face.finding import FoundFace
from veilface.embedding.domain.face.geometry import BoundingBox, Landmarks
from veilface.embedding.domain.face.quality import Quality, measure_quality
from veilface.embedding.domain.face.selection import FaceSelection, select_faces
from veilface.embedding.domain.image.decoding import ImageLimits, decode_image
from veilface.embedding.domain.pipeline import Pipeline, PipelineSet


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractionRequest:
    """What a caller wants of one image.

    Attributes:
        image: The encoded image.
        use: The side of a comparison.
        selection: Which faces are wanted.
        model: The name of a pipeline; empty selects the default.
        metric: What the embeddings are prepared for.
    """

    image: bytes = field(repr=False)
    use: TemplateUse
    selection: FaceSelection = FaceSelection.EXACTLY_ONE
    model: str = ""
    metric: Metric = Metric.COSINE


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractionLimits:
    """Bounds of one extraction.

    Attributes:
        image: Bounds of the image.
        faces: How many faces one answer may hold. 32 templates of 98 KB stay below gRPC's default of 4 MiB.
    """

    image: ImageLimits = field(default_factory=ImageLimits)
    faces: int = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractedFace:
    """A face and its encrypted template; places are in pixels of the upright image."""

    box: BoundingBox
    landmarks: Landmarks
    confidence: float
    quality: Quality
    template: SignedTemplate


@dataclass(frozen=True, slots=True, kw_only=True)
class Extraction:
    """What came of one image.

    Attributes:
        faces: Largest first, at least one.
        width: Pixels of the upright image.
        height: Pixels of the upright image.
        model: The pipeline used.
    """

    faces: tuple[ExtractedFace, ...]
    width: int
    height: int
    model: str


class TemplateExtractor:
    """Turns images into signed, encrypted templates. The plaintext embedding lives in `_extract_face` only.

    Safe to be called from several threads.

    Args:
        pipelines: What recognizes.
        encryptors: What encrypts.
        signer: Who vouches for the templates.
        limits: Bounds.
        clock: The present time, with a time zone.
    """

    def __init__(
        self,
        pipelines: PipelineSet,
        encryptors: EncryptorCache,
        signer: Signer,
        limits: ExtractionLimits,
        clock: Callable[[], datetime],
    ) -> None:
        self.pipelines = pipelines
        self._encryptors = encryptors
        self._transforms = TransformCache()
        self._signer = signer
        self._limits = limits
        self._clock = clock

    def extract(self, request: ExtractionRequest, key: PublicMaterial, seed: bytes | None = None) -> Extraction:
        """Extract the wanted faces of one image.

        Args:
            request: The image and what is wanted of it.
            key: The public key to encrypt under.
            seed: Of the key version's secret transform, if it has one.

        Raises:
            InvalidArgumentError: UNKNOWN_MODEL, one of the IMAGE reasons of `decode_image`, or what `Pipeline.check`
                or the scheme refuses.
            FailedPreconditionError: NO_FACE, SEVERAL_FACES or EMBEDDING_OUT_OF_RANGE.
        """
        pipeline = self.pipelines.select(request.model)
        pipeline.check(key.scheme, request.metric)
        pixels = decode_image(request.image, self._limits.image)
        found = pipeline.finder.find(pixels)
        wanted = select_faces(found, request.selection, self._limits.faces)
        height, width = pixels.shape[:2]
        return Extraction(
            faces=tuple(self._extract_face(face, pipeline, request, key, seed) for face in wanted),
            width=width,
            height=height,
            model=pipeline.name,
        )

    def _extract_face(
        self,
        face: FoundFace,
        pipeline: Pipeline,
        request: ExtractionRequest,
        key: PublicMaterial,
        seed: bytes | None,
    ) -> ExtractedFace:
        space = TemplateSpace(pipeline.dimension, request.metric)
        check_plaintext_probe(request.use, key)
        embedding = pipeline.embed(face.aligned)
        if seed is not None:
            embedding = self._transforms.get(key.key_version, seed, pipeline.dimension).apply(embedding)
        ciphertext = self._encryptors.encrypt(key, embedding, space, request.use)
        statement = TemplateStatement(
            key_version=key.key_version,
            scheme=key.scheme,
            profile=key.profile,
            space=space,
            model=pipeline.name,
            use=request.use,
            ciphertext_sha256=hashlib.sha256(ciphertext).digest(),
            create_time=self._clock(),
        )
        return ExtractedFace(
            box=face.box,
            landmarks=face.landmarks,
            confidence=face.confidence,
            quality=measure_quality(face),
            template=sign_template(self._signer, statement, ciphertext),
        )
