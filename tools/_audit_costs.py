"""What the graph of a file costs to run, and its activations: for the document, and as cells.

Sisters: converters/onnx_compute.py and tools/_activations.py (which count), _audit_terminal.py
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from dcformat import api
from dcformat.audit_report import Report
from dcformat.coded import expand_tensor
from dcformat.converters.onnx_compute import compute_of_graph
from dcformat.converters.tflite_compute import compute_of_tflite
from dcformat.converters.tflite_skeleton import elements_of, is_tflite
from dcformat.errors import ConvertError, DcfError
from dcformat.file import File, model_of
from dcformat.files import scratch_folder
from dcformat.ids import GraphFormat
from dcformat.model import Array
from dcformat.tools._audit_json import Document
from dcformat.tools._audit_text import Column
from dcformat.tools._terminal import count_of, human_size, safe_name

Rows = list[list[str]]

COMPUTE = (
    Column("layer", right=False),
    Column("op", 4, right=False),
    Column("MACs"),
    Column("share", 1),
    Column("zeros save", 2),
    Column("weights B", 5),
    Column("moved B", 6),
    Column("FLOPs/B", 3),
    Column("output", 7, right=False),
)
PAIRS = (
    Column("depthwise and pointwise", right=False),
    Column("MACs"),
    Column("plain convolution"),
    Column("times", 1),
)


ACTIVATIONS = (
    Column("after", right=False),
    Column("op", 3, right=False),
    Column("zeros"),
    Column("near 0", 6),
    Column("least", 1),
    Column("most", 1),
    Column("8-bit n", 2),
    Column("never fire", 4),
)


@contextmanager
def runnable(file: File) -> Iterator[Path]:
    """Give the model of a file as an .onnx that --calib can run. Raises ConvertError."""
    if file.graph is None:
        raise ConvertError("--calib runs the graph, and there is none")
    if file.graph.format != GraphFormat.ONNX:
        raise ConvertError("--calib runs ONNX graphs; this one is another")
    with scratch_folder() as folder:
        model = folder / "model.onnx"
        api.write(model_of(file), model)
        yield model


def compute_of(
    file: File, report: Report, shapes: Mapping[str, tuple[int, ...]]
) -> tuple[Document | None, str]:
    """Return what running the graph costs, or None and the reason ("" without a graph)."""
    try:
        graph = file.graph
        names = [row.name for row in report.tensors]
        if shapes and (graph is None or graph.format != GraphFormat.ONNX):
            raise ConvertError("--shape is for files with an ONNX graph")
        if is_tflite(graph) and graph:
            own = compute_of_tflite(graph.data, elements_of(file), names, _zeros(report))
            return own.as_dict(), ""
        if graph is None or graph.format != GraphFormat.ONNX:
            return None, ""
        zeros = _zeros(report)
        found = compute_of_graph(graph.data, names, lambda i: _elements(file, i), shapes, zeros)
        return found.as_dict(), ""
    except DcfError as error:
        if shapes:
            raise
        return None, str(error)


def _zeros(report: Report) -> dict[str, int]:
    """Return the zeros of tensors by name; those of a tied one are those of the other name."""
    facts = [report.tensors[row.index if row.tied_to is None else row.tied_to].facts
             for row in report.tensors]  # fmt: skip
    pairs = zip(report.tensors, facts, strict=True)
    return {row.name: fact.zeros for row, fact in pairs if fact is not None}


def _elements(file: File, index: int) -> Array | None:
    """Return the elements of a record, None where they cannot be read."""
    try:
        return expand_tensor(file.coded_of(file.opened.record(index), ""))
    except DcfError:  # the audit says so of that tensor
        return None


def compute_lines(doc: Document) -> list[str]:
    """Return lines on all of the graph."""
    found = doc["compute"]
    if found is None:
        return []
    least = "" if found["complete"] else "at least "
    text = f"compute: {least}{found['macs']:,} MACs"
    if found["skipped"]:
        text += f", {found['skipped'] / found['macs']:.1%} of them by a weight that is zero"
    if found["intensity"] is not None:
        text += f"; {found['intensity']:.2f} FLOPs a byte of weights and activations"
    peak = found["peak"]
    where = f", at {safe_name(peak['node'])}" if peak["node"] else ""
    more = "" if peak["complete"] else "at least "
    memory = f"activations: {more}{human_size(peak['bytes'])} at once{where}"
    return [text, memory, *(safe_name(line) for line in [*found["assumed"], *found["notes"]])]


def compute_rows(doc: Document) -> Rows:
    """Return the cells of the layers that multiply, most multiplications first."""
    found = doc["compute"]
    layers = [row for row in found["layers"] if row["macs"] or row["status"] not in _KNOWN]
    layers.sort(key=lambda row: -(row["macs"] or 0))
    return [_layer(row, found["macs"]) for row in layers]


_KNOWN = ("counted", "free")


def _layer(row: Document, total: int) -> list[str]:
    where = f" ({safe_name(row['where'])})" if row["where"] else ""
    macs = row["macs"]
    return [
        safe_name(row["name"]) + where,
        safe_name(row["op"]),
        row["status"] if macs is None else f"{macs:,}",
        f"{100 * macs / total:.1f} %" if macs and row["in_total"] else "",
        f"{100 * row['skipped'] / macs:.1f} %" if macs and row["skipped"] else "",
        f"{row['parameter_bytes']:,}",
        "" if row["activation_bytes"] is None else f"{row['activation_bytes']:,}",
        "" if row["intensity"] is None else f"{row['intensity']:.2f}",
        _shapes(row["outputs"]),
    ]


def _shapes(outputs: Sequence[Sequence[int] | None]) -> str:
    return ", ".join("x".join(map(str, shape)) if shape is not None else "?" for shape in outputs)


def activation_rows(doc: Document) -> Rows:
    """Return the cells of all activations, in the order of the graph."""
    return [_activation(row) for row in doc["activations"]["layers"]]


def _activation(row: Document) -> list[str]:
    dead = len(row["dead_channels"])
    return [
        safe_name(row["name"]),
        safe_name(row["op"]),
        f"{100 * row['zero_share']:.1f} %",
        f"{100 * row['near_zero_share']:.1f} %",
        *("" if row[key] is None else f"{row[key]:.4g}" for key in ("low", "high")),
        "" if row["fraction8"] is None else str(row["fraction8"]),
        f"{dead:,} of {row['channels']:,}" if dead else "",
    ]


def activations_title(doc: Document) -> str:
    """Return a title with the number of samples."""
    found = doc["activations"]
    return f"activations of {count_of(found['samples'], 'sample')}, near 0: {found['epsilon']:g}"


def pair_rows(doc: Document) -> Rows:
    """Return the cells of depthwise-separable pairs, against the convolution they replace."""
    return [
        [
            f"{safe_name(row['depthwise'])} + {safe_name(row['pointwise'])}",
            f"{row['macs']:,}",
            f"{row['plain_macs']:,}",
            f"{row['plain_macs'] / row['macs']:.2f}" if row["macs"] else "",
        ]
        for row in doc["compute"]["separable"]
    ]


def pairs_title(doc: Document) -> str:
    """Return a title with the number of pairs."""
    return count_of(len(doc["compute"]["separable"]), "depthwise-separable pair")
