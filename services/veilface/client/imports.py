"""Bulk import: segments are encrypted here, under the public key, and streamed to the matching service.

Each segment is one request with an id that follows from its content and the operator's signing key. What the matching
service lists as imported is neither encrypted nor sent again, so that an import that was interrupted goes on.
"""

import hashlib
import hmac
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime

import grpc
import numpy as np
from numpy.typing import NDArray

from veilface.client.calls import ServiceCalls, Trail, pages
from veilface.client.galleries import Gallery
from veilface.client.import_source import ImportSource
from veilface.client.names import parse_gallery
from veilface.client.public_keys import PublicKeys
from veilface.common.attested_segments import SegmentStatement, sign_segment, subject_ids_sha256
from veilface.common.conversion import signature_to_proto
from veilface.common.errors import (
    FailedPreconditionError,
    InvalidArgumentError,
    Reason,
    UnavailableError,
)
from veilface.common.names import GalleryName
from veilface.common.signing import Signer
from veilface.crypto.contract import PublicMaterial, SegmentEncryptor, TemplateSpace
from veilface.crypto.public.registry import load_segment_encryptor
from veilface.matching.v1 import gallery_service_pb2, gallery_service_pb2_grpc

REQUEST_DOMAIN = "veilface.import-request.v1"

_PIECE_BYTES = 1 << 20
_SUBJECTS_PER_MESSAGE = 4096
_PAGE_SIZE = 1000
# Some are encrypted while one is sent.
_AHEAD = 2
_TRIES = 4
_FIRST_PAUSE_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReport:
    """What an import did.

    Attributes:
        enrollment_count: How many embeddings are enrolled now, those of earlier attempts included.
        segment_count: In how many segments.
        known_segment_count: How many of them an earlier attempt had imported.
        sent_bytes: The encrypted segments that were sent now.
        encrypt_s: The time that encryption took, on all cores.
        send_s: The time until the matching service had stored what was sent.
        seconds: From the start to the end; encryption and sending overlap.
    """

    gallery: str
    model: str
    dimension: int
    enrollment_count: int
    segment_count: int
    known_segment_count: int
    sent_bytes: int
    encrypt_s: float
    send_s: float
    seconds: float


@dataclass(frozen=True, slots=True)
class _Part:
    """The rows of one segment."""

    start: int
    end: int
    request_id: str


@dataclass(frozen=True, slots=True, eq=False)
class _Encrypted:
    part: _Part
    serialized: bytes
    sha256: bytes
    seconds: float


