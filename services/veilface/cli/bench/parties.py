"""Throwaway keys of any scheme, with everyone who works under them."""

from dataclasses import dataclass

from veilface.cli.bench.measurement import progress
from veilface.cli.bench.timing import Timing, timed
from veilface.crypto.contract import (
    PublicMaterial,
    Scheme,
    ScoreDecrypter,
    TemplateComparer,
    TemplateEncryptor,
    TemplateUse,
    probe_use_of,
)
from veilface.crypto.public.registry import load_comparer, load_encryptor
from veilface.crypto.secret.generated import GeneratedKey
from veilface.crypto.secret.registry import generate_key, load_decrypter


@dataclass(frozen=True, slots=True)
class Party:
    """One throwaway key and every role under it.

    Attributes:
        key: All halves of the key.
        key_generation: How long the key took.
    """

    scheme: Scheme
    profile: str
    key: GeneratedKey
    key_generation: Timing
    material: PublicMaterial
    encryptor: TemplateEncryptor
    comparer: TemplateComparer
    decrypter: ScoreDecrypter

    @property
    def probe_use(self) -> TemplateUse:
        """How a probe is made: the additive schemes take it in the clear only."""
        return probe_use_of(self.scheme)


def make_party(scheme: Scheme, profile: str, cap_s: float) -> Party:
    """A fresh key of a profile, research profiles included; made again for `cap_s` seconds to time it."""
    progress(f"{profile}: making a key")
    key_generation, key = timed(lambda: generate_key(scheme, profile, research=True), cap_s)
    material = PublicMaterial(
        scheme, profile, "keys/bench/versions/1", bytes(key.public_key), bytes(key.evaluation_keys)
    )
    return Party(
        scheme,
        profile,
        key,
        key_generation,
        material,
        load_encryptor(material, research=True),
        load_comparer(material, research=True),
        load_decrypter(scheme, profile, key.secret_key, research=True),
    )
