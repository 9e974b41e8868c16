import numpy as np
import pytest
import tenseal as ts

from veilface.common.errors import InvalidArgumentError, Reason
from veilface.crypto.public.ckks_tenseal.profiles import DEFAULT_PROFILE, PROFILES, CkksTensealProfile, tenseal_profile


def test_cipherfaces_six_sets_are_there_and_two_say_that_they_miss_their_level() -> None:
    reached = {name.removeprefix("ckks-tenseal-"): profile.security_bits for name, profile in PROFILES.items()}
    assert reached == {
        "128-defensive": 128,
        "128-offensive": 128,
        "192-defensive": 128,
        "192-offensive": 192,
        "256-defensive": 192,
        "256-offensive": 256,
    }
    for name, profile in PROFILES.items():
        claimed = int(name.split("-")[2])
        assert ("does not reach" in profile.note) == (profile.security_bits < claimed)
        assert profile.source
    assert DEFAULT_PROFILE in PROFILES


def refused(degree: int, bits: tuple[int, ...], log_scale: int) -> InvalidArgumentError:
    with pytest.raises(InvalidArgumentError) as error:
        CkksTensealProfile("test", degree, bits, log_scale, "test")
    return error.value


@pytest.mark.parametrize(
    ("degree", "bits", "log_scale", "why"),
    [
        (4096, (40, 20, 40), 40, "overflows a modulus"),
        (8192, (60, 40, 60), 50, "overflows a modulus"),
        (8192, (40, 60, 60), 48, "left after rescaling"),
        (8192, (60, 50, 60), 40, "does not restore the scale"),
        (4096, (40, 20, 40), 20, "differs from 2"),
        (8192, (60, 30, 31), 30, "scores would be wrong"),
        (8192, (60, 60), 30, "special prime"),
    ],
)
def test_sets_that_overflow_or_lose_the_score_are_refused(
    degree: int, bits: tuple[int, ...], log_scale: int, why: str
) -> None:
    error = refused(degree, bits, log_scale)
    assert error.reason is Reason.WRONG_SCALE
    assert why in error.message


@pytest.mark.parametrize(("degree", "bits", "log_scale"), [(4096, (40, 20, 40), 20), (8192, (60, 30, 31), 30)])
def test_tenseal_itself_gives_wrong_scores_with_such_sets_and_no_error(
    degree: int, bits: tuple[int, ...], log_scale: int
) -> None:
    """How wrong depends on the key: a few are lucky, eight are not."""
    vector = np.full(512, 512**-0.5).tolist()
    errors = []
    for _ in range(8):
        context = ts.context(ts.SCHEME_TYPE.CKKS, poly_modulus_degree=degree, coeff_mod_bit_sizes=list(bits))
        context.generate_galois_keys()
        context.global_scale = 2.0**log_scale
        errors.append(abs(ts.ckks_vector(context, vector).dot(ts.ckks_vector(context, vector)).decrypt()[0] - 1))
    assert max(errors) > 0.05


def test_sets_below_128_bits_are_refused() -> None:
    assert refused(4096, (60, 40, 60), 40).reason is Reason.INSECURE_PARAMETERS
    assert refused(2048, (20, 20, 20), 20).reason is Reason.INSECURE_PARAMETERS


def test_an_unknown_profile_is_named_in_the_error() -> None:
    with pytest.raises(InvalidArgumentError, match="ckks-tenseal-512") as error:
        tenseal_profile("ckks-tenseal-512")
    assert error.value.reason is Reason.UNKNOWN_PROFILE
