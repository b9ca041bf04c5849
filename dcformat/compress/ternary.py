"""Weights of three levels: minus, nothing, plus.

"threshold": Li, Zhang and Liu 2016, "Ternary Weight Networks": weights up to 0.7 times the mean
magnitude become zero, the others plus or minus the mean of their magnitudes. "fitted": Zhu, Han,
Mao and Dally 2017, "Trained Ternary Quantization": a level for each sign; here not trained but
fitted, levels and thresholds together, to the least squared error.
Spec: spec/encodings/values_codebook.md
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dcformat.coded import Codebook
from dcformat.errors import ConvertError
from dcformat.ids import DType

from .quantized import Quantized, by_channel, scales_of, spread, sums_of
from .reals import F64

#: Of the mean magnitude: the optimum for weights that are spread normally or evenly.
THRESHOLD = 0.7

_LEVELS = np.array([-1, 0, 1], np.int8)
_LARGEST = 32767


def quantize_ternary(weights: F64, axis: int | None, saliency: F64 | None = None) -> Quantized:
    """Return weights as -s, 0 or s, with one s for the tensor or one for each index of `axis`.

    `weights` is finite, of any shape; `saliency`, of the same shape, weighs the mean that s is,
    not the threshold. Symbols are indices (uint8) into int8 levels with float32 scales. A channel
    of zeros stays one.
    """
    size = np.abs(by_channel(weights, axis))
    weigh = np.ones_like(size) if saliency is None else by_channel(saliency, axis)
    kept = size > THRESHOLD * sums_of(size)[:, None] / max(1, size.shape[1])
    mass = sums_of(weigh * kept)
    steps = sums_of(weigh * size * kept) / np.where(mass > 0, mass, 1.0)
    threshold = THRESHOLD * sums_of(size) / max(1, size.shape[1])
    signs = np.sign(weights) * (np.abs(weights) > spread(threshold, weights.ndim, axis))
    values = Codebook(DType.INT8, _LEVELS, scales_of(steps, axis), axis)
    return Quantized((signs + 1).astype(np.uint8), values)


def quantize_ternary_fitted(weights: F64, saliency: F64 | None = None) -> Quantized:
    """Return weights as -a, 0 or b with the least sum of squared errors, times `saliency`.

    `weights` is finite, of any shape and at least one element. Each sign is fitted by itself:
    with the k largest magnitudes at their mean m the error falls by m times their sum, and the k
    that make the most of it are found by trying all. Symbols are indices (uint8) into int16 levels
    with a float32 scale.
    """
    if saliency is not None and saliency.shape != weights.shape:
        raise ConvertError(f"saliency of shape {saliency.shape}, weights of {weights.shape}")
    weigh = np.ones_like(weights) if saliency is None else saliency
    low, below = _side(-weights, weigh)
    high, above = _side(weights, weigh)
    top = max(low, high)
    scale = np.asarray(scales_of(np.array([top / _LARGEST]), None), np.float32)
    numbers = np.rint(np.array([-low, 0.0, high]) / np.float64(scale))
    levels = np.clip(numbers, -_LARGEST, _LARGEST).astype("<i2")
    symbols = 1 + above.astype(np.int8) - below.astype(np.int8)
    return Quantized(symbols.astype(np.uint8), Codebook(DType.INT16, levels, scale))


def _side(weights: F64, weigh: F64) -> tuple[float, npt.NDArray[np.bool_]]:
    """Return the best level for the positive weights, and where it stands."""
    flat = weights.reshape(-1)
    there = np.flatnonzero(flat > 0)
    if not there.size:
        return 0.0, np.zeros(weights.shape, np.bool_)
    order = there[np.argsort(-flat[there], kind="stable")]
    exponent = int(np.frexp(flat[order[0]])[1])  # so that no square overflows
    size, mass = np.ldexp(flat[order], -exponent), weigh.reshape(-1)[order]
    masses, sums = np.cumsum(mass), np.cumsum(mass * size)
    levels = sums / np.where(masses > 0, masses, 1.0)
    last = np.append(size[1:] != size[:-1], True)  # equal weights stay together
    best = int(np.argmax(np.where(last, levels * sums, -1.0)))
    chosen = np.zeros(flat.size, np.bool_)
    chosen[order[: best + 1]] = True
    return float(np.ldexp(levels[best], exponent)), chosen.reshape(weights.shape)
