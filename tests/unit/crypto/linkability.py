"""How far scores tell templates of the same person from those of others: the measure D_sys.

Gomez-Barrero, Galbally, Rathgeb and Busch, "General framework to evaluate unlinkability in biometric template
protection systems", IEEE TIFS 13(6), 2018: 0 is unlinkable, 1 is fully linkable. Mated and non-mated are taken to be
equally likely.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

LARGEST_BIN_COUNT = 100


def d_sys(mated: NDArray[np.float64], non_mated: NDArray[np.float64]) -> float:
    """The global measure, in [0, 1], from histograms with a tenth as many bins as mated scores, at most 100."""
    bins = int(np.clip(mated.size // 10, 2, LARGEST_BIN_COUNT))
    edges = np.histogram_bin_edges(np.concatenate([mated, non_mated]), bins)
    same = np.histogram(mated, edges)[0] / mated.size
    others = np.histogram(non_mated, edges)[0] / non_mated.size
    total = np.where(same + others > 0, same + others, 1.0)
    # The local measure: P(mated | score) - P(non-mated | score), where it is positive.
    local = np.clip((same - others) / total, 0.0, None)
    return float(np.sum(local * same))


def d_sys_of(matrices: Sequence[NDArray[np.float64]], random: np.random.Generator | None = None) -> float:
    """Of scores between n people and the same n people, mated on the diagonals.

    Args:
        matrices: Shape (n, n) each.
        random: Exchanges the people of one side at random in each matrix, which is what unlinkable scores look like.
    """
    mated, non_mated = [], []
    for matrix in matrices:
        count = len(matrix)
        partners = np.arange(count) if random is None else random.permutation(count)
        is_mated = np.zeros((count, count), dtype=bool)
        is_mated[np.arange(count), partners] = True
        mated.append(matrix[is_mated])
        non_mated.append(matrix[~is_mated])
    return d_sys(np.concatenate(mated), np.concatenate(non_mated))
