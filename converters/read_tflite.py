"""Read .tflite: buffers lifted out of the bytes, the rest kept as a skeleton with holes.

Spec: spec/DCF.md, section GRAPH. Sisters: write_tflite.py (the inverse), tflite_lift.py (which
buffers), tflite_schema.py (the tables). Operators need not be known: they travel in the skeleton.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from dcformat.errors import ConvertError
from dcformat.formats import Reader
from dcformat.graph import Hole, encode_graph
from dcformat.ids import MAX_GRAPH_BYTES, GraphFormat
from dcformat.model import Graph, Model, Source, Tensor

from . import onnx_other
from .onnx_files import FileBytes, Stored, look_at
from .onnx_lazy import packed
from .tflite_holes import Hollow, cut
from .tflite_lift import Entry, plan_of
from .tflite_schema import IDENTIFIER, parse
from .weights import Keeper

_HEAD = 64  # bytes that tell what else a file may be


def accepts(head: bytes) -> bool:
    """Tell whether the first bytes of a file can begin a .tflite."""
    return head[4:8] == IDENTIFIER


def explain(head: bytes) -> str:
    """Say what a file seems to be that was not accepted; empty where that is not known."""
    return onnx_other.explain(head)


def read(path: Path) -> Model:
    """Return the model in the file `path`.

    Tensors stand in the order of their bytes; large ones are read when they are asked for. `notes`
    says which stay in the graph and why. Raises ConvertError in one line.
    """
    try:
        return _read(Path(path))
    except ConvertError as error:
        raise error.at(str(path)) from error.__cause__


def _read(path: Path) -> Model:
    try:
        if path.is_dir():
            raise ConvertError("is a directory, not a TFLite model")
        file = look_at(path, "the file")
    except OSError as error:
        raise ConvertError(f"cannot read: {error.strerror}") from error
    with file.open() as stream:
        source = FileBytes(stream, file.size)
        if not accepts(source[:_HEAD]):
            words = explain(source[:_HEAD]) or "it has not the identifier TFL3"
            raise ConvertError(f"not a TFLite model: {words}")
        return _taken_apart(source, file, Keeper(str(path)))


@dataclass(frozen=True)
class _Lifted:
    """A buffer that leaves the graph, and its tensor under each of its names."""

    entry: Entry
    tensors: tuple[Tensor, ...]


def _taken_apart(source: FileBytes, file: Stored, keeper: Keeper) -> Model:
    try:
        plan = plan_of(parse(source))
    except ConvertError as error:
        raise ConvertError(f"not a TFLite model, or damaged: {error}") from error
    notes = list(plan.notes)
    lifted = [one for entry in plan.entries if (one := _lift(entry, file, keeper, notes))]
    named = [(one.entry, tensor) for one in lifted for tensor in one.tensors]
    return Model(
        tensors=tuple(tensor for _, tensor in named),
        graph=_graph(source, lifted),
        uses={tensor.name: entry.use for entry, tensor in named},
        source=Source("tflite", len(source), source.digest()),
        notes=tuple(notes),
        ties={tie: one.entry.name for one in lifted for tie in one.entry.ties},
        scales={tensor.name: entry.scales for entry, tensor in named if entry.scales},
    )


def _lift(entry: Entry, file: Stored, keeper: Keeper, notes: list[str]) -> _Lifted | None:
    """Return a buffer as tensors; None, and a note, where its bytes would not come back."""
    try:
        region = packed(file, entry.region.start, entry.region.size, entry.dtype, entry.dims)
        names = (entry.name, *entry.ties)
        tensors = tuple(keeper.tensor(name, entry.dtype, entry.dims, region) for name in names)
    except ConvertError as error:
        notes.append(f"{entry.name}: stays in the graph: {error.message}")
        return None
    return _Lifted(entry, tensors)


def _graph(source: FileBytes, lifted: list[_Lifted]) -> Graph:
    """Return the graph with the buffers cut out; ConvertError where tables stand in them."""
    skeleton, gaps = cut(source, [one.entry.region for one in lifted])
    if len(skeleton) > MAX_GRAPH_BYTES >> 1:
        raise ConvertError(f"{len(skeleton):,} bytes of it are no tensors: too many for a graph")
    try:
        parse(Hollow(skeleton, gaps))
    except ConvertError as error:
        raise ConvertError(f"not a TFLite model, or damaged: {error}") from error
    places = accumulate((len(one.tensors) for one in lifted), initial=0)
    holes = [
        Hole(gap.at, index, one.entry.dtype)
        for gap, index, one in zip(gaps, places, lifted, strict=False)
    ]
    return Graph(GraphFormat.TFLITE, encode_graph(holes, skeleton))


READER = Reader("tflite", (".tflite",), accepts, read, explain)
