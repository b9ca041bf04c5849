"""The content of a GRAPH section of format ONNX: a list of holes and a skeleton.

Spec: spec/DCF.md, section GRAPH. Sister files: onnx_wire.py (makes and fills the skeleton),
read_onnx.py, write_onnx.py.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

from dcformat.errors import Code, CorruptError, LimitError
from dcformat.ids import MAX_TENSORS

from .onnx_wire import DATA_FIELDS

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
    if len(content) < _COUNT.size:
        raise CorruptError("the graph ends inside its hole count", code=Code.TRUNCATED)
    (count,) = _COUNT.unpack_from(content)
    if count > MAX_TENSORS:
        raise LimitError(f"the graph has {count} holes, more than {MAX_TENSORS}")
    start = _COUNT.size + count * _HOLE.size
    if start > len(content):
        raise CorruptError("the graph ends inside its holes", code=Code.TRUNCATED)
    holes = [Hole(*values) for values in _HOLE.iter_unpack(content[_COUNT.size : start])]
    skeleton = bytes(content[start:])
    _check(holes, len(skeleton), tensors)
    return holes, skeleton


def _check(holes: list[Hole], size: int, tensors: int) -> None:
    last = -1
    for number, hole in enumerate(holes):
        if not last < hole.position <= size:
            raise CorruptError(f"hole {number} of the graph: position {hole.position} is not legal")
        if hole.tensor >= tensors:
            raise CorruptError(f"hole {number} of the graph: there is no tensor {hole.tensor}")
        if hole.field not in DATA_FIELDS:
            raise CorruptError(f"hole {number} of the graph: {hole.field} is not a data field")
        last = hole.position
