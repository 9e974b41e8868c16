"""A secret key in every form that code here or in SEAL could keep it in, as pieces to search for."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from veilface.cli.local_stack.layout import StateLayout
from veilface.common.database import Database
from veilface.common.names import KeyVersionName
from veilface.crypto.public.packed.profiles import packed_profile
from veilface.crypto.public.packed.ring import prime_ring
from veilface.crypto.public.packed.transform import to_ntt
from veilface.crypto.secret.packed.keyset import read_secret
from veilface.keys.domain.key_store import SealedVersion
from veilface.keys.domain.master_key import FileSource
from veilface.keys.domain.sealing import Purpose, SealContext, open_seal
from veilface.keys.domain.secret_bytes import SecretBytes, SecretKey, TransformSeed
from veilface.keys.storage.key_store import SqlKeyStore

PIECES = 6
# 64 coefficients of -1, 0 and 1 hold 101 bits: no piece is found by chance. As bytes that is 64 of them or more.
COEFFICIENTS = 64
# How many different bytes the first 64 of other content have at least.
TELLING_BYTES = 12


def unsealed(layout: StateLayout, version: KeyVersionName) -> bytes:
    """A serialized secret key, taken out of the key database with the master key."""
    sealed = _sealed(layout, version)
    return _opened(layout, SecretKey, sealed.secret_key, sealed.context)


def unsealed_seed(layout: StateLayout, version: KeyVersionName) -> bytes:
    """The seed of a version's secret transform, taken out in the same way."""
    sealed = _sealed(layout, version)
    context = replace(sealed.context, purpose=Purpose.TRANSFORM_SEED)
    return _opened(layout, TransformSeed, sealed.transform_seed, context)


def _sealed(layout: StateLayout, version: KeyVersionName) -> SealedVersion:
    database = Database(f"sqlite:///{layout.keys / 'keys.db'}")
    try:
        sealed = SqlKeyStore(database).sealed(version)
    finally:
        database.close()
    assert sealed is not None
    return sealed


def _opened(layout: StateLayout, kind: type[SecretBytes], blob: bytes, context: SealContext) -> bytes:
    with (
        FileSource(layout.master_key).load() as master_key,
        open_seal(kind, blob, context, master_key) as secret,
        secret.exposed() as view,
    ):
        return bytes(view)


def forms_of(serialized: bytes, profile_name: str) -> dict[str, bytes]:
    """The whole secret in each form."""
    profile = packed_profile(profile_name)
    secret = read_secret(profile, serialized)
    forms = {
        "serialized": serialized[-profile.degree :],
        "int8": secret.tobytes(),
        "int64": secret.astype(np.int64).tobytes(),
    }
    for prime in profile.primes:
        residues: NDArray[np.uint32] = np.mod(secret.astype(np.int64), prime).astype(np.uint32)
        transformed = to_ntt(residues.copy(), prime_ring(prime, profile.degree))
        for domain, values in (("coefficients", residues), ("NTT", transformed)):
            for kind in (np.uint32, np.uint64):
                forms[f"{domain} mod {prime} as {kind.__name__}"] = values.astype(kind).tobytes()
    return forms


def pieces_of(forms: Mapping[str, bytes], degree: int) -> dict[str, Sequence[bytes]]:
    """Windows of 64 coefficients, spread over each form from its beginning to its end."""
    pieces: dict[str, Sequence[bytes]] = {}
    for form, content in forms.items():
        length = COEFFICIENTS * len(content) // degree
        starts = np.linspace(0, len(content) - length, PIECES).astype(int) // (length // COEFFICIENTS)
        pieces[form] = [content[start : start + length] for start in starts * (length // COEFFICIENTS)]
    return pieces


def windows_of(content: bytes, length: int = 64, count: int = 8) -> list[bytes]:
    """Windows spread over some content, without those that are in any memory by chance, as a black part of an image."""
    starts = np.linspace(0, len(content) - length, count).astype(int)
    windows = [content[start : start + length] for start in starts]
    telling = [window for window in windows if len(set(window[:64])) >= TELLING_BYTES]
    assert len(telling) > count // 2
    return telling
