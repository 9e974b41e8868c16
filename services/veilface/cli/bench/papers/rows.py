"""What the tables of the papers are made of."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum


class Quantity(StrEnum):
    """What is measured of each profile at each dimension."""

    KEY_GENERATION = "key generation"
    ENCRYPTION = "encryption"
    COMPARISON = "comparison"
    DECRYPTION = "decryption"
    PUBLIC_KEYS = "public and evaluation keys"
    SECRET_KEY = "secret key"  # noqa: S105 - a quantity, not a password
    TEMPLATE = "template"
    SCORE = "score"
    ERROR = "cosine error"


SIZES = frozenset({Quantity.PUBLIC_KEYS, Quantity.SECRET_KEY, Quantity.TEMPLATE, Quantity.SCORE})


@dataclass(frozen=True, slots=True)
class Reading:
    """One number: seconds, bytes, or a difference of cosines.

    Attributes:
        value: Of all dimensions.
        measured_dim: How many dimensions were measured, where the value is extrapolated from fewer; else 0.
    """

    value: float
    measured_dim: int = 0

    @property
    def extrapolated(self) -> bool:
        """Whether fewer dimensions were measured."""
        return self.measured_dim > 0


@dataclass(frozen=True, slots=True)
class Row:
    """One profile at one dimension, compared 1:1.

    Attributes:
        scheme: Its name.
        profile: Its name.
        system: Whose code ran: "veilface" or "LightPHE".
        security_bits: What the parameters reach, which is not always what the profile is named for.
        dim: Dimensions of an embedding.
        readings: One of each quantity.
    """

    scheme: str
    profile: str
    system: str
    security_bits: int
    dim: int
    readings: Mapping[Quantity, Reading]

    @property
    def name(self) -> str:
        """The profile, and whose code it is if not this project's."""
        return self.profile if self.system == VEILFACE else f"{self.profile} in {self.system}"


@dataclass(frozen=True, slots=True)
class SearchRow:
    """One profile at one dimension, compared 1:N.

    Attributes:
        count: How many templates.
        us_per_template: By the clock, on all threads.
        cpu_us_per_template: Of all threads together.
        largest_error: Of the cosine against numpy in float64, over all scores.
        exact: Whether all integer scores equal numpy's; None where scores are not integers.
        peer: What one comparison is compared with.
        peer_s: One comparison of the peer.
        peer_cpu_s: The same in CPU time.
    """

    scheme: str
    profile: str
    security_bits: int
    dim: int
    count: int
    us_per_template: float
    cpu_us_per_template: float
    largest_error: float
    exact: bool | None
    peer: str = ""
    peer_s: Reading = Reading(0.0)
    peer_cpu_s: Reading = Reading(0.0)

    def beside(self, peer: str, wall_s: Reading, cpu_s: Reading) -> "SearchRow":
        """The same row beside one comparison of a peer."""
        return replace(self, peer=peer, peer_s=wall_s, peer_cpu_s=cpu_s)

    @property
    def times_cheaper(self) -> float:
        """How many times cheaper than the peer's comparison, by the clock."""
        return self.peer_s.value / self.us_per_template * 1e6

    @property
    def times_cheaper_cpu(self) -> float:
        """The same in CPU time, so that a second thread counts for nothing."""
        return self.peer_cpu_s.value / self.cpu_us_per_template * 1e6


VEILFACE = "veilface"
LIGHTPHE = "LightPHE"
