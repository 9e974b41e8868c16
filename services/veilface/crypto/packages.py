"""Packages that some schemes need and that a service is installed without unless it is asked for them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from veilface.common.errors import FailedPreconditionError, Reason
from veilface.crypto.contract import Scheme

# The default scheme needs nothing that the services lack; see [project.optional-dependencies].
_EXTRAS: Final[Mapping[Scheme, str]] = {
    Scheme.CKKS_TENSEAL: "cipherface",
    Scheme.PAILLIER: "phe",
    Scheme.DAMGARD_JURIK: "phe",
    Scheme.OKAMOTO_UCHIYAMA: "phe",
}


@contextmanager
def packages_of(scheme: Scheme) -> Iterator[None]:
    """Inside, modules of this scheme are imported.

    Raises:
        FailedPreconditionError: PACKAGE_MISSING, with what to install, if one of them needs a package that is not here.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if scheme not in _EXTRAS or package == "veilface":
            raise
        raise FailedPreconditionError(
            Reason.PACKAGE_MISSING,
            f"scheme {scheme} needs the package {package}, which is not installed beside this service: "
            f"pip install 'veilface[{_EXTRAS[scheme]}]' there",
        ) from error