class Imports:
    """Imports embeddings into galleries. Needs the operator's identity and signing key.

    Args:
        channel: To the matching service.
        calls: How calls to it are made.
        public_keys: Where public keys come from.
        signer: The operator's, made when it is needed.
    """

    def __init__(
        self, channel: grpc.Channel, calls: ServiceCalls, public_keys: PublicKeys, signer: Callable[[], Signer]
    ) -> None:
        self._stub = gallery_service_pb2_grpc.GalleryServiceStub(channel)
        self._calls = calls
        self._public_keys = public_keys
        self._signer = signer

    def run(
        self,
        gallery: Gallery,
        source: ImportSource,
        *,
        model: str = "",
        on_progress: Callable[[int], None] = lambda count: None,
    ) -> ImportReport:
        """Import everything that is not imported yet. Interrupted, it goes on when it is called again with the same.

        Args:
            gallery: Where to; it exists already.
            source: What.
            model: The recognition pipeline that made the embeddings; empty: that of the gallery.
            on_progress: Told how many more embeddings are enrolled.

        Raises:
            InvalidArgumentError: EMBEDDING_OUT_OF_RANGE, or MISSING_FIELD if nobody says which model.
            FailedPreconditionError: WRONG_MODEL or WRONG_DIMENSION if the gallery has others, UNSUPPORTED_BY_SCHEME or
                UNSUPPORTED_BY_KEY if segments of its key cannot be encrypted here.
            PermissionDeniedError: UNTRUSTED_SIGNER, BAD_SIGNATURE or IDENTITY_DENIED.
            ConfigurationError: INVALID_SETTING without a signing key.
        """
        started_s = time.perf_counter()
        space = _space(gallery, source)
        model = _model(gallery, model)
        signer = self._signer()
        source.check_embeddings(gallery.metric)
        material = self._public_keys.fetch(gallery.key_version)
        encryptor = _encryptor(material)
        name = parse_gallery(gallery.name)
        known = self._known(name)
        parts = _parts(source, signer, (str(name), model, space.metric), encryptor.capacity(space))
        sending = _Sending(self, name, material, model, space, source, signer)
        totals = _Totals()

        def unknown_parts() -> Iterator[_Part]:
            for part in parts:
                totals.segments += 1
                if part.request_id in known:
                    totals.known += 1
                    on_progress(part.end - part.start)
                else:
                    yield part

        def encrypt(part: _Part) -> _Encrypted:
            begin_s = time.perf_counter()
            serialized = encryptor.encrypt(source.rows(part.start, part.end), space)
            digest = hashlib.sha256(serialized).digest()
            return _Encrypted(part, serialized, digest, time.perf_counter() - begin_s)

        for encrypted in _ahead(encrypt, unknown_parts()):
            begin_s = time.perf_counter()
            sending.send(encrypted)
            totals.send_s += time.perf_counter() - begin_s
            totals.encrypt_s += encrypted.seconds
            totals.sent_bytes += len(encrypted.serialized)
            on_progress(encrypted.part.end - encrypted.part.start)
        return ImportReport(
            gallery=gallery.name,
            model=model,
            dimension=space.dimension,
            enrollment_count=source.count,
            segment_count=totals.segments,
            known_segment_count=totals.known,
            sent_bytes=totals.sent_bytes,
            encrypt_s=totals.encrypt_s,
            send_s=totals.send_s,
            seconds=time.perf_counter() - started_s,
        )

    def import_segment(self, requests: Callable[[], Iterator[gallery_service_pb2.ImportSegmentRequest]]) -> None:
        """Stream one segment, again if the service was away: its request id makes that safe."""
        pause_s = _FIRST_PAUSE_S
        for tries_left in reversed(range(_TRIES)):
            try:
                with self._calls.failures():
                    self._stub.ImportSegment(requests(), timeout=self._calls.timeout_s)
                return
            except UnavailableError:
                if not tries_left:
                    raise
            time.sleep(pause_s)
            pause_s *= 2

    def _known(self, gallery: GalleryName) -> frozenset[str]:
        def fetch(token: str) -> tuple[Sequence[str], str]:
            request = gallery_service_pb2.ListSegmentImportsRequest(
                parent=str(gallery), page_size=_PAGE_SIZE, page_token=token
            )
            page = self._calls.unary(self._stub.ListSegmentImports, "ListSegmentImports", request, Trail())
            return [made.request_id for made in page.segment_imports], page.next_page_token

        return frozenset(pages(fetch))


@dataclass(slots=True)
class _Totals:
    segments: int = 0
    known: int = 0
    sent_bytes: int = 0
    encrypt_s: float = 0.0
    send_s: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class _Sending:
    """Signs encrypted segments and sends them."""

    imports: Imports
    gallery: GalleryName
    material: PublicMaterial
    model: str
    space: TemplateSpace
    source: ImportSource
    signer: Signer

    def send(self, encrypted: _Encrypted) -> None:
        part = encrypted.part
        subject_ids = self.source.subject_ids[part.start : part.end]
        statement = SegmentStatement(
            key_version=self.material.key_version,
            scheme=self.material.scheme,
            profile=self.material.profile,
            model=self.model,
            space=self.space,
            gallery=self.gallery,
            slot_count=len(subject_ids),
            segment_bytes=len(encrypted.serialized),
            segment_sha256=encrypted.sha256,
            subject_ids_sha256=subject_ids_sha256(subject_ids),
            create_time=datetime.now(UTC),
        )
        signed = sign_segment(self.signer, statement)
        header = gallery_service_pb2.SegmentImportHeader(
            gallery=str(self.gallery),
            request_id=part.request_id,
            statement=signed.statement_bytes,
            signature=signature_to_proto(signed.signature),
        )
        self.imports.import_segment(lambda: _messages(header, subject_ids, encrypted.serialized))


