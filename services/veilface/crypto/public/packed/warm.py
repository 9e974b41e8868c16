"""Compiling every kernel before the first request."""

import numpy as np

from veilface.crypto.contract import TemplateSpace, TemplateUse
from veilface.crypto.public.packed import wire
from veilface.crypto.public.packed.comparer import PackedComparer
from veilface.crypto.public.packed.evaluation_keys import EvaluationKeys
from veilface.crypto.public.packed.plaintext_probe import write_plaintext_probe
from veilface.crypto.public.packed.profiles import PackedProfile

_DIMENSION = 40


def warm_encryption(profile: PackedProfile) -> None:
    """Run the kernels of encryption once."""
    from veilface.crypto.public.packed.encrypt import encode

    encode(np.zeros(1), profile.template_log_scale, profile.template_limbs, profile)


def warm(profile: PackedProfile) -> None:
    """Run every kernel of a comparer once, on zeros. Compiled code is cached on disk beside the package."""
    keys = EvaluationKeys(profile, np.zeros(EvaluationKeys.shape(profile), dtype=np.uint32))
    comparer = PackedComparer.with_keys(keys)
    space = TemplateSpace(_DIMENSION)
    zeros = np.zeros((2, profile.template_limbs, profile.degree), dtype=np.uint32)
    reference = wire.write_template(profile, _DIMENSION, TemplateUse.REFERENCE, zeros)
    probe = wire.write_template(profile, _DIMENSION, TemplateUse.PROBE, zeros)
    comparer.compare(reference, probe, space)
    segment = comparer.new_segment(space)
    segment.add_many([reference, reference], [0, 1])
    segment.subtract(reference, 1)
    segment = comparer.segment_from_bytes(segment.to_bytes(), space)
    slots = np.array([0])
    prepared = comparer.prepare_probe(probe, space)
    comparer.search_many([prepared, prepared, prepared], [segment] * 3, [slots] * 3)
    plain = write_plaintext_probe(np.zeros(_DIMENSION), profile)
    comparer.compare(reference, plain, space)
    comparer.search(comparer.prepare_probe(plain, space, TemplateUse.PLAINTEXT_PROBE), [segment], [slots])
