"""The tolerance of a scheme's scores holds for its scores, and is not so wide that it would hold for any."""

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.schemes import SchemeCase, scheme_cases
from veilface.common.errors import InvalidArgumentError, Reason
from veilface.crypto.contract import Metric, PublicMaterial, Scheme, TemplateSpace, TemplateUse
from veilface.crypto.public.phe.quantization import SCALE
from veilface.crypto.public.registry import load_comparer, load_encryptor, score_tolerance
from veilface.crypto.public.rounding import DEVIATIONS, rounding_tolerance
from veilface.crypto.secret.registry import generate_key, load_decrypter

DIMENSION = 128


def unit_vectors(count: int, dimension: int, seed: int) -> NDArray[np.float64]:
    vectors = np.random.default_rng(seed).normal(size=(count, dimension))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def scores_of(references: NDArray[np.float64], probes: NDArray[np.float64], metric: Metric) -> NDArray[np.float64]:
    if metric is Metric.COSINE:
        return np.einsum("ij,ij->i", references, probes)
    return ((references - probes) ** 2).sum(axis=1)


@pytest.mark.parametrize("metric", Metric)
@pytest.mark.parametrize("dimension", [64, 512, 4096])
def test_rounding_moves_scores_by_what_the_tolerance_was_derived_from(dimension: int, metric: Metric) -> None:
    count = 2_000_000 // dimension
    references = unit_vectors(count, dimension, seed=1)
    # Nearly opposite: no squared distance is much larger, so none is much more wrong.
    probes = -references + 0.3 * unit_vectors(count, dimension, seed=2)
    probes /= np.linalg.norm(probes, axis=1, keepdims=True)
    rounded = scores_of(np.rint(references * SCALE) / SCALE, np.rint(probes * SCALE) / SCALE, metric)
    errors = rounded - scores_of(references, probes, metric)
    tolerance = rounding_tolerance(SCALE, TemplateSpace(dimension, metric))
    assert np.abs(errors).max() <= tolerance
    # With 488 errors and more, their deviation is known to within 3.2 %.
    bias = 0.0 if metric is Metric.COSINE else dimension / (6 * SCALE**2)
    assert DEVIATIONS * errors.std() + bias == pytest.approx(tolerance, rel=0.2)


@pytest.mark.parametrize("case", [each for each in scheme_cases() if each.values[0].scheme is Scheme.CKKS_TENSEAL])
@pytest.mark.parametrize(
    "space", [*(TemplateSpace(DIMENSION, metric) for metric in Metric), TemplateSpace(4096)], ids=str
)
def test_every_score_of_ckks_tenseal_is_within_the_tolerance(case: SchemeCase, space: TemplateSpace) -> None:
    generated = generate_key(case.scheme, case.profile)
    material = PublicMaterial(
        case.scheme, case.profile, "keys/test/versions/1", generated.public_key, generated.evaluation_keys
    )
    encryptor, comparer = load_encryptor(material), load_comparer(material)
    decrypter = load_decrypter(case.scheme, case.profile, generated.secret_key)
    references, probes = unit_vectors(8, space.dimension, seed=5), unit_vectors(8, space.dimension, seed=6)
    encrypted = [encryptor.encrypt(each, space, TemplateUse.REFERENCE) for each in references]
    asked = [encryptor.encrypt(each, space, TemplateUse.PROBE) for each in probes]
    found = [
        decrypter.decrypt(comparer.compare(reference, probe, space), space, 1)[0]
        for reference, probe in zip(encrypted, asked, strict=True)
    ]
    errors = np.array(found) - scores_of(references, probes, space.metric)
    assert np.abs(errors).max() <= score_tolerance(case.scheme, case.profile, space)


def test_a_profile_of_another_scheme_has_no_tolerance() -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        score_tolerance(Scheme.PAILLIER, "ckks-packed-128", TemplateSpace(DIMENSION))
    assert refused.value.reason is Reason.UNKNOWN_PROFILE
    assert score_tolerance(Scheme.PAILLIER, "paillier-112", TemplateSpace(DIMENSION)) < 2e-3
