"""What enrolling, verifying and identifying answer."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from veilface.client.faces import Face
from veilface.client.galleries import Enrollment
from veilface.client.images import Image
from veilface.client.matching import SearchStatistics
from veilface.client.steps import Step
from veilface.common.errors import VeilfaceError


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolled:
    """A subject's new enrollment.

    Attributes:
        face: The face that was enrolled.
        steps: What was asked of whom.
    """

    enrollment: Enrollment
    face: Face
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Photograph:
    """An image of a subject, to be enrolled with others.

    Attributes:
        subject: The subject's id.
        labels: Stored in the clear.
        request_id: Enrolled at most once under one id; None: enrolled in any case.
    """

    image: Image = field(repr=False)
    subject: str
    labels: Mapping[str, str] = field(default_factory=dict)
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class EnrollmentOutcome:
    """What came of one photograph among many."""

    photograph: Photograph
    result: Enrolled | VeilfaceError


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """The answer to a 1:1 question.

    Attributes:
        is_match: What the key service decided.
        threshold_profile: "{model}/{operating point}".
        band: The strictest operating point that is passed, if the key's policy releases bands; else empty.
        steps: What was asked of whom.
    """

    is_match: bool
    threshold_profile: str
    band: str = ""
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """Someone who passes the threshold.

    Attributes:
        rank: 1 for the best.
        subject: The subject's id.
        enrollment: "galleries/{gallery}/enrollments/{enrollment}".
        band: The strictest operating point that is passed, if the key's policy releases bands; else empty.
    """

    rank: int
    subject: str
    enrollment: str
    band: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identification:
    """The answer to a 1:N question.

    Attributes:
        candidates: Best first; empty when nobody matches.
        threshold_profile: "{model}/{operating point}"; empty for a gallery without enrollments.
        score_count: How many enrollments were decided on.
        withheld_candidates: How many of them were left out, whatever their scores, because they had been named as often
            as the key's policy allows on one day.
        statistics: How the search went.
        steps: What was asked of whom.
    """

    candidates: tuple[Candidate, ...]
    threshold_profile: str
    score_count: int
    withheld_candidates: int = 0
    statistics: SearchStatistics
    steps: tuple[Step, ...]
