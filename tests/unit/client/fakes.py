"""Services that answer from a script behind a real gRPC server, so that what the client does is seen exactly."""

import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from veilface.client import ClientSettings
from veilface.common.errors import (
    AlreadyExistsError,
    FailedPreconditionError,
    NotFoundError,
    Reason,
    UnavailableError,
    VeilfaceError,
)
from veilface.common.status import STATUS_DETAILS_KEY, item_error_from, status_code, status_from_error
from veilface.embedding.v1 import embedding_service_pb2, embedding_service_pb2_grpc
from veilface.keys.conversion.audit import audit_page_token_from_proto, head_to_proto, records_to_proto
from veilface.keys.domain.audit import AuditReading
from veilface.keys.v1 import key_service_pb2, key_service_pb2_grpc
from veilface.matching.v1 import (
    gallery_service_pb2,
    gallery_service_pb2_grpc,
    matching_service_pb2,
    matching_service_pb2_grpc,
    rotation_pb2,
)
from veilface.types.v1 import score_pb2, template_pb2

GALLERY = "galleries/staff"
KEY_VERSION = "keys/default/versions/1"
MODEL = "fake/one/two"
NO_FACE = b"a photograph of a tree"
# The embedding service goes away when it is shown this one in a stream.
LAST_STRAW = b"a photograph of the end"


def template(ciphertext: bytes) -> template_pb2.Template:
    signature = template_pb2.Signature(signer="spiffe://veilface/embedding", key_id=bytes(8), value=bytes(64))
    statement = template_pb2.TemplateStatement(key_version=KEY_VERSION).SerializeToString()
    return template_pb2.Template(statement=statement, ciphertext=ciphertext, signature=signature)


def score_batch(batch_index: int, ciphertext: bytes = bytes(100)) -> score_pb2.ScoreBatch:
    statement = score_pb2.ScoreStatement(batch_index=batch_index, batch_count=2, score_count=3)
    return score_pb2.ScoreBatch(
        statement=statement.SerializeToString(),
        ciphertext=ciphertext,
        signature=template_pb2.Signature(signer="spiffe://veilface/matching", key_id=bytes(8), value=bytes(64)),
    )


def abort(context: grpc.ServicerContext, error: VeilfaceError) -> None:
    status = status_from_error(error)
    context.set_trailing_metadata(((STATUS_DETAILS_KEY, status.SerializeToString()),))
    context.abort(status_code(error), status.message)


@dataclass
class Embedding(embedding_service_pb2_grpc.EmbeddingServiceServicer):
    requests: list[embedding_service_pb2.ExtractTemplatesRequest] = field(default_factory=list)

    def ExtractTemplates(self, request: Any, context: Any) -> Any:
        self.requests.append(request)
        if request.image == NO_FACE:
            abort(context, FailedPreconditionError(Reason.NO_FACE, "there is no face in the image"))
        return self._faces(request)

    def BatchExtractTemplates(self, requests: Any, context: Any) -> Any:
        for index, message in enumerate(requests):
            self.requests.append(message.request)
            if message.request.image == LAST_STRAW:
                abort(context, UnavailableError(Reason.DEPENDENCY_UNAVAILABLE, "the key service is away"))
            answer = embedding_service_pb2.BatchExtractTemplatesResponse(index=index)
            if message.request.image == NO_FACE:
                error = FailedPreconditionError(Reason.NO_FACE, "there is no face in the image")
                answer.error.CopyFrom(item_error_from(error))
            else:
                answer.response.CopyFrom(self._faces(message.request))
            yield answer

    def ListModels(self, request: Any, context: Any) -> Any:
        weights = [embedding_service_pb2.WeightFile(filename="weights.bin", sha256="00" * 32)]
        model = embedding_service_pb2.Model(name=MODEL, dimension=128, is_default=True, weights=weights)
        return embedding_service_pb2.ListModelsResponse(models=[model])

    def _faces(self, request: Any) -> Any:
        # The "ciphertext" tells the test which image it was made of.
        face = embedding_service_pb2.Face(
            bounding_box=embedding_service_pb2.BoundingBox(x=1, y=2, width=30, height=40),
            landmarks=[
                embedding_service_pb2.Landmark(type=embedding_service_pb2.Landmark.TYPE_LEFT_EYE, x=10.0, y=12.0)
            ],
            detection_confidence=0.5,
            quality=embedding_service_pb2.Quality(overall=0.25),
            template=template(b"of:" + request.image),
        )
        return embedding_service_pb2.ExtractTemplatesResponse(
            faces=[face], image_width=100, image_height=80, model=MODEL
        )


