"""What people want, as calls to the three services. The client carries ciphertexts between them and can read none."""

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import grpc

from veilface.client.calls import ServiceCalls, Trail
from veilface.client.current_version import ask_current
from veilface.client.decisions import DecisionMaker
from veilface.client.extraction import Extractor, TemplateOrder
from veilface.client.faces import Extraction, FaceSelection, Model
from veilface.client.galleries import Enrollments, Galleries, Gallery, Subjects
from veilface.client.images import Image
from veilface.client.imports import Imports
from veilface.client.keys import Keys
from veilface.client.matching import Matcher, SearchResult
from veilface.client.names import name_of_key, parse_gallery
from veilface.client.public_keys import PublicKeys
from veilface.client.results import (
    Candidate,
    Enrolled,
    EnrollmentOutcome,
    Identification,
    Photograph,
    Verification,
)
from veilface.client.settings import ClientSettings
from veilface.client.steps import Service
from veilface.common.attested import SignedTemplate
from veilface.common.channel import open_sync_channel
from veilface.common.errors import DataLossError, Reason, VeilfaceError
from veilface.common.names import parse_key_or_version
from veilface.common.settings import load_settings
from veilface.crypto.contract import Metric, TemplateUse, probe_use_of
from veilface.types.v1 import score_pb2

DEFAULT_KEY = "default"


