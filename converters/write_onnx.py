"""Write .onnx: the numbers of a model put back into the skeleton they were cut from.

Spec: spec/DCF.md, section GRAPH. Sister file: read_onnx.py. With unchanged numbers the file is
the source again, byte for byte; external data comes back inside the file.
"""

from __future__ import annotations

from pathlib import Path

from onnx import ModelProto

from dcformat.errors import ConvertError, CorruptError, DcfError
from dcformat.files import atomic_output
from dcformat.formats import Writer
from dcformat.ids import GraphFormat
from dcformat.model import Model, Tensor

from . import onnx_wire as wire
from .onnx_data import encode, stored_bytes
from .onnx_graph import Hole, decode_graph
from .onnx_scopes import follow


def write(model: Model, path: Path) -> None:
    """Write `model` as an ONNX file of one piece, whole or not at all.

    Raises ConvertError where the model has no ONNX graph or would take more than 2 GiB, and
    CorruptError where graph and tensors do not fit each other.
    """
    try:
        data = serialized(model)
    except DcfError as error:
        raise error.at(str(path)) from error.__cause__
    with atomic_output(path) as stream:
        stream.write(data)


def serialized(model: Model) -> bytes:
    """Return the bytes of the ONNX file for `model`; errors as in `write`."""
    if model.graph is None:
        raise ConvertError("has no graph; only its tensors can be written, as .npz")
    if model.graph.format != GraphFormat.ONNX:
        raise ConvertError(f"has a graph of format {model.graph.format}, which is not ONNX")
    holes, skeleton = decode_graph(model.graph.data, len(model.tensors))
    total = len(skeleton) + sum(_size(model.tensors[hole.tensor]) for hole in holes)
    if total > wire.MAX_BYTES:
        raise ConvertError(f"would take {total} bytes, and an ONNX file holds at most 2 GiB")
    _check_fit(model, holes, skeleton)
    payloads = []
    for hole in holes:
        payloads.append(_payload(model, hole))
        total += max(0, len(payloads[-1][2]) - _size(model.tensors[hole.tensor]))
        if total > wire.MAX_BYTES:  # int32_data takes up to ten bytes an element
            raise ConvertError("would take more than the 2 GiB that an ONNX file holds")
    return wire.fill(skeleton, payloads)


def _size(tensor: Tensor) -> int:
    return stored_bytes(tensor.dtype, tensor.data.size)


def _payload(model: Model, hole: Hole) -> tuple[int, int, bytes]:
    tensor = model.tensors[hole.tensor]
    try:
        return hole.position, hole.field, encode(hole.field, tensor.dtype, tensor.data)
    except ConvertError as error:
        raise CorruptError(f"tensor {tensor.name!r}: {error.message}") from error


def _check_fit(model: Model, holes: list[Hole], skeleton: bytes) -> None:
    """Raise CorruptError where a hole's tensor has another type or shape than the graph says."""
    found = wire.scan_skeleton(skeleton)
    owners = wire.holders(skeleton, found, [hole.position for hole in holes])
    try:
        graph = ModelProto.FromString(skeleton)
    except Exception as error:  # protobuf's DecodeError, whichever implementation raises it
        raise CorruptError("the graph is not a ModelProto") from error
    for owner, hole in zip(owners, holes, strict=True):
        span, tensor = found.tensors[owner], model.tensors[hole.tensor]
        proto = follow(graph, span.path)
        if span.crowded or any(f.number in wire.DATA_FIELDS for f in span.fields):
            raise CorruptError(f"tensor {tensor.name!r} has data in the graph already")
        if (proto.data_type, tuple(proto.dims)) != (tensor.dtype, tensor.shape):
            raise CorruptError(
                f"tensor {tensor.name!r} has type {tensor.dtype.name} and shape {tensor.shape}, "
                f"the graph wants type {proto.data_type} and shape {tuple(proto.dims)[:9]}"
            )


WRITER = Writer("onnx", (".onnx",), write)
