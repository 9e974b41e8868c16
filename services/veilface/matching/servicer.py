"""GalleryService and MatchingService over gRPC: convert, call, answer.

Both are registered before there are any rules, because the record store may be away. No call comes before that: the
server is not ready.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing

from veilface.common.attested import scores_to_proto
from veilface.common.identity import caller_identity
from veilface.common.interceptor import Context
from veilface.matching import conversion
from veilface.matching.assembly import Matching
from veilface.matching.v1 import (
    gallery_service_pb2,
    gallery_service_pb2_grpc,
    matching_service_pb2,
    matching_service_pb2_grpc,
    rotation_pb2,
)


class GalleryServicer(gallery_service_pb2_grpc.GalleryServiceServicer):
    """See gallery_service.proto."""

    def __init__(self, matching: Callable[[], Matching]) -> None:
        self._matching = matching

    async def CreateGallery(  # noqa: N802
        self, request: gallery_service_pb2.CreateGalleryRequest, context: Context
    ) -> gallery_service_pb2.Gallery:
        """Create a gallery."""
        gallery = await self._matching().galleries.create(conversion.new_gallery_from_proto(request))
        return conversion.gallery_to_proto(gallery)

    async def GetGallery(  # noqa: N802
        self, request: gallery_service_pb2.GetGalleryRequest, context: Context
    ) -> gallery_service_pb2.Gallery:
        """Describe a gallery."""
        gallery = await self._matching().galleries.get(conversion.gallery_name_from_proto("name", request.name))
        return conversion.gallery_to_proto(gallery)

    async def ListGalleries(  # noqa: N802
        self, request: gallery_service_pb2.ListGalleriesRequest, context: Context
    ) -> gallery_service_pb2.ListGalleriesResponse:
        """List galleries."""
        galleries, token = await self._matching().galleries.page(request.page_size, request.page_token)
        return gallery_service_pb2.ListGalleriesResponse(
            galleries=[conversion.gallery_to_proto(gallery) for gallery in galleries], next_page_token=token
        )

    async def DeleteGallery(  # noqa: N802
        self, request: gallery_service_pb2.DeleteGalleryRequest, context: Context
    ) -> gallery_service_pb2.DeleteGalleryResponse:
        """Delete a gallery."""
        gallery = await self._matching().galleries.delete(conversion.gallery_name_from_proto("name", request.name))
        return gallery_service_pb2.DeleteGalleryResponse(enrollment_count=gallery.enrollment_count)

    async def RotateGallery(  # noqa: N802
        self, request: rotation_pb2.RotateGalleryRequest, context: Context
    ) -> AsyncIterator[rotation_pb2.RotateGalleryResponse]:
        """Move a gallery to a newer key version, or leave out its deleted slots."""
        gallery, target = conversion.rotation_from_proto(request)
        rotation = self._matching().rotation
        steps = rotation.compact if request.compact else rotation.rotate
        async with aclosing(steps(gallery, target)) as progress:
            async for each in progress:
                yield conversion.rotation_progress_to_proto(each)

    async def Enroll(  # noqa: N802
        self, request: gallery_service_pb2.EnrollRequest, context: Context
    ) -> gallery_service_pb2.Enrollment:
        """Enroll a template."""
        enrollment = await self._matching().enrollments.enroll(conversion.new_enrollment_from_proto(request))
        return conversion.enrollment_to_proto(enrollment)

    async def ImportSegment(  # noqa: N802
        self, request_iterator: AsyncIterator[gallery_service_pb2.ImportSegmentRequest], context: Context
    ) -> gallery_service_pb2.ImportSegmentResponse:
        """Import a segment."""
        requests = aiter(request_iterator)
        first = await anext(requests, gallery_service_pb2.ImportSegmentRequest())
        wanted = conversion.new_import_from_proto(first)
        pieces = (conversion.import_piece_from_proto(request) async for request in requests)
        made = await self._matching().imports.add(caller_identity(), wanted, pieces)
        return gallery_service_pb2.ImportSegmentResponse(segment_import=conversion.segment_import_to_proto(made))

    async def ListSegmentImports(  # noqa: N802
        self, request: gallery_service_pb2.ListSegmentImportsRequest, context: Context
    ) -> gallery_service_pb2.ListSegmentImportsResponse:
        """List imports."""
        gallery = conversion.gallery_name_from_proto("parent", request.parent)
        made, token = await self._matching().imports.page(gallery, request.page_size, request.page_token)
        return gallery_service_pb2.ListSegmentImportsResponse(
            segment_imports=[conversion.segment_import_to_proto(each) for each in made], next_page_token=token
        )

    async def GetEnrollment(  # noqa: N802
        self, request: gallery_service_pb2.GetEnrollmentRequest, context: Context
    ) -> gallery_service_pb2.Enrollment:
        """Describe an enrollment."""
        enrollment = await self._matching().enrollments.get(conversion.enrollment_name_from_proto("name", request.name))
        return conversion.enrollment_to_proto(enrollment)

    async def ListEnrollments(  # noqa: N802
        self, request: gallery_service_pb2.ListEnrollmentsRequest, context: Context
    ) -> gallery_service_pb2.ListEnrollmentsResponse:
        """List enrollments."""
        gallery, subject = conversion.enrollment_filter_from_proto(request)
        enrollments, token = await self._matching().enrollments.page(
            gallery, subject, request.page_size, request.page_token
        )
        return gallery_service_pb2.ListEnrollmentsResponse(
            enrollments=[conversion.enrollment_to_proto(enrollment) for enrollment in enrollments],
            next_page_token=token,
        )

    async def DeleteEnrollment(  # noqa: N802
        self, request: gallery_service_pb2.DeleteEnrollmentRequest, context: Context
    ) -> gallery_service_pb2.DeleteEnrollmentResponse:
        """Erase an enrollment."""
        await self._matching().enrollments.erase(conversion.enrollment_name_from_proto("name", request.name))
        return gallery_service_pb2.DeleteEnrollmentResponse()

    async def ListSubjects(  # noqa: N802
        self, request: gallery_service_pb2.ListSubjectsRequest, context: Context
    ) -> gallery_service_pb2.ListSubjectsResponse:
        """List subjects."""
        gallery = conversion.gallery_name_from_proto("parent", request.parent)
        subjects, token = await self._matching().enrollments.page_subjects(
            gallery, request.page_size, request.page_token
        )
        return gallery_service_pb2.ListSubjectsResponse(
            subjects=[conversion.subject_to_proto(subject) for subject in subjects], next_page_token=token
        )

    async def DeleteSubject(  # noqa: N802
        self, request: gallery_service_pb2.DeleteSubjectRequest, context: Context
    ) -> gallery_service_pb2.DeleteSubjectResponse:
        """Erase a subject."""
        count = await self._matching().enrollments.erase_subject(
            conversion.subject_name_from_proto("name", request.name)
        )
        return gallery_service_pb2.DeleteSubjectResponse(enrollment_count=count)


class MatchingServicer(matching_service_pb2_grpc.MatchingServiceServicer):
    """See matching_service.proto."""

    def __init__(self, matching: Callable[[], Matching]) -> None:
        self._matching = matching

    async def CompareTemplates(  # noqa: N802
        self, request: matching_service_pb2.CompareTemplatesRequest, context: Context
    ) -> matching_service_pb2.CompareTemplatesResponse:
        """Compare 1:1."""
        batches = await self._matching().comparisons.compare(*conversion.comparison_from_proto(request))
        return matching_service_pb2.CompareTemplatesResponse(
            score_batches=[scores_to_proto(batch) for batch in batches]
        )

    async def SearchGallery(  # noqa: N802
        self, request: matching_service_pb2.SearchGalleryRequest, context: Context
    ) -> AsyncIterator[matching_service_pb2.SearchGalleryResponse]:
        """Search 1:N."""
        gallery, probe, known_etags = conversion.search_from_proto(request)
        async with aclosing(self._matching().search.search(gallery, probe, context.time_remaining())) as parts:
            async for part in parts:
                yield conversion.search_part_to_proto(part, known_etags)
