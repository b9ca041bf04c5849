"""Biases that make up for what quantized weights add to a layer's mean output.

Nagel, van Baalen, Blankevoort and Welling 2019, "Data-Free Quantization Through Weight Equalization
and Bias Correction", section 4.2: with the error E of the weights the mean output is E E[x] off,
which the bias takes back. E[x] comes from data, or from the norm and the ReLU before the layer.
"""

from __future__ import annotations

import numpy as np

from .reals import F64

_TERMS = 160
_FAR = 6.0  #: standard deviations beyond which a normal distribution is not told from a step


def corrected_bias(
    bias: F64, weights: F64, quantized: F64, means: F64, out_axis: int, in_axis: int
) -> F64:
    """Return bias - (quantized - weights) E[x], of shape (out,).

    `means` is E[x] for each input channel, (in,), everywhere in the picture alike; `weights` and
    `quantized` have one shape. With one axis for both (depthwise) a channel meets its own mean.
    Raises ValueError if the shapes do not fit.
    """
    shape = weights.shape
    if quantized.shape != shape or means.shape != (shape[in_axis],):
        raise ValueError(f"weights {shape}, quantized {quantized.shape}, means {means.shape}")
    if bias.shape != (shape[out_axis],):
        raise ValueError(f"bias {bias.shape}, weights {shape}")
    front = (out_axis,) if out_axis == in_axis else (out_axis, in_axis)
    wrong = np.moveaxis(quantized - weights, front, range(len(front)))
    each = np.cumsum(wrong.reshape(*wrong.shape[: len(front)], -1), axis=-1)[..., -1]
    if out_axis == in_axis:
        return np.asarray(bias - each * means, np.float64)
    return np.asarray(bias - np.cumsum(each * means, axis=1)[:, -1], np.float64)


def relu_means(shift: F64, scale: F64) -> F64:
    """Return E[max(0, x)] of x normal with mean `shift` and standard deviation |scale|.

    Of a norm's output these are its beta and gamma. From sums and products only, so that it is the
    same on every machine.
    """
    spread = np.abs(scale)
    safe = np.where(spread > 0, spread, 1.0)
    z = np.clip(shift / safe, -_FAR, _FAR)
    bell = _bell(z)
    inside = 0.5 + bell * _series(z)
    mean = np.where(z <= -_FAR, 0.0, np.where(z >= _FAR, shift, spread * bell + shift * inside))
    return np.asarray(np.where(spread > 0, np.maximum(mean, 0.0), np.maximum(shift, 0.0)))


def _bell(z: F64) -> F64:
    """Return exp(-z^2 / 2) / sqrt(2 pi), the exponential as a sum of terms of one sign."""
    half, term, whole = z * z / 2, np.ones_like(z), np.ones_like(z)
    for n in range(1, _TERMS):
        term = term * half / n
        whole = whole + term
    return np.asarray(1.0 / (whole * 2.5066282746310002))


def _series(z: F64) -> F64:
    """Return (Phi(z) - 1/2) / phi(z) = z + z^3 / 3 + z^5 / 15 + ..."""
    term, whole = z.copy(), z.copy()
    for n in range(1, _TERMS):
        term = term * z * z / (2 * n + 1)
        whole = whole + term
    return np.asarray(whole)