@dataclass
class Keys(key_service_pb2_grpc.KeyServiceServicer):
    decision: int = key_service_pb2.DECISION_MATCH
    positions: tuple[tuple[int, int], ...] = ()
    band: str = ""
    withheld_candidates: int = 0
    verifications: list[Any] = field(default_factory=list)
    identifications: list[list[Any]] = field(default_factory=list)
    keys: dict[str, Any] = field(default_factory=dict)
    audit: AuditReading | None = None

    def __post_init__(self) -> None:
        self._add("default")
        self._add("other")

    def CreateKey(self, request: Any, context: Any) -> Any:
        if f"keys/{request.key_id}" in self.keys:
            abort(context, AlreadyExistsError(Reason.KEY_EXISTS, f"there is a keys/{request.key_id} already"))
        key = self._add(request.key_id)
        key.scheme = request.scheme or key.scheme
        key.profile = request.profile or key.profile
        return key

    def UpdateKey(self, request: Any, context: Any) -> Any:
        key = self.keys[request.key.name]
        request.update_mask.MergeMessage(request.key, key)
        return key

    def RotateKey(self, request: Any, context: Any) -> Any:
        key = self.keys[request.name]
        number = key.primary_version + 1
        key.versions.add(
            name=f"{key.name}/versions/{number}", version=number, state=key_service_pb2.KeyVersion.STATE_ENABLED
        )
        key.primary_version = number
        return key

    def GetKey(self, request: Any, context: Any) -> Any:
        if request.name not in self.keys:
            abort(context, NotFoundError(Reason.KEY_NOT_FOUND, f"there is no key {request.name}"))
        return self.keys[request.name]

    def ListKeys(self, request: Any, context: Any) -> Any:
        # One key per page, so that paging shows.
        names = sorted(self.keys)
        start = int(request.page_token or 0)
        token = str(start + 1) if start + 1 < len(names) else ""
        return key_service_pb2.ListKeysResponse(
            keys=[self.keys[name] for name in names[start : start + 1]], next_page_token=token
        )

    def DecideVerification(self, request: Any, context: Any) -> Any:
        self.verifications.append(request)
        return key_service_pb2.DecideVerificationResponse(
            decision=key_service_pb2.Decision.ValueType(self.decision),
            threshold_profile=f"{MODEL}/balanced",
            band=self.band,
        )

    def DecideIdentification(self, requests: Any, context: Any) -> Any:
        self.identifications.append(list(requests))
        candidates = [
            key_service_pb2.Candidate(batch_index=batch, score_index=score, rank=rank, band=self.band)
            for rank, (batch, score) in enumerate(self.positions, 1)
        ]
        return key_service_pb2.DecideIdentificationResponse(
            candidates=candidates,
            threshold_profile=f"{MODEL}/balanced",
            score_count=6,
            withheld_candidates=self.withheld_candidates,
        )

    def GetAuditHead(self, request: Any, context: Any) -> Any:
        assert self.audit is not None
        return head_to_proto(self.audit.head())

    def ListAuditRecords(self, request: Any, context: Any) -> Any:
        assert self.audit is not None
        # Four records per page, so that paging shows.
        return records_to_proto(*self.audit.page(4, audit_page_token_from_proto(request.page_token)))

    def _add(self, key_id: str) -> Any:
        version = key_service_pb2.KeyVersion(
            name=f"keys/{key_id}/versions/1",
            version=1,
            state=key_service_pb2.KeyVersion.STATE_ENABLED,
            public_key_sha256=bytes(32),
            public_key_bytes=1000,
            evaluation_keys_bytes=2_000_000,
        )
        key = key_service_pb2.Key(
            name=f"keys/{key_id}",
            scheme=template_pb2.SCHEME_CKKS_PACKED,
            profile="ckks-packed-128",
            primary_version=1,
            versions=[version],
        )
        self.keys[key.name] = key
        return key


