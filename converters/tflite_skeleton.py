"""What the tensors of a .dcf are for, and what the .tflite consists of whose graph it carries.

Spec: spec/DCF.md, section GRAPH. Sisters: onnx_skeleton.py (the same of ONNX), tflite_holes.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dcformat.errors import DcfError
from dcformat.file import File
from dcformat.ids import GraphFormat
from dcformat.model import Graph, Use

from .tflite_holes import open_graph
from .tflite_lift import plan_of
from .tflite_schema import IDENTIFIER, Region

_HEADER = 4 + len(IDENTIFIER)  # the offset of the root, and the identifier


def is_tflite(graph: Graph | None) -> bool:
    """Tell whether a graph is a FlatBuffer of TFLite."""
    return graph is not None and graph.format == GraphFormat.TFLITE


def elements_of(file: File) -> list[int]:
    """Return how many elements each record of a file has."""
    records = [file.opened.record(index) for index in range(len(file.opened.records))]
    return [record.head.elements for record in records]


def uses_of_tflite(file: File) -> dict[int, Use]:
    """Return the uses of a file's records; none where its TFLite graph cannot be read."""
    try:
        graph = file.graph
        if graph is None:
            return {}
        opened = open_graph(graph.data, elements_of(file))
        entries = {entry.region: entry for entry in plan_of(opened.model).entries}
    except DcfError:  # who checks the file says so
        return {}
    uses: dict[int, Use] = {}
    places = {name: index for index, name in enumerate(file.names)}
    for hole, gap in zip(opened.holes, opened.gaps, strict=True):
        if (entry := entries.get(gap.region)) is not None:
            own = [places[name] for name in entry.ties if name in places]
            uses |= dict.fromkeys([hole.tensor, *own], entry.use)
    return uses


def parts_of(graph: Graph, elements: Sequence[int]) -> dict[str, int]:
    """Return what the bytes of the .tflite are: they sum to its size."""
    opened = open_graph(graph.data, elements)
    tensors = sum(gap.region.size for gap in opened.gaps)
    lifted = {gap.region for gap in opened.gaps}
    kept = _bytes_of(set(opened.model.buffers) - lifted)
    rest = len(opened.skeleton) - kept - _HEADER
    return {"tensors": tensors, "buffers that stay": kept, "tables": rest, "header": _HEADER}


def _bytes_of(regions: Iterable[Region]) -> int:
    """Return how many bytes of the file are in `regions`, which may overlap."""
    total, end = 0, 0
    for region in sorted(regions, key=lambda one: one.start):
        total += max(0, region.end - max(region.start, end))
        end = max(end, region.end)
    return total
