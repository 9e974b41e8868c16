"""From public material to encryptors and comparers of the partially homomorphic schemes."""

from veilface.common.errors import InvalidArgumentError, Reason
from veilface.crypto.contract import PublicMaterial
from veilface.crypto.public.phe.bulk import PheSegmentEncryptor
from veilface.crypto.public.phe.compare import PheComparer
from veilface.crypto.public.phe.encrypt import PheEncryptor
from veilface.crypto.public.phe.profiles import phe_profile
from veilface.crypto.public.phe.public_key import PhePublicKey, parse_public_key


def load_encryptor(material: PublicMaterial, *, research: bool = False) -> PheEncryptor:
    """What encrypts templates under this public key.

    Args:
        material: The public half of a key version; evaluation keys must be empty.
        research: Accept a profile below 112 bits of security.

    Raises:
        InvalidArgumentError: UNKNOWN_PROFILE, INSECURE_PARAMETERS, WRONG_PARAMETERS or MALFORMED_KEY.
    """
    return PheEncryptor(_public_key(material, research=research))


def load_comparer(material: PublicMaterial, *, research: bool = False) -> PheComparer:
    """What compares templates under this public key. Arguments and errors as `load_encryptor`."""
    return PheComparer(_public_key(material, research=research))


def load_segment_encryptor(material: PublicMaterial, *, research: bool = False) -> PheSegmentEncryptor:
    """What encrypts whole segments under this public key. Arguments and errors as `load_encryptor`."""
    return PheSegmentEncryptor(load_encryptor(material, research=research))


def _public_key(material: PublicMaterial, *, research: bool) -> PhePublicKey:
    profile = phe_profile(material.profile, research=research)
    if profile.scheme is not material.scheme:
        raise InvalidArgumentError(
            Reason.WRONG_PARAMETERS, f"profile {profile.name} is not one of the scheme {material.scheme.value}"
        )
    if material.evaluation_keys:
        raise InvalidArgumentError(Reason.MALFORMED_KEY, f"scheme {material.scheme.value} has no evaluation keys")
    return parse_public_key(material.public_key, profile)
