"""A scheme whose package is not installed says what to install. Each check has a process of its own."""

import subprocess
import sys

import pytest

from veilface.crypto.contract import Scheme

PACKAGES = {
    Scheme.CKKS_TENSEAL: ("tenseal", "cipherface"),
    Scheme.PAILLIER: ("gmpy2", "phe"),
    Scheme.DAMGARD_JURIK: ("gmpy2", "phe"),
    Scheme.OKAMOTO_UCHIYAMA: ("gmpy2", "phe"),
}
# The name of a module that is None in sys.modules cannot be imported.
PROGRAM = """
import sys
if sys.argv[2]:
    sys.modules[sys.argv[2]] = None
from veilface.common.errors import VeilfaceError
from veilface.crypto.contract import PublicMaterial, Scheme
from veilface.crypto.public import registry as public
from veilface.crypto.secret import registry as secret
scheme = Scheme(sys.argv[1])
profile = next(name for name in sys.argv[3:] if name.startswith(scheme))
material = PublicMaterial(scheme, profile, "keys/test/versions/1", b"", b"")
for load in (
    lambda: public.load_encryptor(material),
    lambda: public.load_comparer(material),
    lambda: secret.load_decrypter(scheme, profile, b""),
):
    try:
        load()
    except VeilfaceError as error:
        print(type(error).__name__, error.reason, error.message)
"""
PROFILES = ["ckks-tenseal-128-defensive", "paillier-112", "damgard-jurik-112", "okamoto-uchiyama-112"]


def errors_without(scheme: Scheme, package: str) -> list[str]:
    command = [sys.executable, "-c", PROGRAM, scheme, package, *PROFILES]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


@pytest.mark.parametrize("scheme", list(PACKAGES))
def test_a_missing_package_is_named_with_what_to_install(scheme: Scheme) -> None:
    package, extra = PACKAGES[scheme]
    errors = errors_without(scheme, package)
    assert len(errors) == 3
    for error in errors:
        assert error.startswith("FailedPreconditionError PACKAGE_MISSING")
        assert f"package {package}," in error
        assert f"veilface[{extra}]" in error
    # The control: where it is installed, only the empty keys are wrong.
    assert [error.split()[:2] for error in errors_without(scheme, "")] == [
        ["InvalidArgumentError", "MALFORMED_KEY"]
    ] * 3
