"""Magnitude pruning: the smallest weights become zero.

Han, Pool, Tran and Dally 2015, "Learning both Weights and Connections for Efficient Neural
Networks": the step that removes, without the retraining.
"""

from __future__ import annotations

import numpy as np

from .reals import F64


def prune(weights: F64, ratio: float) -> F64:
    """Return a copy of `weights` in which round(ratio * size) elements are zero, +0.0 each.

    Zeros that are there already count and stay. The smallest magnitudes go first; of equal ones
    those with the highest index in row-major order, so that the lowest are kept.
    """
    flat = weights.reshape(-1)
    wanted = round(ratio * flat.size)
    size = np.abs(flat)
    out = np.where(size > 0, flat, 0.0)
    if wanted > flat.size - np.count_nonzero(out):
        threshold = np.partition(size, wanted - 1)[wanted - 1]
        out[size < threshold] = 0.0
        equal = np.flatnonzero(size == threshold)
        spare = wanted - int(np.count_nonzero(size < threshold))
        out[equal[equal.size - spare :]] = 0.0
    return out.reshape(weights.shape)
