"""Compiling the kernels of decryption before the first request."""

import numpy as np

from veilface.crypto.contract import TemplateSpace
from veilface.crypto.public.packed import wire
from veilface.crypto.public.packed.profiles import PackedProfile
from veilface.crypto.public.packed.scores import rescaled, verify_format, write_scores
from veilface.crypto.secret.packed.decrypt import PackedDecrypter
from veilface.crypto.secret.packed.keyset import secret_header


def warm(profile: PackedProfile) -> None:
    """Decrypt a zero with a zero in the place of a secret key."""
    no_secret = wire.write(profile, secret_header(profile), bytes([1]) * profile.degree)
    form = verify_format(profile)
    products = np.zeros((1, 3, profile.template_limbs, profile.degree), dtype=np.uint32)
    score = write_scores(rescaled(products, form, profile)[0], 1, None, form, profile)
    PackedDecrypter(profile.name, no_secret).decrypt(score, TemplateSpace(1), 1)
