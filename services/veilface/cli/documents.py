"""Results as JSON documents. These names are what scripts rely on."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from veilface.cli.key_profiles import facts_of
from veilface.client.faces import Face, Model
from veilface.client.galleries import Enrollment, Gallery, Subject
from veilface.client.keys import Key, KeyVersion
from veilface.client.matching import SearchStatistics
from veilface.client.results import Enrolled, Identification, Verification
from veilface.client.steps import Payload, Step
from veilface.common.errors import VeilfaceError


def key_document(key: Key) -> dict[str, Any]:
    """A key and its versions."""
    return {
        "name": key.name,
        "scheme": key.scheme.value,
        "profile": key.profile,
        **_profile(key),
        "primary_version": key.primary_version,
        "minimum_version": key.minimum_version,
        "embedding_transform": key.embedding_transform,
        "create_time": _time(key.create_time),
        "versions": [key_version_document(version) for version in key.versions],
    }


def key_version_document(version: KeyVersion) -> dict[str, Any]:
    """A key version."""
    return {
        "name": version.name,
        "version": version.version,
        "state": version.state,
        "create_time": _time(version.create_time),
        "destroy_time": _time(version.destroy_time) if version.destroy_time is not None else None,
        "public_key_sha256": version.public_key_sha256,
        "public_key_bytes": version.public_key_bytes,
        "evaluation_keys_bytes": version.evaluation_keys_bytes,
    }


def gallery_document(gallery: Gallery) -> dict[str, Any]:
    """A gallery."""
    return {
        "name": gallery.name,
        "key_version": gallery.key_version,
        "scheme": gallery.scheme.value,
        "profile": gallery.profile,
        "model": gallery.model,
        "dimension": gallery.dimension,
        "metric": gallery.metric.value,
        "enrollment_count": gallery.enrollment_count,
        "subject_count": gallery.subject_count,
        "template_bytes": gallery.template_bytes,
        "generation": gallery.generation,
        "create_time": _time(gallery.create_time),
    }


def subject_document(subject: Subject) -> dict[str, Any]:
    """A subject."""
    return {"name": subject.name, "subject": subject.subject, "enrollment_count": subject.enrollment_count}


def enrollment_document(enrollment: Enrollment) -> dict[str, Any]:
    """An enrollment."""
    return {
        "name": enrollment.name,
        "subject": enrollment.subject,
        "labels": dict(enrollment.labels),
        "key_version": enrollment.key_version,
        "template_bytes": enrollment.template_bytes,
        "create_time": _time(enrollment.create_time),
    }


def enrolled_document(enrolled: Enrolled) -> dict[str, Any]:
    """A new enrollment, the face in it and how it came about."""
    return {
        "enrollment": enrollment_document(enrolled.enrollment),
        "face": _face(enrolled.face),
        **steps_document(enrolled.steps),
    }


def verification_document(verification: Verification) -> dict[str, Any]:
    """A 1:1 decision."""
    return {
        "decision": decision_word(verification.is_match),
        **_band(verification.band),
        "threshold_profile": verification.threshold_profile,
        **steps_document(verification.steps),
    }


def identification_document(identification: Identification) -> dict[str, Any]:
    """A 1:N decision."""
    return {
        "decision": decision_word(bool(identification.candidates)),
        "candidates": [
            {
                "rank": candidate.rank,
                "subject": candidate.subject,
                "enrollment": candidate.enrollment,
                **_band(candidate.band),
            }
            for candidate in identification.candidates
        ],
        "threshold_profile": identification.threshold_profile,
        "score_count": identification.score_count,
        "withheld_candidates": identification.withheld_candidates,
        "search": _statistics(identification.statistics),
        **steps_document(identification.steps),
    }


def model_document(model: Model) -> dict[str, Any]:
    """A recognition pipeline."""
    return {
        "name": model.name,
        "dimension": model.dimension,
        "is_default": model.is_default,
        "weights": [{"filename": filename, "sha256": sha256} for filename, sha256 in model.weights],
    }


def error_document(error: VeilfaceError) -> dict[str, Any]:
    """An error."""
    return {"reason": error.reason.value, "message": error.message}


def steps_document(steps: Iterable[Step]) -> dict[str, Any]:
    """What was asked of whom, and the time of all of it."""
    steps = tuple(steps)
    return {
        "milliseconds": round(sum(step.milliseconds for step in steps), 3),
        "steps": [
            {
                "service": step.service.value,
                "call": step.call,
                "milliseconds": round(step.milliseconds, 3),
                "sent_bytes": step.sent_bytes,
                "received_bytes": step.received_bytes,
                "sent": [_payload(payload) for payload in step.sent],
                "received": [_payload(payload) for payload in step.received],
            }
            for step in steps
        ],
    }


def decision_word(is_match: bool) -> str:
    """ "match" or "no_match"."""
    return "match" if is_match else "no_match"


def _profile(key: Key) -> dict[str, Any]:
    facts = facts_of(key)
    if facts is None:
        return {}
    return {"security_bits": facts.security_bits, "profile_source": facts.source, "profile_note": facts.note}


def _band(band: str) -> dict[str, str]:
    return {"band": band} if band else {}


def _payload(payload: Payload) -> dict[str, Any]:
    return {
        "kind": payload.kind.value,
        "count": payload.count,
        "bytes": payload.total_bytes,
        "excerpt": payload.excerpt,
    }


def _face(face: Face) -> dict[str, Any]:
    box = face.bounding_box
    return {
        "bounding_box": {"x": box.x, "y": box.y, "width": box.width, "height": box.height},
        "detection_confidence": round(face.detection_confidence, 4),
        "quality": round(face.quality.overall, 4),
    }


def _statistics(statistics: SearchStatistics) -> dict[str, Any]:
    return {
        "enrollment_count": statistics.enrollment_count,
        "segment_count": statistics.segment_count,
        "expand_milliseconds": round(statistics.expand_time.total_seconds() * 1000, 3),
        "score_milliseconds": round(statistics.score_time.total_seconds() * 1000, 3),
        "gallery_bytes": statistics.gallery_bytes,
    }


def _time(time: datetime) -> str:
    return time.isoformat(timespec="seconds")
