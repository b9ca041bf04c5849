"""Write .onnx: the numbers of a model put back into the skeleton they were cut from.

Spec: spec/DCF.md, section GRAPH. Sister files: read_onnx.py, onnx_numbers.py, onnx_pair.py. With
unchanged numbers the file is the source again, byte for byte; external data comes back inside the
file unless it is asked for outside. A tensor is in memory only while it is written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from onnx import ModelProto

from dcformat.errors import ConvertError, CorruptError, DcfError
from dcformat.files import atomic_output
from dcformat.formats import Writer
from dcformat.graph import DATA_FIELDS, Hole, decode_graph
from dcformat.ids import GraphFormat
from dcformat.model import Model, Tensor

from . import onnx_wire as wire
from .onnx_data import RAW_DATA, stored_bytes
from .onnx_numbers import payload, payload_size
from .onnx_pair import MIN_OUTSIDE, aligned, atomic_pair, data_path, reference
from .onnx_scopes import follow

_EXTERNAL = 1  # TensorProto.DataLocation
_HINT = "; external=True (dcconvert --external) puts the numbers into a file beside it"


@dataclass(frozen=True)
class _Opened:
    """A model whose graph and tensors fit each other; `owners` are the holes' TensorProtos."""

    model: Model
    skeleton: bytes
    found: wire.Scan
    holes: list[Hole]
    owners: list[int]

    def tensor(self, hole: int) -> Tensor:
        return self.model.tensors[self.holes[hole].tensor]


def write(model: Model, path: Path, external: bool = False) -> None:
    """Write `model` as an ONNX file, whole or not at all.

    With `external` the numbers of tensors above 1 KiB stand in a second file, named as the first
    one and `.data`; the model needs it beside it. Both are written, or neither. Raises ConvertError
    where the model has no ONNX graph or would take more than 2 GiB, and CorruptError where graph
    and tensors do not fit each other.
    """
    path = Path(path)
    with _named(path):
        opened = _open(model)
        if external:
            _write_pair(opened, path)
        else:
            pieces = _pieces(opened, {}, "", _HINT)
            with atomic_output(path) as stream:
                _pour(opened, pieces, stream)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Give errors that do not say where they are the place `path`."""
    try:
        yield
    except DcfError as error:
        if error.place:
            raise
        raise error.at(str(path)) from error.__cause__


def _open(model: Model) -> _Opened:
    if model.graph is None:
        why = "".join(f" ({note})" for note in model.notes if note.startswith("no graph: "))
        raise ConvertError(f"has no graph{why}; its tensors can be written as .safetensors or .npz")
    if model.graph.format != GraphFormat.ONNX:
        raise ConvertError(f"has a graph of format {model.graph.format}, which is not ONNX")
    holes, skeleton = decode_graph(model.graph.data, len(model.tensors))
    found = wire.scan_skeleton(skeleton)
    owners = wire.holders(skeleton, found, [hole.position for hole in holes])
    opened = _Opened(model, skeleton, found, holes, owners)
    _check_fit(opened)
    return opened


def _check_fit(opened: _Opened) -> None:
    """Raise CorruptError where a hole's tensor has another type or shape than the graph says."""
    try:
        graph = ModelProto.FromString(opened.skeleton)
    except Exception as error:  # protobuf's DecodeError, whichever implementation raises it
        raise CorruptError("the graph is not a ModelProto") from error
    for number, owner in enumerate(opened.owners):
        span, tensor = opened.found.tensors[owner], opened.tensor(number)
        proto = follow(graph, span.path)
        full = span.crowded or any(f.number in DATA_FIELDS for f in span.fields)
        if full or proto.data_location == _EXTERNAL:
            raise CorruptError(f"tensor {tensor.name!r} has data in the graph already")
        if (proto.data_type, tuple(proto.dims)) != (tensor.dtype, tensor.shape):
            raise CorruptError(
                f"tensor {tensor.name!r} has type {tensor.dtype.name} and shape {tensor.shape}, "
                f"the graph wants type {proto.data_type} and shape {tuple(proto.dims)[:9]}"
            )


def _pieces(
    opened: _Opened, offsets: dict[int, int], location: str, hint: str = ""
) -> list[wire.Piece]:
    """Return the model in pieces, numbers for the payloads of holes.

    Holes with an offset get a reference to `location`. `hint` ends the error of a model too large.
    """
    changes = [
        _reference(opened, number, offsets[number], location)
        if number in offsets
        else _inside(opened, number)
        for number in range(len(opened.holes))
    ]
    try:
        pieces = wire.weave(opened.skeleton, opened.found, changes)
    except ConvertError as error:
        raise ConvertError(error.message + hint) from error
    return [p for p in pieces if not isinstance(p, int) or p not in offsets]


def _inside(opened: _Opened, number: int) -> wire.Change:
    hole = opened.holes[number]
    size = payload_size(opened.tensor(number), hole.field)
    head = wire.varint(hole.field << 3 | wire.BYTES) + wire.varint(size)
    return wire.Change(opened.owners[number], hole.position, head, size)


def _reference(opened: _Opened, number: int, offset: int, location: str) -> wire.Change:
    owner = opened.owners[number]
    old = {wire.EXTERNAL_DATA, wire.DATA_LOCATION}
    drop = tuple(f for f in opened.found.tensors[owner].fields if f.number in old)
    head = reference(location, offset, _raw_size(opened.tensor(number)))
    return wire.Change(owner, opened.holes[number].position, head, 0, drop)


def _pour(opened: _Opened, pieces: Sequence[wire.Piece], stream: BinaryIO) -> None:
    """Write the model, tensor by tensor."""
    for piece in pieces:
        if isinstance(piece, int):
            _pour_tensor(opened.tensor(piece), opened.holes[piece].field, stream)
        else:
            stream.write(piece)


def _pour_tensor(tensor: Tensor, field: int, stream: BinaryIO) -> None:
    for piece in payload(tensor, field):
        stream.write(piece)


def _write_pair(opened: _Opened, path: Path) -> None:
    data = data_path(path)
    offsets = _offsets(opened)
    pieces = _pieces(opened, offsets, data.name)
    with atomic_pair(path, data) as (stream, numbers):
        for number, offset in offsets.items():
            numbers.write(bytes(offset - numbers.tell()))
            _pour_tensor(opened.tensor(number), RAW_DATA, numbers)
        _pour(opened, pieces, stream)


def _offsets(opened: _Opened) -> dict[int, int]:
    """Return where the numbers of each hole that goes outside stand in the second file."""
    offsets: dict[int, int] = {}
    end = 0
    for number, owner in enumerate(opened.owners):
        size = _raw_size(opened.tensor(number))
        if size > MIN_OUTSIDE and _may_leave(opened.found.tensors[owner].path):
            offsets[number] = aligned(end, size)
            end = offsets[number] + size
    return offsets


def _may_leave(path: wire.Path) -> bool:
    """Tell whether tools look for external data here: not in sparse tensors nor in training."""
    return path[1][0] in wire.DENSE_STEPS and not wire.in_training(path)


def _raw_size(tensor: Tensor) -> int:
    return stored_bytes(tensor.dtype, tensor.size)


WRITER = Writer("onnx", (".onnx",), write, options=("external",))
