"""Equal ranges for the channels between two layers: what one makes smaller the next makes larger.

Nagel, van Baalen, Blankevoort and Welling 2019, "Data-Free Quantization Through Weight Equalization
and Bias Correction", section 4.1: the factor of channel i is sqrt(r1 / r2), r1 and r2 being its
largest weights in the layer that makes it and in the one that takes it. Here it is the nearest
power of two, by which floats are multiplied exactly: as long as nothing overflows or gets too small
to be normal, the network before quantization gives the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from dcformat.model import Feed, Model, Tensor

from .quantized import by_channel, spread
from .reals import F64, REALS, as_type, reals_of

I64 = npt.NDArray[np.int64]

#: Passes over all pairs of layers; ranges are equal within a few.
ROUNDS = 20
_MOST = 64  #: exponent of a factor


def equal_exponents(first: F64, out_axis: int, second: F64, in_axis: int) -> I64:
    """Return e for each channel: `first` is to be divided by 2**e and `second` multiplied.

    `first` and `second` are finite weights whose axes have one length, n; the result has shape
    (n,). It is 0 where either side is all zeros. Raises ValueError if the axes do not match.
    """
    if first.shape[out_axis] != second.shape[in_axis]:
        raise ValueError(f"{first.shape[out_axis]} channels feed {second.shape[in_axis]}")
    mine, theirs = (
        np.abs(by_channel(w, axis)).max(axis=1, initial=0.0)
        for w, axis in ((first, out_axis), (second, in_axis))
    )
    both = (mine > 0) & (theirs > 0)
    (m1, e1), (m2, e2) = np.frexp(np.where(both, mine, 1.0)), np.frexp(np.where(both, theirs, 1.0))
    # r1 / r2 is in [2**(d - 1), 2**d): half of its logarithm rounds to floor(d / 2)
    d = e1.astype(np.int64) - e2 + (m1 >= m2)
    return np.where(both, np.clip(d // 2, -_MOST, _MOST), 0)


def scaled(weights: F64, exponents: I64, axis: int) -> F64:
    """Return weights times 2**exponents, one for each index of `axis`."""
    return np.ldexp(weights, spread(exponents, weights.ndim, axis))


def equalized(model: Model, wanted: Callable[[Tensor], bool] = lambda tensor: True) -> Model:
    """Return `model` with equal ranges along its feeds, as far as powers of two go.

    Weights and biases change, and the network they make does not. A feed is left as it is unless
    both its weights are `wanted`.
    """
    data: dict[str, F64] = {}
    tensors = {tensor.name: tensor for tensor in model.tensors}
    feeds = [
        feed
        for feed in model.feeds
        if wanted(tensors[feed.first])
        and wanted(tensors[feed.second])
        and _movable(feed, tensors, data)
    ]
    original = {name: array.copy() for name, array in data.items()}
    for _ in range(ROUNDS):
        moved = [_move(feed, data) for feed in feeds]
        if not any(moved):
            break
    changed = {n: w for n, w in data.items() if not np.array_equal(w, original[n])}
    return replace(model, tensors=tuple(_with(tensor, changed) for tensor in model.tensors))


def _movable(feed: Feed, tensors: Mapping[str, Tensor], data: dict[str, F64]) -> bool:
    """Tell whether a feed's tensors are finite real numbers, and note these."""
    names = [name for name in (feed.first, feed.bias, feed.second) if name is not None]
    mine = [tensors[name] for name in names]
    if any(t.dtype not in REALS or not t.size for t in mine):
        return False
    arrays = {t.name: reals_of(t.data, t.dtype) for t in mine}
    if not all(np.all(np.isfinite(array)) for array in arrays.values()):
        return False
    data.update({name: array for name, array in arrays.items() if name not in data})
    return True


def _move(feed: Feed, data: dict[str, F64]) -> bool:
    """Move factors along one feed; tell whether there were any."""
    first, second = data[feed.first], data[feed.second]
    exponents = equal_exponents(first, feed.out_axis, second, feed.in_axis)
    data[feed.first] = scaled(first, -exponents, feed.out_axis)
    data[feed.second] = scaled(second, exponents, feed.in_axis)
    if feed.bias is not None:
        data[feed.bias] = scaled(data[feed.bias], -exponents, 0)
    return bool(exponents.any())


def _with(tensor: Tensor, changed: Mapping[str, F64]) -> Tensor:
    if tensor.name not in changed:
        return tensor
    return Tensor(tensor.name, tensor.dtype, as_type(changed[tensor.name], tensor.dtype))
