"""Who may call which method of the matching service, unless the operator says otherwise. The rest is denied."""

from typing import Final

from veilface.common.identities import CLIENT_IDENTITY, MATCHING_IDENTITY, OPERATOR_IDENTITY

_GALLERIES: Final = "/veilface.matching.v1.GalleryService"
_MATCHING: Final = "/veilface.matching.v1.MatchingService"
_PEERS: Final = "/veilface.matching.v1.PeerService"
_BOTH: Final = (CLIENT_IDENTITY, OPERATOR_IDENTITY)

DEFAULT_ACCESS: Final[dict[str, tuple[str, ...]]] = {
    f"{_GALLERIES}/CreateGallery": _BOTH,
    f"{_GALLERIES}/GetGallery": _BOTH,
    f"{_GALLERIES}/ListGalleries": _BOTH,
    f"{_GALLERIES}/DeleteGallery": _BOTH,
    f"{_GALLERIES}/RotateGallery": (OPERATOR_IDENTITY,),
    f"{_GALLERIES}/Enroll": (CLIENT_IDENTITY,),
    f"{_GALLERIES}/ImportSegment": (OPERATOR_IDENTITY,),
    f"{_GALLERIES}/ListSegmentImports": (OPERATOR_IDENTITY,),
    f"{_GALLERIES}/GetEnrollment": _BOTH,
    f"{_GALLERIES}/ListEnrollments": _BOTH,
    f"{_GALLERIES}/DeleteEnrollment": _BOTH,
    f"{_GALLERIES}/ListSubjects": _BOTH,
    f"{_GALLERIES}/DeleteSubject": _BOTH,
    f"{_MATCHING}/CompareTemplates": (CLIENT_IDENTITY,),
    f"{_MATCHING}/SearchGallery": (CLIENT_IDENTITY,),
    f"{_PEERS}/GetReplica": (MATCHING_IDENTITY,),
    f"{_PEERS}/SearchSegments": (MATCHING_IDENTITY,),
}