class VeilfaceClient:
    """Enrolls, verifies and identifies people. Close it, or use it in a with statement.

    Every method raises VeilfaceError: its reason is stable, its message says what to do.

    Args:
        settings: Where the services are and as whom they are called.

    Attributes:
        keys: The keys.
        public_keys: Their public halves.
        galleries: The galleries.
        enrollments: Their enrollments.
        subjects: Their subjects.
        imports: Bulk import into them.
    """

    def __init__(self, settings: ClientSettings) -> None:
        with ExitStack() as channels:

            def reach(service: Service, target: str) -> tuple[grpc.Channel, ServiceCalls]:
                channel = open_sync_channel(target, settings.tls)
                channels.callback(channel.close)
                return channel, ServiceCalls(service, target, settings.timeout_s)

            embedding = reach(Service.EMBEDDING, settings.embedding_service)
            keys = reach(Service.KEYS, settings.key_service)
            matching = reach(Service.MATCHING, settings.matching_service)
            self._channels = channels.pop_all()
        self.keys = Keys(*keys)
        self.galleries = Galleries(*matching)
        self.enrollments = Enrollments(*matching)
        self.subjects = Subjects(*matching)
        self.public_keys = PublicKeys(*keys)
        self.imports = Imports(*matching, self.public_keys, settings.import_signer)
        self._extractor = Extractor(*embedding)
        self._matcher = Matcher(*matching)
        self._decisions = DecisionMaker(*keys)

    @classmethod
    def connect(cls, where: ClientSettings | Path | None = None) -> Self:
        """Connect to settings, to the local stack of a state folder, or to what the environment names.

        Raises:
            ConfigurationError: INVALID_SETTING.
        """
        if where is None:
            where = load_settings(ClientSettings)
        return cls(ClientSettings.from_state(where) if isinstance(where, Path) else where)

    def close(self) -> None:
        """Close the connections."""
        self._channels.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def models(self) -> list[Model]:
        """The recognition pipelines, the default first."""
        return self._extractor.models()

    def extract(
        self,
        image: Image,
        use: TemplateUse,
        *,
        key: str = DEFAULT_KEY,
        faces: FaceSelection = FaceSelection.EXACTLY_ONE,
        model: str = "",
        metric: Metric = Metric.COSINE,
    ) -> Extraction:
        """Make encrypted templates of the faces in an image, to be compared any number of times.

        Args:
            image: The encoded image (JPEG, PNG or WebP) or its file.
            use: The side of a comparison that the templates are for.
            key: The id or name of a key or key version.
            faces: Which faces are wanted.
            model: The recognition pipeline; empty selects the service's default.
            metric: What the templates will be compared by.
        """
        order = TemplateOrder(use=use, key=name_of_key(key), faces=faces, model=model, metric=metric)
        return self._extractor.extract(image, order, Trail())

    def extract_many(
        self,
        images: Iterable[Image],
        use: TemplateUse,
        *,
        key: str = DEFAULT_KEY,
        faces: FaceSelection = FaceSelection.EXACTLY_ONE,
        model: str = "",
        metric: Metric = Metric.COSINE,
    ) -> Iterator[tuple[int, Extraction | VeilfaceError]]:
        """The same for many images over one stream, read when their turn comes.

        Yields:
            The position of the image, and its faces or what is wrong with it.
        """
        order = TemplateOrder(use=use, key=name_of_key(key), faces=faces, model=model, metric=metric)
        return self._extractor.extract_many(images, order)

    def compare(
        self,
        reference: Image,
        probe: Image,
        *,
        key: str = DEFAULT_KEY,
        operating_point: str = "",
        faces: FaceSelection = FaceSelection.EXACTLY_ONE,
    ) -> Verification:
        """Decide whether two images show the same person, without enrolling anybody."""
        trail = Trail()
        probe_use = probe_use_of(self.keys.get(parse_key_or_version(name_of_key(key)).key, trail).scheme)
        templates = [
            self._template(image, TemplateOrder(use=use, key=name_of_key(key), faces=faces), trail)
            for image, use in ((reference, TemplateUse.REFERENCE), (probe, probe_use))
        ]
        return self._compare_templates(templates[0], templates[1], operating_point, trail)

    def compare_templates(
        self, reference: SignedTemplate, probe: SignedTemplate, *, operating_point: str = ""
    ) -> Verification:
        """Decide whether two templates are of the same person."""
        return self._compare_templates(reference, probe, operating_point, Trail())

    def enroll(
        self,
        gallery: str,
        image: Image,
        *,
        subject: str,
        labels: Mapping[str, str] | None = None,
        faces: FaceSelection = FaceSelection.EXACTLY_ONE,
        request_id: str | None = None,
    ) -> Enrolled:
        """Enroll the face in an image as one more template of a subject.

        Args:
            gallery: The gallery's id or name.
            image: The encoded image (JPEG, PNG or WebP) or its file.
            subject: The subject's id: 1 to 128 of letters, digits, '.', '_', '-' and '@'.
            labels: Stored in the clear.
            faces: Which face to enroll if there are several.
            request_id: The same id answers the same enrollment; None: a new one.
        """
        trail = Trail()
        request_id = request_id or uuid.uuid4().hex

        def ask(current: Gallery) -> Enrolled:
            extraction = self._extractor.extract(image, _order(current, TemplateUse.REFERENCE, faces), trail)
            return self._enroll(gallery, extraction, subject, labels or {}, request_id, trail)

        return ask_current(lambda: self.galleries.get(gallery, trail), ask)

    def enroll_many(
        self,
        gallery: str,
        photographs: Iterable[Photograph],
        *,
        faces: FaceSelection = FaceSelection.EXACTLY_ONE,
    ) -> Iterator[EnrollmentOutcome]:
        """Enroll many photographs; one that fails does not stop the others.

        The images go through one stream of the embedding service, so that the next is worked on while the last is
        enrolled, and are read when their turn comes.

        Raises:
            VeilfaceError: If the gallery does not exist or a service fails as a whole.
        """
        known = self.galleries.get(gallery)
        order = _order(known, TemplateUse.REFERENCE, faces)
        taken: list[Photograph] = []

        def images() -> Iterator[Image]:
            for photograph in photographs:
                taken.append(photograph)
                yield photograph.image

        for position, extraction in self._extractor.extract_many(images(), order):
            result = self._enroll_outcome(known, taken[position], extraction, faces)
            yield EnrollmentOutcome(taken[position], result)

    def verify(
        self,
        gallery: str,
        subject: str,
        image: Image,
        *,
        operating_point: str = "",
        faces: FaceSelection = FaceSelection.EXACTLY_ONE,
    ) -> Verification:
        """Decide whether an image shows an enrolled subject: a match with any of its enrollments is one.

        Args:
            gallery: The gallery's id or name.
            subject: The subject's id.
            image: The encoded image (JPEG, PNG or WebP) or its file.
            operating_point: One of the model's threshold profiles, for example "strict"; empty selects the default.
            faces: Which face to take if there are several.
        """
        trail = Trail()

        def ask(current: Gallery) -> Verification:
            probe = self._template(image, _order(current, TemplateUse.PROBE, faces), trail)
            return self._verify(gallery, subject, probe, operating_point, trail)

        return ask_current(lambda: self.galleries.get(gallery, trail), ask)

    def verify_template(
        self, gallery: str, subject: str, probe: SignedTemplate, *, operating_point: str = ""
    ) -> Verification:
        """The same for a template that was extracted before, under the key version that the gallery has now."""
        return self._verify(gallery, subject, probe, operating_point, Trail())

    def identify(
        self,
        gallery: str,
        image: Image,
        *,
        top_k: int = 1,
        operating_point: str = "",
        faces: FaceSelection = FaceSelection.EXACTLY_ONE,
    ) -> Identification:
        """Find who in a gallery an image shows.

        Args:
            gallery: The gallery's id or name.
            image: The encoded image (JPEG, PNG or WebP) or its file.
            top_k: How many candidates at most, 1 to 100.
            operating_point: One of the model's threshold profiles; empty selects the default.
            faces: Which face to take if there are several.
        """
        trail = Trail()

        def ask(current: Gallery) -> Identification:
            probe = self._template(image, _order(current, TemplateUse.PROBE, faces), trail)
            return self._identify(gallery, probe, top_k, operating_point, trail)

        return ask_current(lambda: self.galleries.get(gallery, trail), ask)

    def identify_template(
        self, gallery: str, probe: SignedTemplate, *, top_k: int = 1, operating_point: str = ""
    ) -> Identification:
        """The same for a template that was extracted before, under the key version that the gallery has now."""
        return self._identify(gallery, probe, top_k, operating_point, Trail())

    def _template(self, image: Image, order: TemplateOrder, trail: Trail) -> SignedTemplate:
        return self._extractor.extract(image, order, trail).faces[0].template

    def _compare_templates(
        self, reference: SignedTemplate, probe: SignedTemplate, operating_point: str, trail: Trail
    ) -> Verification:
        return self._decide(self._matcher.compare_template(reference, probe, trail), operating_point, trail)

    def _verify(
        self, gallery: str, subject: str, probe: SignedTemplate, operating_point: str, trail: Trail
    ) -> Verification:
        name = str(parse_gallery(gallery).subject(subject))
        return self._decide(self._matcher.compare_subject(name, probe, trail), operating_point, trail)

    def _decide(
        self, score_batches: Sequence[score_pb2.ScoreBatch], operating_point: str, trail: Trail
    ) -> Verification:
        decision = self._decisions.verify(score_batches, operating_point, trail)
        return Verification(
            is_match=decision.is_match,
            threshold_profile=decision.threshold_profile,
            band=decision.band,
            steps=trail.finished(),
        )

    def _identify(
        self, gallery: str, probe: SignedTemplate, top_k: int, operating_point: str, trail: Trail
    ) -> Identification:
        name = parse_gallery(gallery)
        result = self._matcher.search(str(name), probe, trail)
        if not result.score_batches:
            return Identification(
                candidates=(), threshold_profile="", score_count=0, statistics=result.statistics, steps=trail.finished()
            )
        ranking = self._decisions.identify(result.score_batches, top_k, operating_point, trail)
        candidates = []
        for position in ranking.positions:
            enrollment, subject = _locate(result, position.batch_index, position.score_index)
            candidates.append(
                Candidate(rank=position.rank, subject=subject, enrollment=str(name.enrollment(enrollment)))
            )
        return Identification(
            candidates=tuple(candidates),
            threshold_profile=ranking.threshold_profile,
            score_count=ranking.score_count,
            statistics=result.statistics,
            steps=trail.finished(),
        )

    def _enroll_outcome(
        self, known: Gallery, photograph: Photograph, extraction: Extraction | VeilfaceError, faces: FaceSelection
    ) -> Enrolled | VeilfaceError:
        request_id = uuid.uuid4().hex
        about = (photograph.subject, photograph.labels, request_id)

        def ask(current: Gallery) -> Enrolled:
            if current is not known:
                trail = Trail()
                again = self._extractor.extract(photograph.image, _order(current, TemplateUse.REFERENCE, faces), trail)
                return self._enroll(known.name, again, *about, trail)
            if isinstance(extraction, VeilfaceError):
                raise extraction
            return self._enroll(known.name, extraction, *about, Trail([*extraction.steps]))

        try:
            return ask_current(lambda: self.galleries.get(known.name), ask, known)
        except VeilfaceError as error:
            return error

    def _enroll(
        self,
        gallery: str,
        extraction: Extraction,
        subject: str,
        labels: Mapping[str, str],
        request_id: str,
        trail: Trail,
    ) -> Enrolled:
        face = extraction.faces[0]
        enrollment = self.enrollments.create(
            gallery, face.template, subject, request_id=request_id, labels=labels, trail=trail
        )
        return Enrolled(enrollment=enrollment, face=face, steps=trail.finished())


def _order(gallery: Gallery, use: TemplateUse, faces: FaceSelection) -> TemplateOrder:
    if use is TemplateUse.PROBE:
        use = probe_use_of(gallery.scheme)
    return TemplateOrder(use=use, key=gallery.key_version, faces=faces, model=gallery.model, metric=gallery.metric)


def _locate(result: SearchResult, batch_index: int, score_index: int) -> tuple[int, str]:
    directory = result.directories.get(batch_index)
    if directory is None:
        raise DataLossError(Reason.DATA_LOSS, "the key service named a batch that was not searched: search again")
    return directory.at(score_index)