def _messages(
    header: gallery_service_pb2.SegmentImportHeader, subject_ids: Sequence[str], serialized: bytes
) -> Iterator[gallery_service_pb2.ImportSegmentRequest]:
    yield gallery_service_pb2.ImportSegmentRequest(header=header)
    for start in range(0, len(subject_ids), _SUBJECTS_PER_MESSAGE):
        yield gallery_service_pb2.ImportSegmentRequest(subject_ids=subject_ids[start : start + _SUBJECTS_PER_MESSAGE])
    for start in range(0, len(serialized), _PIECE_BYTES):
        yield gallery_service_pb2.ImportSegmentRequest(data=serialized[start : start + _PIECE_BYTES])


def _space(gallery: Gallery, source: ImportSource) -> TemplateSpace:
    if gallery.dimension not in (0, source.dimension):
        raise FailedPreconditionError(
            Reason.WRONG_DIMENSION,
            f"the embeddings have {source.dimension} dimensions, those of {gallery.name} have {gallery.dimension}",
        )
    return TemplateSpace(source.dimension, gallery.metric)


def _model(gallery: Gallery, model: str) -> str:
    if gallery.model and model not in ("", gallery.model):
        raise FailedPreconditionError(
            Reason.WRONG_MODEL, f"the embeddings are of model {model!r}, those of {gallery.name} of {gallery.model!r}"
        )
    if not gallery.model and not model:
        raise InvalidArgumentError(
            Reason.MISSING_FIELD,
            f"{gallery.name} has no model yet: say which recognition pipeline made the embeddings (--model)",
        )
    return gallery.model or model


def _encryptor(material: PublicMaterial) -> SegmentEncryptor:
    if material.embedding_transform:
        raise FailedPreconditionError(
            Reason.UNSUPPORTED_BY_KEY,
            f"embeddings under {material.key_version} pass a secret transform that only the embedding service knows: "
            "import into a gallery of a key without one",
        )
    # Whether research is allowed is for the service that made the key to say.
    return load_segment_encryptor(material, research=True)


def _parts(source: ImportSource, signer: Signer, context: tuple[str, ...], capacity: int) -> Iterator[_Part]:
    # Whoever does not have the signing key cannot tell from a request id what was imported: the signature is the key.
    about = "\n".join((*context, str(source.normalize), str(source.dimension), str(source.vectors.dtype))).encode()
    key = hashlib.sha256(signer.sign(REQUEST_DOMAIN, about).value).digest()
    for start in range(0, source.count, capacity):
        end = min(start + capacity, source.count)
        digest = hmac.new(key, str(start).encode(), hashlib.sha256)
        digest.update(subject_ids_sha256(source.subject_ids[start:end]))
        digest.update(_bytes_of(source.vectors[start:end]))
        yield _Part(start, end, digest.hexdigest())


def _bytes_of(rows: NDArray[np.floating]) -> memoryview:
    return np.ascontiguousarray(rows).data.cast("B")


def _ahead(encrypt: Callable[[_Part], _Encrypted], parts: Iterator[_Part]) -> Iterator[_Encrypted]:
    """Encrypt some parts ahead of the one that is being sent."""
    with ThreadPoolExecutor(max_workers=_AHEAD, thread_name_prefix="encrypt") as pool:
        waiting: deque[Future[_Encrypted]] = deque()
        try:
            for part in parts:
                waiting.append(pool.submit(encrypt, part))
                if len(waiting) > _AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
