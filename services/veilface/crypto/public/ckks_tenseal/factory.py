"""From public material to encryptors and comparers of `ckks-tenseal`."""

from veilface.common.errors import InvalidArgumentError, Reason
from veilface.crypto.contract import PublicMaterial, Scheme
from veilface.crypto.public.ckks_tenseal.compare import TensealComparer
from veilface.crypto.public.ckks_tenseal.encrypt import TensealEncryptor
from veilface.crypto.public.ckks_tenseal.profiles import CkksTensealProfile, tenseal_profile


def load_encryptor(material: PublicMaterial) -> TensealEncryptor:
    """What encrypts templates under this public key.

    Raises:
        InvalidArgumentError: UNKNOWN_PROFILE, WRONG_PARAMETERS or MALFORMED_KEY.
    """
    return TensealEncryptor(_profile(material), material.public_key)


def load_comparer(material: PublicMaterial) -> TensealComparer:
    """What compares templates under these evaluation keys. Raises as `load_encryptor` does."""
    return TensealComparer(_profile(material), material.evaluation_keys)


def _profile(material: PublicMaterial) -> CkksTensealProfile:
    if material.scheme is not Scheme.CKKS_TENSEAL:
        raise InvalidArgumentError(Reason.WRONG_PARAMETERS, f"not a key of ckks-tenseal but of {material.scheme.value}")
    return tenseal_profile(material.profile)