@dataclass
class Matching(gallery_service_pb2_grpc.GalleryServiceServicer, matching_service_pb2_grpc.MatchingServiceServicer):
    segments: list[Any] = field(default_factory=list)
    comparisons: list[Any] = field(default_factory=list)
    searches: list[Any] = field(default_factory=list)
    enrolled: list[Any] = field(default_factory=list)
    # The request ids of enrollments that were erased.
    erased: set[str] = field(default_factory=set)
    key_version: str = KEY_VERSION
    # Where the gallery moves to just before the next question; that is refused, and answered when it is asked again.
    switches_to: str = ""
    # The moves asked for; the first one is interrupted once.
    moves: list[Any] = field(default_factory=list)

    def RotateGallery(self, request: Any, context: Any) -> Any:
        self.moves.append(request)
        yield rotation_pb2.RotateGalleryResponse(moved_count=len(self.moves) - 1, enrollment_count=2)
        if len(self.moves) == 1:
            abort(context, UnavailableError(Reason.DEPENDENCY_UNAVAILABLE, "the key service is away"))
        self.key_version = request.key_version
        yield rotation_pb2.RotateGalleryResponse(moved_count=2, enrollment_count=2, switched=True)

    def CreateGallery(self, request: Any, context: Any) -> Any:
        return self._gallery(f"galleries/{request.gallery_id}")

    def GetGallery(self, request: Any, context: Any) -> Any:
        if request.name != GALLERY:
            abort(context, NotFoundError(Reason.GALLERY_NOT_FOUND, f"there is no gallery {request.name}"))
        return self._gallery(request.name)

    def ListGalleries(self, request: Any, context: Any) -> Any:
        return gallery_service_pb2.ListGalleriesResponse(galleries=[self._gallery(GALLERY)])

    def DeleteGallery(self, request: Any, context: Any) -> Any:
        return gallery_service_pb2.DeleteGalleryResponse(enrollment_count=len(self.enrolled))

    def Enroll(self, request: Any, context: Any) -> Any:
        self._switch(context)
        if request.request_id in self.erased:
            abort(context, NotFoundError(Reason.ENROLLMENT_NOT_FOUND, "what this request enrolled was erased since"))
        if request.request_id in {earlier.request_id for earlier in self.enrolled}:
            # A template of the same photograph is never the same again.
            abort(context, AlreadyExistsError(Reason.REQUEST_ID_REUSED, "this request_id enrolled another template"))
        self.enrolled.append(request)
        return gallery_service_pb2.Enrollment(
            name=f"{request.gallery}/enrollments/{len(self.enrolled)}",
            subject=f"{request.gallery}/subjects/{request.subject_id}",
            labels=request.labels,
            key_version=KEY_VERSION,
            template_bytes=len(request.template.ciphertext),
        )

    def ListSubjects(self, request: Any, context: Any) -> Any:
        subjects = sorted({request.subject_id for request in self.enrolled})
        return gallery_service_pb2.ListSubjectsResponse(
            subjects=[
                gallery_service_pb2.Subject(name=f"{GALLERY}/subjects/{subject}", enrollment_count=1)
                for subject in subjects
            ]
        )

    def CompareTemplates(self, request: Any, context: Any) -> Any:
        self._switch(context)
        self.comparisons.append(request)
        return matching_service_pb2.CompareTemplatesResponse(score_batches=[score_batch(0)])

    def SearchGallery(self, request: Any, context: Any) -> Any:
        self._switch(context)
        self.searches.append(request)
        for segment in self.segments:
            answer = matching_service_pb2.SearchGalleryResponse()
            answer.CopyFrom(segment)
            if answer.directory_etag in request.known_directory_etags:
                answer.ClearField("directory")
            yield answer

    def _switch(self, context: Any) -> None:
        if self.switches_to:
            self.key_version, self.switches_to = self.switches_to, ""
            abort(
                context, FailedPreconditionError(Reason.WRONG_KEY_VERSION, f"the gallery is under {self.key_version}")
            )

    def _gallery(self, name: str) -> Any:
        return gallery_service_pb2.Gallery(
            name=name,
            key_version=self.key_version,
            scheme=template_pb2.SCHEME_CKKS_PACKED,
            profile="ckks-packed-128",
            model=MODEL,
            dimension=128,
            metric=template_pb2.METRIC_COSINE,
            enrollment_count=len(self.enrolled),
        )


@dataclass(frozen=True)
class Fakes:
    embedding: Embedding
    keys: Keys
    matching: Matching
    settings: ClientSettings

    @property
    def environment(self) -> dict[str, str]:
        return {
            "VEILFACE_EMBEDDING_SERVICE": self.settings.embedding_service,
            "VEILFACE_KEY_SERVICE": self.settings.key_service,
            "VEILFACE_MATCHING_SERVICE": self.settings.matching_service,
            "VEILFACE_INSECURE": "true",
        }


@contextmanager
def running_fakes() -> Iterator[Fakes]:
    embedding, keys, matching = Embedding(), Keys(), Matching()
    # pytest's own temporary folders have longer names than a socket may have.
    with tempfile.TemporaryDirectory(prefix="vf-") as folder, ThreadPoolExecutor(8) as threads:
        server = grpc.server(threads)
        embedding_service_pb2_grpc.add_EmbeddingServiceServicer_to_server(embedding, server)
        key_service_pb2_grpc.add_KeyServiceServicer_to_server(keys, server)
        gallery_service_pb2_grpc.add_GalleryServiceServicer_to_server(matching, server)
        matching_service_pb2_grpc.add_MatchingServiceServicer_to_server(matching, server)
        address = f"unix:{Path(folder) / 'fakes.sock'}"
        server.add_insecure_port(address)
        server.start()
        settings = ClientSettings(
            embedding_service=address, key_service=address, matching_service=address, insecure=True, timeout_s=20
        )
        try:
            yield Fakes(embedding, keys, matching, settings)
        finally:
            server.stop(None).wait(10)
