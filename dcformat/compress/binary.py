"""Weights of two levels, minus and plus a scale of the channel.

Rastegari, Ordonez, Redmon and Farhadi 2016, "XNOR-Net": the sign of each weight, times the mean
magnitude of its filter, which has the least squared error of all scales.
Spec: spec/encodings/values_codebook.md
"""

from __future__ import annotations

import numpy as np

from dcformat.coded import Codebook
from dcformat.ids import DType

from .quantized import Quantized, by_channel, scales_of, sums_of
from .reals import F64

_LEVELS = np.array([-1, 1], np.int8)


def quantize_binary(weights: F64, axis: int | None, saliency: F64 | None = None) -> Quantized:
    """Return weights as -s or s, with one s for the tensor or one for each index of `axis`.

    `weights` is finite, of any shape; zero becomes s. `saliency`, of the same shape, weighs the
    mean that s is. Symbols are indices (uint8) into int8 levels with float32 scales.
    """
    size = np.abs(by_channel(weights, axis))
    weigh = np.ones_like(size) if saliency is None else by_channel(saliency, axis)
    mass = sums_of(weigh)
    steps = sums_of(weigh * size) / np.where(mass > 0, mass, 1.0)
    values = Codebook(DType.INT8, _LEVELS, scales_of(steps, axis), axis)
    return Quantized((weights >= 0).astype(np.uint8), values)
