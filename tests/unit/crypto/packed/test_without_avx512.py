"""A CPU without AVX-512 gives the same answers: every kernel once, compiled for the least that x86-64 has."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.unit.crypto.packed.conftest import Keyring
from tests.unit.crypto.packed.tiles import dense, multiply_add_products, weighed_sums
from veilface.crypto.contract import PublicMaterial, Scheme, TemplateSpace, TemplateUse
from veilface.crypto.public.packed import bulk, wire
from veilface.crypto.public.packed.comparer import PackedComparer
from veilface.crypto.public.packed.evaluation_keys import EvaluationKeys
from veilface.crypto.public.packed.expand import expand
from veilface.crypto.public.packed.kernels.multiply_add import HAS_IFMA
from veilface.crypto.public.packed.plaintext_probe import write_plaintext_probe
from veilface.crypto.public.packed.profiles import CKKS_PACKED_128 as PROFILE
from veilface.crypto.public.packed.ring import U32
from veilface.crypto.public.packed.space import coordinates
from veilface.crypto.secret.packed.decrypt import PackedDecrypter
from veilface.crypto.secret.packed.keyset import secret_header


def digests(public_key: bytes) -> dict[str, str]:
    """What every kernel makes of fixed input, by its name. For a process of its own: it fixes all randomness."""
    rng = np.random.default_rng(6)
    found: dict[str, str] = {}

    def random(shape: tuple[int, ...]) -> U32:
        return rng.integers(0, min(PROFILE.primes), shape, dtype=np.uint32)

    def note(name: str, made: bytes) -> None:
        found[name] = hashlib.sha256(made).hexdigest()

    keys = EvaluationKeys(PROFILE, random(EvaluationKeys.shape(PROFILE)))
    comparer, space = PackedComparer.with_keys(keys), TemplateSpace(20)
    probe = wire.write_template(PROFILE, 20, TemplateUse.PROBE, random((2, 3, PROFILE.degree)))
    reference = wire.write_template(PROFILE, 20, TemplateUse.REFERENCE, random((2, 3, PROFILE.degree)))
    tiles = expand(random((2, 3, PROFILE.degree)), 20, keys, PROFILE.probe_log_scale)
    note("expansion", tiles.tobytes())
    references = dense(np.ascontiguousarray(tiles[:, ::-1]))
    limbs = PROFILE.data_primes[:2]
    for probes, segments in ((1, 1), (1, 2), (3, 1), (3, 3)):
        products = multiply_add_products([tiles] * probes, [references] * segments, limbs, PROFILE.degree)
        note(f"multiply-add of {probes} by {segments}", products.tobytes())
        weights = rng.integers(0, min(limbs), (probes, 2, tiles.shape[1]), dtype=np.uint64)
        note(
            f"weights of {probes} by {segments}", weighed_sums(weights, [references] * segments, limbs, PROFILE.degree)
        )

    segment = comparer.new_segment(space)
    segment.add_many([reference, reference], [0, 1])
    segment.subtract(reference, 1)
    note("enrollment", segment.to_bytes())
    slots = [np.arange(PROFILE.degree)]
    (answer,) = comparer.search(comparer.prepare_probe(probe, space), [segment], slots)
    note("search", answer)
    one_to_one = comparer.compare(reference, probe, space)
    note("comparison", one_to_one)
    vector = np.eye(20)[:1]
    (values,) = coordinates(vector, space, TemplateUse.PLAINTEXT_PROBE, PROFILE)
    note("comparison in the clear", comparer.compare(reference, write_plaintext_probe(values, PROFILE), space))

    shifted = rng.integers(0, 3, PROFILE.degree, dtype=np.uint8)
    decrypter = PackedDecrypter(PROFILE.name, wire.write(PROFILE, secret_header(PROFILE), shifted.tobytes()))
    note("decryption of a search", decrypter.decrypt(answer, space, PROFILE.degree).tobytes())
    note("decryption of a comparison", decrypter.decrypt(one_to_one, space, 1).tobytes())

    bulk._random_words = lambda count: np.random.default_rng(7).integers(0, 2**64, count, dtype=np.uint64)
    material = PublicMaterial(Scheme.CKKS_PACKED, PROFILE.name, "keys/test/versions/1", public_key, b"")
    note("bulk encryption", bulk.SegmentEncryptor(material).encrypt(np.repeat(vector, 30, axis=0), space))
    return found


def digests_on(cpu: str | None, public_key: bytes) -> tuple[bool, dict[str, str]]:
    """Whether fused 52-bit multiplications are used, and the digests, in a process that compiles for a CPU."""
    environment = dict(os.environ)
    environment["PYTHONPATH"] = os.pathsep.join([str(Path.cwd()), os.environ.get("PYTHONPATH", "")])
    if cpu is not None:
        environment |= {"NUMBA_CPU_NAME": cpu, "NUMBA_CPU_FEATURES": "", "NUMBA_DISABLE_CACHING": "1"}
    command = [sys.executable, "-m", __name__]
    run = subprocess.run(command, input=public_key, env=environment, capture_output=True, timeout=400, check=True)
    first, *rest = run.stdout.decode().splitlines()
    pairs = [line.split(": ") for line in rest]
    return first == "True", dict(pairs)


def test_a_cpu_without_avx512_gives_the_same_answers(keyring: Callable[[str], Keyring]) -> None:
    public_key = keyring(PROFILE.name).material.public_key
    plain_ifma, plain = digests_on("x86-64", public_key)
    _, here = digests_on(None, public_key)
    assert not plain_ifma
    assert len(set(plain.values())) == len(plain) == 16
    assert plain == here


if __name__ == "__main__":
    print(HAS_IFMA)
    for name, digest in digests(sys.stdin.buffer.read()).items():
        print(f"{name}: {digest}")
