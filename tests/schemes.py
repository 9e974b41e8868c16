"""Every scheme at its lowest allowed security, and in the long run at the higher ones, for parametrized tests."""

from dataclasses import dataclass

import pytest

from veilface.crypto.contract import Scheme, TemplateUse
from veilface.crypto.public.registry import default_profile, profiles

ADDITIVE_SCHEMES = (Scheme.PAILLIER, Scheme.DAMGARD_JURIK, Scheme.OKAMOTO_UCHIYAMA)
# Refused unless a setting says that this is research.
RESEARCH_PROFILES = tuple((scheme, f"{scheme.value}-80") for scheme in ADDITIVE_SCHEMES)


@dataclass(frozen=True, slots=True)
class SchemeCase:
    """One scheme with one profile."""

    scheme: Scheme
    profile: str

    @property
    def is_additive(self) -> bool:
        """Whether probes are in the clear, and only there."""
        return self.scheme in ADDITIVE_SCHEMES

    @property
    def searches_packed(self) -> bool:
        """Whether 1:N is more than a loop of 1:1."""
        return self.scheme is not Scheme.CKKS_TENSEAL

    @property
    def takes_plaintext_probes(self) -> bool:
        """Whether a probe in the clear can be compared."""
        return self.scheme is not Scheme.CKKS_TENSEAL

    @property
    def probe_use(self) -> TemplateUse:
        """How its probes are made."""
        return TemplateUse.PLAINTEXT_PROBE if self.is_additive else TemplateUse.PROBE


def scheme_cases() -> list[object]:
    """Parameters for `pytest.mark.parametrize` and fixtures: the default profiles now, the others with --full."""
    cases = []
    for scheme in Scheme:
        for profile in profiles(scheme):
            if (scheme, profile) in RESEARCH_PROFILES:
                continue
            marks = () if profile == default_profile(scheme) else (pytest.mark.full,)
            cases.append(pytest.param(SchemeCase(scheme, profile), id=profile, marks=marks))
    return cases
