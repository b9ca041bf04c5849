"""Which vectors of a graph the tensors predict: found by their numbers, whatever the graph is.

Spec: spec/DCF.md, section GRAPH, "PREDICTED". Sister: predicted.py

A vector is looked for where four bytes say its length, as in a FlatBuffer. A bias's scales are a
weight's times one factor; ranges are near the least and the greatest number times its scale.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .coded import Affine, CodedTensor
from .container import smaller
from .ids import GraphFormat, Prediction, Section
from .model import Array, Graph, windows
from .predicted import F32, U32, Vector, can_predict, differ, differences, expected, prediction_of
from .sections import write_graph

LEAST_LENGTH = 4  #: numbers of a vector; what says where it stands takes 13 bytes
MOST_BITS = 22.0  #: of a difference, on average; a number as it is takes about 28
MOST_BYTES = 1 << 26  #: of a graph that is searched


@dataclass(frozen=True, eq=False)
class Side:
    """A tensor that may predict: `values` have an axis."""

    index: int
    tensor: CodedTensor
    values: Affine
    axis: int

    @property
    def length(self) -> int:
        return self.tensor.shape[self.axis]

    @cached_property
    def extremes(self) -> tuple[Array, Array]:
        """The least and the greatest number at each index of the axis."""
        least = np.full(self.length, np.iinfo(np.int32).max)
        most = np.full(self.length, np.iinfo(np.int32).min)
        rest = tuple(a for a in range(len(self.tensor.shape)) if a != self.axis)
        for window in windows(self.tensor.shape):
            part = self.tensor.numbers(window)
            at = window[self.axis] if self.axis < len(window) else slice(None)
            least[at] = np.minimum(least[at], part.min(axis=rest))
            most[at] = np.maximum(most[at], part.max(axis=rest))
        return least, most

    def predict(self, kind: int) -> F32:
        return prediction_of(self.values, kind, lambda: self.extremes)


def sides_of(tensors: Sequence[CodedTensor]) -> Iterator[Side]:
    """Yield the tensors that may predict."""
    for index, tensor in enumerate(tensors):
        values = tensor.values
        if can_predict(tensor.dtype, values, tensor.size) and isinstance(values, Affine):
            side = Side(index, tensor, values, values.axis or 0)
            if side.length >= LEAST_LENGTH:
                yield side


def content_of(graph: Graph, sides: Sequence[Side]) -> bytes:
    """Return the content of GRAPH: with what tensors predict left out, where that is smaller."""
    plain = write_graph(graph)
    vectors = find(graph.data, sides)
    if not vectors:
        return plain
    by_index = {side.index: side for side in sides}
    data = differ(graph, vectors, lambda i, kind: by_index[i].predict(kind))
    return min(plain, bytes([GraphFormat.PREDICTED]) + data, key=_stored_size)


def _stored_size(content: bytes) -> int:
    return len(smaller(Section.GRAPH, content)[1])


def find(data: bytes, sides: Sequence[Side]) -> list[Vector]:
    """Return the vectors in `data` that are worth predicting, in their order."""
    if len(data) > MOST_BYTES:
        return []
    by_length: dict[int, list[Side]] = {}
    for side in sides:
        by_length.setdefault(side.length, []).append(side)
    found: list[Vector] = []
    end = 0
    for start, length in _places(data, by_length):
        if start >= end:
            bits = np.frombuffer(data, "<u4", length, start)
            vector = _best(bits, start, by_length[length])
            if vector is not None:
                found.append(vector)
                end = start + 4 * length
    return found


def _places(data: bytes, lengths: Mapping[int, object]) -> list[tuple[int, int]]:
    """Return where vectors of these lengths may stand: behind four bytes that say so."""
    found = []
    wanted = np.array(sorted(lengths), np.uint32)
    for skew in range(4):
        words = np.frombuffer(data[: skew + (len(data) - skew) // 4 * 4], "<u4", offset=skew)
        for at in np.flatnonzero(np.isin(words, wanted)).tolist():
            start, length = skew + 4 * at + 4, int(words[at])
            if start + 4 * length <= len(data):
                found.append((start, length))
    return sorted(found)


def _best(bits: U32, start: int, sides: Sequence[Side]) -> Vector | None:
    """Return what predicts a vector best, None where nothing does well."""
    numbers = bits.view(np.float32)
    if not np.isfinite(numbers).all() or not numbers.any():
        return None
    best, cost = None, MOST_BITS * bits.size
    for side in sides:
        for kind, prediction, factor in _tries(side, numbers):
            bill = _cost(differences(bits, expected(prediction, factor)))
            if bill < cost:
                best, cost = Vector(start, side.index, kind, factor), bill
    return best


def _tries(side: Side, numbers: F32) -> Iterator[tuple[int, F32, float]]:
    scale = side.values.scale
    factor = _factor(scale, numbers)
    if factor is not None:
        yield Prediction.SCALE, scale, factor
        return
    for kind in (Prediction.LEAST, Prediction.MOST):
        yield kind, side.predict(kind), 1.0


def _factor(scale: F32, numbers: F32) -> float | None:
    """Return the float32 that scales are multiplied with to give `numbers`, None for none."""
    if not scale.all():
        return None
    ratio = numbers.astype(np.float64) / scale
    step = np.spacing(np.abs(numbers)).astype(np.float64) / np.abs(scale) / 2
    low, high = float((ratio - step).max()), float((ratio + step).min())
    if low > high:
        return None
    with np.errstate(over="ignore", under="ignore"):
        factor = 1.0 if low <= 1 <= high else float(np.float32((low + high) / 2))
    return factor if factor and np.isfinite(factor) else None


def _cost(stored: U32) -> float:
    """Return about how many bits differences take."""
    return float(np.ceil(np.log2(stored.astype(np.float64) + 1)).sum())
