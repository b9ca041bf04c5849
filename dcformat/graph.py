"""The content of a GRAPH section of format ONNX: a list of holes and a skeleton.

Spec: spec/DCF.md, section GRAPH. Sister: converters/onnx_wire.py, which makes and fills the
skeleton.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

from .errors import Code
from .fields import Fields
from .ids import MAX_TENSORS

#: TensorProto's data fields, all numeric and packed.
DATA_FIELDS = frozenset({4, 5, 7, 9, 10, 11})
_COUNT = struct.Struct("<I")
_HOLE = struct.Struct("<IIB")


class Hole(NamedTuple):
    """Insert field `field` with the elements of tensor `tensor` at byte `position`."""

    position: int
    tensor: int
    field: int


def encode_graph(holes: Sequence[Hole], skeleton: bytes) -> bytes:
    """Return the content of the section after its format byte."""
    return b"".join([_COUNT.pack(len(holes)), *(_HOLE.pack(*hole) for hole in holes), skeleton])


def decode_graph(content: bytes, tensors: int) -> tuple[list[Hole], bytes]:
    """Return holes and skeleton of a section that belongs to a file of `tensors` tensors.

    Raises CorruptError (TRUNCATED, STRUCTURE) or LimitError.
    """
    fields = Fields(memoryview(content), "section GRAPH")
    count = fields.u32()
    size = count * _HOLE.size
    fields.need(size <= fields.left, f"ends inside its {count} holes", Code.TRUNCATED)
    fields.need(count <= MAX_TENSORS, f"{count} holes, more than {MAX_TENSORS}", Code.LIMIT)
    holes = [Hole(*values) for values in _HOLE.iter_unpack(fields.take(size))]
    skeleton = bytes(fields.take(fields.left))
    last = -1
    for number, hole in enumerate(holes):
        _check(fields, f"hole {number}:", hole, range(last + 1, len(skeleton) + 1), tensors)
        last = hole.position
    return holes, skeleton


def _check(fields: Fields, which: str, hole: Hole, places: range, tensors: int) -> None:
    fields.need(hole.position in places, f"{which} position {hole.position} is not legal")
    fields.need(hole.tensor < tensors, f"{which} there is no tensor {hole.tensor}")
    fields.need(hole.field in DATA_FIELDS, f"{which} {hole.field} is not a data field")
