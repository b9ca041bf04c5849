"""What the tensors of a .dcf are for, from the ONNX graph that the file carries.

Spec: spec/DCF.md, section GRAPH. Sister files: write_onnx.py (puts numbers back into the same
skeleton), onnx_uses.py (the same from a whole model).
"""

from __future__ import annotations

import struct
from math import prod
from typing import Any

from onnx import ModelProto

from dcformat.errors import CorruptError, DcfError
from dcformat.file import File
from dcformat.graph import decode_graph
from dcformat.ids import DType, GraphFormat
from dcformat.model import Use

from . import onnx_wire as wire
from .onnx_scopes import Site, program_of
from .onnx_uses import uses_of

_SMALL = 64  # elements of a shape that is worth reading


def uses_of_graph(data: bytes, tensors: int) -> dict[int, Use]:
    """Return the uses of records by their indices; `data` is Graph.data of a file of `tensors`.

    Raises DcfError where the section does not hold an ONNX graph with holes.
    """
    model, paths = opened(data, tensors)
    uses = uses_of(program_of(model), _integers)
    return {index: uses[path] for index, path in paths.items() if path in uses}


def uses_of_file(file: File) -> dict[int, Use]:
    """Return the uses of a file's records; none where it has no ONNX graph that can be read."""
    try:
        graph = file.graph
        if graph is None or graph.format != GraphFormat.ONNX:
            return {}
        return uses_of_graph(graph.data, len(file.opened.records))
    except DcfError:  # who checks the file says so
        return {}


def opened(data: bytes, tensors: int) -> tuple[Any, dict[int, wire.Path]]:
    """Return the ModelProto without its numbers, and the path of each record's TensorProto.

    Of a record that stands in the graph several times it is the first path.
    """
    holes, skeleton = decode_graph(data, tensors)
    found = wire.scan_skeleton(skeleton)
    owners = wire.holders(skeleton, found, [hole.position for hole in holes])
    try:
        model = ModelProto.FromString(skeleton)
    except Exception as error:  # protobuf's DecodeError, whichever implementation raises it
        raise CorruptError("the graph is not a ModelProto", place="section GRAPH") from error
    paths: dict[int, wire.Path] = {}
    for hole, owner in zip(holes, owners, strict=True):
        paths.setdefault(hole.tensor, found.tensors[owner].path)
    return model, paths


def _integers(site: Site) -> list[int] | None:
    """Return the values of a small INT64 tensor that stayed in the graph, None of others."""
    proto = site.proto
    count = prod(site.dims)
    if proto.data_type != DType.INT64 or not 0 <= count <= _SMALL:
        return None
    if len(proto.int64_data) == count:
        return [int(n) for n in proto.int64_data]
    if len(proto.raw_data) == 8 * count:
        return list(struct.unpack(f"<{count}q", proto.raw_data))
    return None
