"""Second moments of what meets a weight's columns, on data that goes by in batches.

Sister files: converters/onnx_trial.py (where a weight meets what), tools/_trials_run.py (feeds).

Of all rows at most so many are looked at, by a stride that goes on from batch to batch and shares
no factor with the positions of a sample, so that all positions are met. The numbers are rounded to
multiples of a power of two, so that none is above 2^11 of them: sums of their products are exact in
float64, whatever the order in which they are made.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from math import gcd, prod
from typing import Any

import numpy as np
import numpy.typing as npt

from dcformat.converters.onnx_trial import Meeting
from dcformat.converters.onnx_windows import Window, gathered
from dcformat.errors import ConvertError

F64 = npt.NDArray[np.float64]
Array = npt.NDArray[Any]

STEPS_LOG2 = 11
MOST_COLUMNS = 1 << 16
BLOCK = 1024  #: columns whose products with each other are summed; those between blocks are not


@dataclass
class Picker:
    """Which rows are looked at: each `stride`-th of all, `first` the next one.

    `rows` is about how many of a sample that shall be; it may be below 1.
    """

    rows: float
    stride: int = 0
    first: int = 0

    def pick(self, count: int, period: int) -> npt.NDArray[np.int64]:
        """Return which of the next `count` rows, in samples of `period`, are looked at."""
        if not self.stride:
            self.stride = stride_of(period, self.rows)
        chosen = np.arange(self.first, count, self.stride)
        self.first = (self.first - count) % self.stride
        return chosen


@dataclass
class Moments:
    """Sums over rows of x and of x x^T, group by group."""

    groups: int
    columns: int
    count: int = 0
    products: list[F64] = field(init=False)
    sums: F64 = field(init=False)

    def __post_init__(self) -> None:
        sizes = [span.stop - span.start for span in spans(self.columns)]
        self.products = [np.zeros((self.groups, size, size)) for size in sizes]
        self.sums = np.zeros((self.groups, self.columns))

    def add(self, rows: F64) -> None:
        """Add `rows` (count, groups, columns)."""
        step = step_of(rows)
        whole = np.rint(rows / step)
        for group in range(self.groups):
            part = np.ascontiguousarray(whole[:, group])
            for total, span in zip(self.products, spans(self.columns), strict=True):
                block = part[:, span]
                total[group] += (block.T @ block) * (step * step)
            self.sums[group] += part.sum(axis=0) * step
        self.count += len(rows)

    @property
    def blocks(self) -> list[F64]:
        """The mean products of consecutive columns, (groups, c, c) each."""
        return [total / max(1, self.count) for total in self.products]

    @property
    def mean(self) -> F64:
        return self.sums / max(1, self.count)


def spans(columns: int) -> list[slice]:
    """Return runs of at most BLOCK columns, as even as can be."""
    count = -(-columns // BLOCK)
    edges = [columns * i // count for i in range(count + 1)]
    return [slice(a, b) for a, b in pairwise(edges)]


def step_of(rows: F64) -> float:
    """Return the power of two of which no number is 2^STEPS_LOG2 multiples."""
    high = float(np.max(np.abs(rows), initial=0.0))
    if not np.isfinite(high):
        raise ConvertError("the model gives infinities or NaN on the calibration data")
    return float(2.0 ** (np.frexp(high)[1] - STEPS_LOG2)) if high else 1.0


def moments_of(meeting: Meeting) -> Moments:
    groups = meeting.window.groups if meeting.window else 1
    return Moments(groups, meeting.columns)


def rows_of(meeting: Meeting, values: Array, picker: Picker) -> F64:
    """Return rows (count, groups, columns) of what meets a weight."""
    if meeting.window is not None:
        rows = _windows(meeting.window, values, picker)
    else:
        rows = _vectors(meeting.axis, values, picker)
    if rows.shape[2] != meeting.columns:
        raise ConvertError(f"{meeting.value!r} does not fit the weight that it meets")
    return np.asarray(rows * meeting.scale)


def _vectors(axis: int, values: Array, picker: Picker) -> F64:
    last = np.moveaxis(values, max(axis, -values.ndim), -1)
    flat = last.reshape(-1, last.shape[-1])
    chosen = picker.pick(len(flat), prod(last.shape[1:-1]))
    return np.asarray(flat[chosen], np.float64)[:, None, :]


def _windows(window: Window, values: Array, picker: Picker) -> F64:
    """Gather the inputs of a convolution at some positions of its output."""
    places = prod(window.places(list(values.shape[2:])))
    chosen = picker.pick(len(values) * places, places)
    return np.asarray(gathered(window, values, chosen), np.float64)


def stride_of(period: int, rows: float) -> int:
    """Return a step that takes about `rows` of each `period`, all its positions alike."""
    step = max(1, round(period / rows))
    while step > 1 and gcd(step, max(1, period)) > 1:
        step += 1
    return step
