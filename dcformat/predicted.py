"""Vectors of a graph that the file's tensors predict, and what differs from the prediction.

Spec: spec/DCF.md, section GRAPH, "PREDICTED". Sisters: graph.py (what is predicted inside of),
predictable.py (which vectors the encoder finds).

A graph of TFLite says again what the tensors' scales are, the biases' scales, which are products of
them, and the range of floats that was made integers of. What is stored in their place is nearly
all zeros.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from .coded import Affine, Values
from .errors import Code, error_of
from .fields import Fields
from .ids import MAX_TENSORS, DType, GraphFormat, Prediction
from .model import Array, Graph

F32 = npt.NDArray[np.float32]
U32 = npt.NDArray[np.uint32]
_PLACE = "section GRAPH"
_VECTOR = struct.Struct("<IIBf")
_COUNT = struct.Struct("<I")


class Vector(NamedTuple):
    """The float32 numbers at byte `position` are about `factor` times what a tensor says."""

    position: int
    tensor: int
    prediction: int
    factor: float


Predict = Callable[[int, int], F32]  # of a tensor's index and a Prediction


def prediction_of(values: Affine, kind: int, extremes: Callable[[], tuple[Array, Array]]) -> F32:
    """Return one number for each index of the axis.

    `extremes` gives the least and the greatest number at each.
    """
    if kind == Prediction.SCALE:
        return values.scale
    number = extremes()[kind == Prediction.MOST].astype(np.float32)
    with np.errstate(over="ignore", under="ignore"):
        found: F32 = (number - values.zero_point.astype(np.float32)) * values.scale
    return found


def can_predict(dtype: int, values: Values | None, elements: int) -> bool:
    """Tell whether a tensor has a scale for each index of an axis, and all are finite."""
    if not isinstance(values, Affine) or dtype != DType.FLOAT or not elements:
        return False
    return values.axis is not None and not values.block and bool(np.isfinite(values.scale).all())


def extremes_of(numbers: Array, axis: int) -> tuple[Array, Array]:
    """Return the least and the greatest of the numbers at each index of an axis."""
    rest = tuple(a for a in range(numbers.ndim) if a != axis)
    return numbers.min(axis=rest), numbers.max(axis=rest)


class Restored(NamedTuple):
    """A graph as it was, and the vectors in it that were predicted."""

    graph: Graph
    vectors: list[Vector]


def restore(content: bytes, tensors: int, predict: Predict) -> Restored:
    """Return the graph of which `differ` made `content`.

    `content` is what stands behind the section's format, `tensors` the number of records.
    """
    fields = Fields(memoryview(content), _PLACE)
    inner = fields.u8()
    if inner not in set(GraphFormat) - {GraphFormat.PREDICTED}:
        raise error_of(Code.UNSUPPORTED, f"graph format {inner}, predicted", _PLACE)
    count = fields.u32()
    fields.need(_VECTOR.size * count <= fields.left, "ends inside its vectors", Code.TRUNCATED)
    fields.need(count <= MAX_TENSORS, f"{count} vectors", Code.LIMIT)
    vectors = [Vector(*row) for row in _VECTOR.iter_unpack(fields.take(_VECTOR.size * count))]
    data = np.array(fields.take(fields.left))
    end = 0
    for number, vector in enumerate(vectors):
        end = _restore(fields, f"vector {number}:", vector, end, data, tensors, predict)
    return Restored(Graph(inner, data.tobytes()), vectors)


def _restore(
    fields: Fields,
    which: str,
    vector: Vector,
    end: int,
    data: npt.NDArray[np.uint8],
    tensors: int,
    predict: Predict,
) -> int:
    """Put numbers in the place of differences; return where they end."""
    fields.need(vector.position >= end, f"{which} position {vector.position} is not legal")
    fields.need(vector.tensor < tensors, f"{which} there is no tensor {vector.tensor}")
    fields.need(vector.prediction in set(Prediction), f"{which} prediction {vector.prediction}")
    factor = np.float32(vector.factor)
    fields.need(bool(np.isfinite(factor) and factor), f"{which} factor {factor}")
    wanted = expected(predict(vector.tensor, vector.prediction), vector.factor)
    stop = vector.position + 4 * wanted.size
    fields.need(stop <= data.size, f"{which} ends at {stop} of {data.size}")
    planes = data[vector.position : stop].reshape(4, -1)
    bits = wanted + _signed(np.ascontiguousarray(planes.T).view("<u4").reshape(-1))
    data[vector.position : stop] = bits.astype("<u4").view(np.uint8)
    return stop


def differ(graph: Graph, vectors: Sequence[Vector], predict: Predict) -> bytes:
    """Return the content of a predicted graph after its format: the inverse of `restore`."""
    out = np.frombuffer(graph.data, np.uint8).copy()
    for vector in vectors:
        wanted = expected(predict(vector.tensor, vector.prediction), vector.factor)
        place = slice(vector.position, vector.position + 4 * wanted.size)
        found = differences(out[place].view("<u4"), wanted)
        out[place] = found.astype("<u4").view(np.uint8).reshape(-1, 4).T.reshape(-1)
    head = bytes([graph.format]) + _COUNT.pack(len(vectors))
    return b"".join([head, *(_VECTOR.pack(*vector) for vector in vectors), out.tobytes()])


def expected(prediction: F32, factor: float) -> U32:
    """Return the bits of a prediction times a factor."""
    with np.errstate(over="ignore", under="ignore"):
        found: F32 = prediction.astype(np.float32) * np.float32(factor)
    return found.view(np.uint32)


def differences(bits: U32, wanted: U32) -> U32:
    """Return what is stored of bits: the difference, its sign in the lowest bit."""
    away: U32 = bits - wanted
    found: U32 = (away << np.uint32(1)) ^ (np.uint32(0) - (away >> np.uint32(31)))
    return found


def _signed(stored: U32) -> U32:
    found: U32 = (stored >> np.uint32(1)) ^ (np.uint32(0) - (stored & np.uint32(1)))
    return found
