"""The content of a GRAPH section: a list of holes and a skeleton.

Spec: spec/DCF.md, section GRAPH. Sisters, which make and fill skeletons: converters/onnx_wire.py,
converters/tflite_holes.py.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

from .errors import Code
from .fields import Fields
from .ids import MAX_TENSORS, DType, GraphFormat

#: TensorProto's data fields, all numeric and packed.
DATA_FIELDS = frozenset({4, 5, 7, 9, 10, 11})
#: What the last byte of a hole may be, and how it is called in errors.
_KINDS = {
    GraphFormat.ONNX: (DATA_FIELDS, "a data field"),
    GraphFormat.TFLITE: (frozenset(map(int, DType)), "an element type"),
}
_COUNT = struct.Struct("<I")
_HOLE = struct.Struct("<IIB")


class Hole(NamedTuple):
    """Insert the elements of tensor `tensor` at byte `position`, as field or type `field`."""

    position: int
    tensor: int
    field: int


def encode_graph(holes: Sequence[Hole], skeleton: bytes) -> bytes:
    """Return the content of the section after its format byte."""
    return b"".join([_COUNT.pack(len(holes)), *(_HOLE.pack(*hole) for hole in holes), skeleton])


def decode_graph(
    content: bytes, tensors: int, format: int = GraphFormat.ONNX
) -> tuple[list[Hole], bytes]:
    """Return holes and skeleton of a section that belongs to a file of `tensors` tensors.

    `format` is that of the section, which has been found to be a GraphFormat.

    Raises CorruptError (TRUNCATED, STRUCTURE) or LimitError.
    """
    fields = Fields(memoryview(content), "section GRAPH")
    count = fields.u32()
    size = count * _HOLE.size
    fields.need(size <= fields.left, f"ends inside its {count} holes", Code.TRUNCATED)
    fields.need(count <= MAX_TENSORS, f"{count} holes, more than {MAX_TENSORS}", Code.LIMIT)
    holes = [Hole(*values) for values in _HOLE.iter_unpack(fields.take(size))]
    skeleton = bytes(fields.take(fields.left))
    kind, first = GraphFormat(format), 0
    for number, hole in enumerate(holes):
        _check(fields, f"hole {number}:", hole, range(first, len(skeleton) + 1), tensors, kind)
        first = hole.position + (kind is GraphFormat.ONNX)
    return holes, skeleton


def _check(
    fields: Fields, which: str, hole: Hole, places: range, tensors: int, kind: GraphFormat
) -> None:
    known, name = _KINDS[kind]
    fields.need(hole.position in places, f"{which} position {hole.position} is not legal")
    fields.need(hole.tensor < tensors, f"{which} there is no tensor {hole.tensor}")
    fields.need(hole.field in known, f"{which} {hole.field} is not {name}")
