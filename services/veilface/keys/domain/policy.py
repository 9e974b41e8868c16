"""What one key may be used for: by whom, how often, and how much an answer tells."""

from enum import StrEnum
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, field_validator

from veilface.common.errors import InvalidArgumentError, PermissionDeniedError, Reason
from veilface.crypto.contract import Metric

LARGEST_TOP_K = 100
LARGEST_QUOTA = 2**31 - 1

Identity = Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[a-z][a-z0-9+.-]*://[!-~]+$")]
Quota = Annotated[int, Field(ge=0, le=LARGEST_QUOTA)]


class Operation(StrEnum):
    """What a caller can do with a key."""

    ENCRYPT = "encrypt"
    EVALUATE = "evaluate"
    VERIFY = "verify"
    IDENTIFY = "identify"
    REENCRYPT = "reencrypt"
    TRANSFORM = "transform"
    MANAGE = "manage"
    IMPORT = "import"


class Release(StrEnum):
    """How much an answer tells. A raw score is never released."""

    DECISION = "decision"
    BANDED = "banded"


class Grant(BaseModel):
    """The only identities that may do one operation with the key, among those that the service lets do it at all."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    operation: Operation
    identities: Annotated[tuple[Identity, ...], Field(max_length=64)]


class ThresholdOverride(BaseModel):
    """A threshold of this key in place of the published one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: Annotated[str, Field(min_length=1, max_length=128)]
    metric: Metric
    operating_point: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,31}$")]
    threshold: FiniteFloat


class Quotas(BaseModel):
    """How many answers a UTC day gives. 0 means no limit.

    Binary answers are enough to climb towards a template: m answers at the threshold in d dimensions tell about
    2m / (pi d) of the squared cosine between a guess and the unknown direction. A search tells more per match, because
    an answer without a match costs nothing: a match that happens once in 1/p tries tells about as much as log2(1/p)
    answers. With the defaults an attacker who already has a matching face, at a cosine halfway between the threshold
    of 0.93 and 1, and 128 dimensions, gains below 0.005 in one day by verifying. One that searches only for rare
    matches gains about 0.018, and about 0.033 if it starts at the threshold; without quotas it gains all that there
    is. Lower thresholds and more days give more: see `AlternationMonitor`.

    Attributes:
        answers_per_caller: Decide calls of one caller.
        answers_per_target: Verifications against one subject, or one reference, by all callers together.
        matches_per_candidate: How often identifications may name one and the same candidate, to all callers together.
        reencryptions_per_caller: Templates and segments that one caller may have re-encrypted.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    answers_per_caller: Quota = 5000
    answers_per_target: Quota = 32
    matches_per_candidate: Quota = 16
    reencryptions_per_caller: Quota = 0


class KeyPolicy(BaseModel):
    """The policy of a key. The default is the one that keys are created with.

    Attributes:
        grants: At most one per operation; an operation without one is open to whom the service's own allow-list names.
        release: How much an answer tells.
        top_k_limit: The most candidates that an identification may ask for.
        plaintext_probe: Whether a matcher may see the probe in the clear, as the additive schemes need.
        quotas: The daily limits.
        thresholds: At most one per model, metric and operating point.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    grants: Annotated[tuple[Grant, ...], Field(max_length=len(Operation))] = ()
    release: Release = Release.DECISION
    top_k_limit: Annotated[int, Field(ge=1, le=LARGEST_TOP_K)] = 20
    plaintext_probe: bool = False
    quotas: Quotas = Quotas()
    thresholds: Annotated[tuple[ThresholdOverride, ...], Field(max_length=256)] = ()

    @field_validator("grants")
    @classmethod
    def _one_grant_per_operation(cls, grants: tuple[Grant, ...]) -> tuple[Grant, ...]:
        if len({grant.operation for grant in grants}) != len(grants):
            raise ValueError("at most one grant per operation")
        return grants

    @field_validator("thresholds")
    @classmethod
    def _one_threshold_each(cls, thresholds: tuple[ThresholdOverride, ...]) -> tuple[ThresholdOverride, ...]:
        if len({(each.model, each.metric, each.operating_point) for each in thresholds}) != len(thresholds):
            raise ValueError("at most one threshold per model, metric and operating point")
        return thresholds

    def granted(self, operation: Operation) -> tuple[str, ...] | None:
        """Whom a grant for the operation names; None if there is no such grant."""
        return next((grant.identities for grant in self.grants if grant.operation is operation), None)

    def require_granted(self, operation: Operation, caller: str) -> None:
        """Check that a caller may do this with the key.

        Raises:
            PermissionDeniedError: POLICY_DENIED if there is a grant for the operation and it does not name the caller.
        """
        identities = self.granted(operation)
        if identities is not None and caller not in identities:
            raise PermissionDeniedError(
                Reason.POLICY_DENIED, f"the key's policy does not let this caller {operation.value} with it"
            )


PolicyPart = TypeVar("PolicyPart", bound=BaseModel)


def checked(part: type[PolicyPart], **fields: Any) -> PolicyPart:
    """Make a policy, or a part of one, from values that nobody has checked yet.

    Raises:
        InvalidArgumentError: INVALID_FIELD, saying which value is wrong and why.
    """
    try:
        return part(**fields)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(each) for each in first["loc"]) or part.__name__
        raise InvalidArgumentError(Reason.INVALID_FIELD, f"policy: {where}: {first['msg']}") from error
