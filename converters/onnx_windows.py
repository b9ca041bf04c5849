"""The windows of a convolution: what of its input meets the weights at a place of its output.

Sister files: onnx_trial.py (finds convolutions), onnx_simulate.py and tools/_trials_gram.py (ask).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Window:
    """How a convolution goes over its input; `pads` are those of ONNX, unless `auto_pad` says."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[int, ...]
    auto_pad: str
    groups: int

    def places(self, sizes: list[int]) -> list[int]:
        """Return the sizes of the output for an input of these sizes."""
        before, after = self.padding(sizes)
        return [
            (n + a + b - (k - 1) * d - 1) // s + 1
            for n, a, b, k, d, s in zip(
                sizes, before, after, self.kernel, self.dilations, self.strides, strict=True
            )
        ]

    def padding(self, sizes: list[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the zeros before and after each axis."""
        rank = len(sizes)
        if self.auto_pad == "VALID":
            return (0,) * rank, (0,) * rank
        if self.auto_pad in ("", "NOTSET"):
            return self.pads[:rank], self.pads[rank:]
        totals = []
        for n, k, d, s in zip(sizes, self.kernel, self.dilations, self.strides, strict=True):
            totals.append(max(0, ((n + s - 1) // s - 1) * s + (k - 1) * d + 1 - n))
        low, high = tuple(t // 2 for t in totals), tuple(t - t // 2 for t in totals)
        return (low, high) if self.auto_pad == "SAME_UPPER" else (high, low)


def gathered(window: Window, values: Array, chosen: npt.NDArray[np.int64]) -> Array:
    """Return what meets the weights, (chosen, groups, columns).

    `chosen` numbers the places of the output, sample by sample, in row-major order.
    """
    samples, channels, *sizes = values.shape
    before, after = window.padding(sizes)
    padded = np.pad(values, [(0, 0), (0, 0), *zip(before, after, strict=True)])
    outs = window.places(sizes)
    places = prod(outs)
    starts = np.unravel_index(chosen % places, outs)
    offsets = np.unravel_index(np.arange(prod(window.kernel)), window.kernel)
    spots = [
        start[:, None] * s + offset[None, :] * d
        for start, s, offset, d in zip(
            starts, window.strides, offsets, window.dilations, strict=True
        )
    ]
    flat = np.ravel_multi_index(spots, padded.shape[2:])
    spread = padded.reshape(samples, channels, -1)
    at = spread[(chosen // places)[:, None, None], np.arange(channels)[:, None], flat[:, None, :]]
    return at.reshape(len(chosen), window.groups, -1)
