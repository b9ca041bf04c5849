"""The skeleton of a .tflite: its bytes without the buffers that were lifted, and the way back.

Spec: spec/DCF.md, section GRAPH. Sisters: dcformat/graph.py (the section), tflite_lift.py (which
buffers), read_tflite.py, write_tflite.py.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from dcformat.errors import ConvertError, CorruptError
from dcformat.graph import Hole, decode_graph
from dcformat.ids import DType, GraphFormat

from .onnx_data import stored_bytes
from .tflite_schema import Region, TfModel, parse
from .tflite_tables import Source


@dataclass(frozen=True)
class Gap:
    """Bytes that are not in the skeleton: `at` counts its bytes, `region` the whole file's."""

    at: int
    region: Region


class Hollow:
    """A whole file to whoever slices it, as long as nobody wants what stood in the gaps."""

    def __init__(self, skeleton: bytes, gaps: Sequence[Gap]) -> None:
        self._skeleton = skeleton
        self._gaps = gaps
        self._starts = [gap.region.start for gap in gaps]
        self._size = len(skeleton) + sum(gap.region.size for gap in gaps)

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, part: slice, /) -> bytes:
        start, stop, _ = part.indices(self._size)
        after = bisect_right(self._starts, start)
        before = after and self._gaps[after - 1].region.end > start
        beyond = after < len(self._gaps) and self._starts[after] < stop
        if start < stop and (before or beyond):
            raise ConvertError(f"bytes from {start} on are part of a buffer, and of a table too")
        gone = self._gaps[after - 1].region.end - self._gaps[after - 1].at if after else 0
        return self._skeleton[start - gone : stop - gone]


def cut(source: Source, regions: Sequence[Region]) -> tuple[bytes, list[Gap]]:
    """Return the bytes outside of `regions`, which ascend, and where the gaps between them are."""
    parts, gaps, done, size = [], [], 0, 0
    for region in regions:
        parts.append(source[done : region.start])
        size += region.start - done
        gaps.append(Gap(size, region))
        done = region.end
    parts.append(source[done : len(source)])
    return b"".join(parts), gaps


@dataclass(frozen=True)
class Opened:
    """A GRAPH section taken apart: the skeleton, holes and gaps in their order, what it says."""

    skeleton: bytes
    holes: list[Hole]
    gaps: list[Gap]
    model: TfModel


def open_graph(data: bytes, elements: Sequence[int]) -> Opened:
    """Return what Graph.data says, which belongs to tensors of so many `elements`.

    Raises DcfError where it is not a .tflite with holes.
    """
    holes, skeleton = decode_graph(data, len(elements), GraphFormat.TFLITE)
    gaps = list(_gaps(holes, [stored_bytes(DType(h.field), elements[h.tensor]) for h in holes]))
    try:
        return Opened(skeleton, holes, gaps, parse(Hollow(skeleton, gaps)))
    except ConvertError as error:
        problem = f"the graph is not a TFLite model: {error}"
        raise CorruptError(problem, place="section GRAPH") from error


def _gaps(holes: Sequence[Hole], sizes: Sequence[int]) -> Iterable[Gap]:
    for hole, size, before in zip(holes, sizes, accumulate(sizes, initial=0), strict=False):
        yield Gap(hole.position, Region(hole.position + before, size))
