"""Which templates may meet: each check names the one thing that differs."""

from typing import Final

from veilface.common.attested import TemplateStatement
from veilface.common.attested_segments import SegmentStatement
from veilface.common.errors import FailedPreconditionError, InvalidArgumentError, Reason
from veilface.crypto.contract import TemplateUse
from veilface.matching.domain.records import Gallery

_USE_ADVICE: Final = {
    TemplateUse.PLAINTEXT_PROBE: "the face asked about must be extracted as a probe in the clear",
    TemplateUse.PROBE: "the face asked about must be extracted as a probe",
    TemplateUse.REFERENCE: "a face to enroll or to compare with must be extracted as a reference",
}


def check_use(statement: TemplateStatement, expected: TemplateUse) -> None:
    """Refuse a template made for the other side. Raises InvalidArgumentError WRONG_USE.

    A plaintext probe is a probe: the embedding service makes one only if the key's policy allows it.
    """
    if expected is TemplateUse.PROBE and statement.use is TemplateUse.PLAINTEXT_PROBE:
        return
    if statement.use is not expected:
        raise InvalidArgumentError(
            Reason.WRONG_USE,
            f"expected a {expected.value} template, got a {statement.use.value}: {_USE_ADVICE[expected]}",
        )


def check_gallery(statement: TemplateStatement | SegmentStatement, gallery: Gallery) -> None:
    """Refuse a template, or a segment of them, that cannot be compared with those of the gallery.

    What the gallery has not bound yet (no model, no dimension) fits everything.

    Raises:
        FailedPreconditionError: WRONG_KEY_VERSION, WRONG_PARAMETERS, WRONG_MODEL, WRONG_METRIC or WRONG_DIMENSION.
    """
    of = str(gallery.name)
    if statement.key_version != gallery.key_version:
        raise FailedPreconditionError(
            Reason.WRONG_KEY_VERSION,
            f"the template's key version is {statement.key_version!r}, that of {of} is {gallery.key_version!r}: "
            "extract the face again under that one",
        )
    _check_equal(Reason.WRONG_PARAMETERS, "scheme", statement.scheme.value, gallery.scheme.value, of)
    _check_equal(Reason.WRONG_PARAMETERS, "profile", statement.profile, gallery.profile, of)
    if gallery.model:
        _check_equal(Reason.WRONG_MODEL, "model", statement.model, gallery.model, of)
    _check_equal(Reason.WRONG_METRIC, "metric", statement.space.metric.value, gallery.metric.value, of)
    if gallery.dimension:
        _check_equal(Reason.WRONG_DIMENSION, "dimension", statement.space.dimension, gallery.dimension, of)


def check_pair(probe: TemplateStatement, reference: TemplateStatement) -> None:
    """Refuse two templates that cannot be compared with each other.

    Raises:
        FailedPreconditionError: WRONG_KEY_VERSION, WRONG_PARAMETERS, WRONG_MODEL, WRONG_METRIC or WRONG_DIMENSION.
    """
    of = "the reference"
    _check_equal(Reason.WRONG_KEY_VERSION, "key version", probe.key_version, reference.key_version, of)
    _check_equal(Reason.WRONG_PARAMETERS, "scheme", probe.scheme.value, reference.scheme.value, of)
    _check_equal(Reason.WRONG_PARAMETERS, "profile", probe.profile, reference.profile, of)
    _check_equal(Reason.WRONG_MODEL, "model", probe.model, reference.model, of)
    _check_equal(Reason.WRONG_METRIC, "metric", probe.space.metric.value, reference.space.metric.value, of)
    _check_equal(Reason.WRONG_DIMENSION, "dimension", probe.space.dimension, reference.space.dimension, of)


def _check_equal(reason: Reason, what: str, got: str | int, expected: str | int, of: str) -> None:
    if got != expected:
        raise FailedPreconditionError(reason, f"the template's {what} is {got!r}, that of {of} is {expected!r}")
