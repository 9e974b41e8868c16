"""What one key may be used for: by whom, how often, and how much an answer tells."""

from enum import StrEnum
from typing import Annotated, Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, field_validator

from veilface.common.errors import InvalidArgumentError, PermissionDeniedError, Reason
from veilface.crypto.contract import Metric

LARGEST_TOP_K = 100
LARGEST_POLICY_THRESHOLDS = 256
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

    Yes and no are enough to climb towards a template, so they are counted by templates. An even answer about a random
    direction tells 2 / (pi d) of the squared tangent between a guess and what is unknown of the template. A search
    without a match is free, so a match may be rare, and tells z^2 / d if it takes a deviation of z: one in 1250 tells
    as much as 18 even answers. That is why so few are named. In 128 dimensions, at the shipped operating points, an
    attacker who already has a face at a cosine of 0.95 and uses up all quotas of a day gains at most 0.02; one who
    starts at the threshold itself, where more is unknown, gains up to 0.04. To keep that below 0.02 as well would take
    about 1 match and 12 comparisons a day, with which no door can work. Without quotas the attacker gains all that
    there is, and more days give more.

    Attributes:
        answers_per_caller: Decide calls of one caller.
        answers_per_target: 1:1 comparisons with one reference template, by all callers together.
        matches_per_candidate: How often identifications may name one and the same candidate, to all callers together.
            After that it is left out of answers, whatever its score.
        reencryptions_per_caller: Templates and segments that one caller may have re-encrypted.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    answers_per_caller: Quota = 5000
    answers_per_target: Quota = 24
    matches_per_candidate: Quota = 4
    reencryptions_per_caller: Quota = 0

    def halved(self) -> "Quotas":
        """Half of every limit of answers, rounded up."""
        return Quotas(
            answers_per_caller=(self.answers_per_caller + 1) // 2,
            answers_per_target=(self.answers_per_target + 1) // 2,
            matches_per_candidate=(self.matches_per_candidate + 1) // 2,
            reencryptions_per_caller=self.reencryptions_per_caller,
        )


UNLIMITED: Final = Quotas(answers_per_caller=0, answers_per_target=0, matches_per_candidate=0)


class KeyPolicy(BaseModel):
    """The policy of a key. The default is the one that keys are created with.

    Attributes:
        grants: At most one per operation; an operation without one is open to whom the service's own allow-list names.
        release: How much an answer tells.
        top_k_limit: The most candidates that an identification may ask for.
        plaintext_probe: Whether a matcher may see the probe in the clear, as the additive schemes need.
        quotas: The daily limits.
        thresholds: At most one per model, metric and operating point. How many operating points there may be, published
            ones included, is up to the service: see `ThresholdTable`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    grants: Annotated[tuple[Grant, ...], Field(max_length=len(Operation))] = ()
    release: Release = Release.DECISION
    top_k_limit: Annotated[int, Field(ge=1, le=LARGEST_TOP_K)] = 20
    plaintext_probe: bool = False
    quotas: Quotas = Quotas()
    thresholds: Annotated[tuple[ThresholdOverride, ...], Field(max_length=LARGEST_POLICY_THRESHOLDS)] = ()

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

    @property
    def quotas_in_force(self) -> Quotas:
        """The quotas that hold: half of the answers that are set if bands are released, which tell more."""
        return self.quotas.halved() if self.release is Release.BANDED else self.quotas

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
