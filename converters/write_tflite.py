"""Write .tflite: the numbers of a model put back into the skeleton they were cut from.

Spec: spec/DCF.md, section GRAPH. Sisters: read_tflite.py, tflite_holes.py, onnx_numbers.py; a model
with an ONNX graph is translated by tflite_out.py, and what follows is of TFLite graphs. Every
buffer has its old size and place, so that nothing else in the file changes: with unchanged numbers
it is the source again, byte for byte, however its writer laid it out. What became levels is written
as what these mean, in the tensor's own type; integers that had scales are those integers again. A
tensor is in memory only while it is written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from dcformat.errors import ConvertError, CorruptError, DcfError
from dcformat.files import atomic_output
from dcformat.formats import Made, Writer
from dcformat.graph import Hole
from dcformat.ids import DType, GraphFormat
from dcformat.model import Model, Tensor
from dcformat.scaled import integers, real

from .onnx_data import RAW_DATA
from .onnx_numbers import payload
from .tflite_holes import Gap, Opened, open_graph
from .tflite_lift import Entry, plan_of


def write(model: Model, path: Path, **wanted: Any) -> Made | None:
    """Write `model` as a TFLite file, whole or not at all.

    An ONNX graph is translated; what is `wanted` are fields of tflite_out.Wanted. Raises
    ConvertError where the model has no graph or one that cannot be translated, and CorruptError
    where graph and tensors do not fit each other.
    """
    path = Path(path)
    try:
        if _is_onnx(model):
            return _write_translated(model, path, wanted)
        if wanted:
            raise ConvertError(f"has a TFLite graph; {', '.join(wanted)} is for an ONNX graph")
        opened, tensors = _open(model)
        with atomic_output(path) as stream:
            _pour(opened, tensors, stream)
    except DcfError as error:
        if str(path) in error.place:
            raise
        raise error.at(str(path)) from error.__cause__
    return None


def _is_onnx(model: Model) -> bool:
    return model.graph is not None and model.graph.format == GraphFormat.ONNX


def _write_translated(model: Model, path: Path, wanted: Mapping[str, Any]) -> Made:
    from .tflite_out import Wanted, tflite_of  # noqa: PLC0415 - onnx is slow to import

    written = tflite_of(model, Wanted(**wanted))
    with atomic_output(path) as stream:
        stream.write(written.data)
    moved = f"{written.operators}, {written.transposes} of them transposes"
    rows = [("operators", moved), *(("assumed", note) for note in written.notes)]
    if wanted.get("ranges") is not None:
        rows.append(("in float32", _counted(written.real)))
    facts = {
        "operators": written.operators,
        "transposes": written.transposes,
        "assumptions": list(written.notes),
        "real_operators": dict(Counter(written.real)),
    }
    return Made((path,), len(written.data), tuple(rows), facts)


def _counted(kinds: Sequence[str]) -> str:
    """Say how many operators stay real, and which."""
    found = sorted(Counter(kinds).items(), key=lambda pair: (-pair[1], pair[0]))
    return ", ".join(f"{kind} ({count})" for kind, count in found) or "nothing: all in integers"


def plain_bytes(model: Model) -> bytes:
    """Return what `write` would write."""
    if _is_onnx(model):
        from .tflite_out import tflite_of  # noqa: PLC0415 - onnx is slow to import

        return tflite_of(model).data
    stream = BytesIO()
    _pour(*_open(model), stream)
    return stream.getvalue()


def _open(model: Model) -> tuple[Opened, list[Tensor]]:
    """Return the graph, and the tensor of each hole as it is stored there."""
    model = real(model)
    graph = model.graph
    if graph is None:
        why = "".join(f" ({note})" for note in model.notes if note.startswith("no graph: "))
        raise ConvertError(f"has no graph{why}; its tensors can be written as .safetensors or .npz")
    if graph.format != GraphFormat.TFLITE:
        raise ConvertError(
            f"has a graph of format {graph.format}, which is neither TFLite nor ONNX"
        )
    opened = open_graph(graph.data, [tensor.size for tensor in model.tensors])
    entries = {entry.region: entry for entry in plan_of(opened.model).entries}
    pairs = zip(opened.holes, opened.gaps, strict=True)
    tensors = [_stored(hole, gap, entries.get(gap.region), model) for hole, gap in pairs]
    return opened, tensors


def _stored(hole: Hole, gap: Gap, entry: Entry | None, model: Model) -> Tensor:
    """Return the tensor of a hole with the numbers that go there."""
    tensor = model.tensors[hole.tensor]
    if entry is None or (entry.dtype, entry.dims) != (hole.field, tensor.shape):
        raise CorruptError(
            f"tensor {tensor.name!r} of shape {tensor.shape} belongs to byte {gap.region.start} "
            "of the graph as no buffer there does"
        )
    if tensor.dtype == entry.dtype:
        return tensor
    if tensor.dtype is not DType.FLOAT or entry.scales is None:
        raise CorruptError(
            f"tensor {tensor.name!r} has type {tensor.dtype.name}, the graph {entry.dtype.name}"
        )
    return integers(tensor, entry.dtype, entry.scales)


def _pour(opened: Opened, tensors: list[Tensor], stream: BinaryIO) -> None:
    done = 0
    for gap, tensor in zip(opened.gaps, tensors, strict=True):
        stream.write(opened.skeleton[done : gap.at])
        done = gap.at
        for piece in payload(tensor, RAW_DATA):
            stream.write(piece)
    stream.write(opened.skeleton[done:])


WRITER = Writer(
    "tflite", (".tflite",), write, options=("batch", "weights", "ranges", "shape"), scaled=True
)
