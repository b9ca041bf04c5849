"""Read .onnx: tensors lifted out of the bytes, the rest kept as a skeleton with holes.

Spec: spec/DCF.md, section GRAPH. Sister files: write_onnx.py (the inverse), onnx_lift.py (which
tensors are lifted), onnx_wire.py (how). Operators and domains need not be known: they travel
in the skeleton untouched.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from onnx import ModelProto

from dcformat.errors import ConvertError
from dcformat.formats import Reader
from dcformat.graph import DATA_FIELDS, Hole, encode_graph
from dcformat.ids import GraphFormat
from dcformat.model import Graph, Model, Source, Use

from . import onnx_wire as wire
from .onnx_external import ExternalFiles
from .onnx_feeds import feeds_of
from .onnx_files import FileBytes, Stored, look_at
from .onnx_lift import Lifted, Parts, lift
from .onnx_other import explain
from .onnx_scopes import program_of
from .onnx_uses import uses_of
from .weights import Keeper

#: Wire types of ModelProto's fields, for a first look at a file.
_MODEL_FIELDS = {1: wire.VARINT, 5: wire.VARINT} | dict.fromkeys(
    (2, 3, 4, 6, 7, 8, 14, 20, 25, 26), wire.BYTES
)

_HEAD = 64  # bytes that tell what else a file may be
_NO_MODEL = "its first bytes are not those of a ModelProto"


def accepts(head: bytes) -> bool:
    """Tell whether the first bytes of a file can begin a ModelProto; ONNX has no magic."""
    try:
        tag, _ = wire.read_varint(head, 0)
    except ConvertError:
        return False
    return _MODEL_FIELDS.get(tag >> 3) == tag & 7


def read(path: Path) -> Model:
    """Return the model in the file `path`.

    Tensors stand in the order of their bytes; large ones are read when they are asked for. `notes`
    says which stay in the graph and why.
    Raises ConvertError, in one line, where the file is no ONNX model, is cut short, or names
    external data that is missing or outside the model's folder.
    """
    try:
        return _read(Path(path))
    except ConvertError as error:
        raise error.at(str(path)) from error.__cause__


def _read(path: Path) -> Model:
    file = _look_at(path)
    with file.open() as stream:
        source = FileBytes(stream, file.size)
        if not accepts(source[:10]):
            raise ConvertError(f"not an ONNX model: {explain(source[:_HEAD]) or _NO_MODEL}")
        return _taken_apart(source, file, path)


def _taken_apart(source: FileBytes, file: Stored, path: Path) -> Model:
    try:
        found = wire.scan(source)
    except ConvertError as error:
        raise ConvertError(_explained(source, error.message)) from error
    model = _parse(source, found)
    parts = Parts(file, found, model, program_of(model))
    uses = uses_of(parts.program, parts.small_integers)
    external = ExternalFiles(path.parent)
    lifted, notes = lift(parts, uses, external, Keeper(str(path)))
    return Model(
        tensors=tuple(item.tensor for item in lifted),
        graph=_graph(source, found, lifted),
        uses={i.tensor.name: uses.get(i.path, Use("", "", "other")) for i in lifted},
        source=Source("onnx", len(source) + external.used_bytes, source.digest()),
        notes=tuple(notes),
        files=tuple(external.files),
        feeds=feeds_of(model, parts.program, {item.path: item.tensor for item in lifted}),
    )


def _explained(source: FileBytes, fault: str) -> str:
    """Return the error for a file that begins as a model does and does not go on as one."""
    other = explain(source[:_HEAD])
    return f"not an ONNX model: {other}" if other else f"not an ONNX model, or cut short: {fault}"


def _look_at(path: Path) -> Stored:
    try:
        if path.is_dir():
            raise ConvertError("is a directory, not an ONNX model")
        file = look_at(path, "the file")
    except OSError as error:
        raise ConvertError(f"cannot read: {error.strerror}") from error
    if file.size > wire.MAX_BYTES:
        raise ConvertError("not an ONNX model: a protobuf message ends at 2 GiB")
    if not file.size:
        raise ConvertError("not an ONNX model: the file is empty")
    return file


def _parse(source: FileBytes, found: wire.Scan) -> Any:
    """Return the ModelProto without its tensors' numbers: its memory stays small."""
    removals = []
    for index, tensor in enumerate(found.tensors):
        fields = [f for f in tensor.fields if f.number in DATA_FIELDS]
        if fields:
            removals.append((index, fields))
    light, _ = wire.cut(source, found, removals)
    try:
        model = ModelProto.FromString(light)
    except Exception as error:  # protobuf's DecodeError, whichever implementation raises it
        raise ConvertError(f"not an ONNX model: {_one_line(error)}") from error
    if not model.HasField("graph"):
        raise ConvertError(_explained(source, "it has no graph"))
    if model.ir_version >= 3 and not model.opset_import:
        raise ConvertError("not an ONNX model, or cut short: it imports no operator set")
    return model


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _graph(source: FileBytes, found: wire.Scan, lifted: list[Lifted]) -> Graph:
    skeleton, positions = wire.cut(source, found, [(i.index, i.fields) for i in lifted])
    holes = [
        Hole(position, number, item.field)
        for number, (position, item) in enumerate(zip(positions, lifted, strict=True))
    ]
    return Graph(GraphFormat.ONNX, encode_graph(holes, skeleton))


READER = Reader("onnx", (".onnx", ".ort"), accepts, read, explain)  # .ort: to say what it is
