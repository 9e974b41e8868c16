"""The threads of numpy's BLAS, so that both sides of a comparison have the same."""

import os

from veilface.crypto.public.packed.parallel import worker_count

_VARIABLES = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def share_threads() -> None:
    """Give numpy's BLAS as many threads as the kernels have. It asks the environment once, when numpy is imported."""
    for variable in _VARIABLES:
        os.environ[variable] = str(worker_count())
