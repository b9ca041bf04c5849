"""Gap layout: each stored element after the number of background elements before it.

Spec: spec/encodings/layout_gap.md    C: dcformat/c/dcf_layout_gap.c
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..errors import Code, error_of
from ..fields import Fields
from ..ids import GapFlag
from .parts import Items, Plan, Planes, Reader


@dataclass(frozen=True)
class Gap:
    """Highest gap symbol, background symbol, and whether the highest gap stores an element."""

    highest: int
    background: int
    filler_stores: bool = False


def read_params(fields: Fields) -> Gap:
    """Return the parameters of a record."""
    highest = fields.u8()
    fields.need(highest >= 1, "no gaps")
    flags = fields.u8()
    fields.need(not flags & ~int(GapFlag.FILLER_STORES), f"gap flags {flags}")
    return Gap(highest, fields.u16(), bool(flags & GapFlag.FILLER_STORES))


def check_params(fields: Fields, params: Gap, plan: Plan) -> None:
    """Compare the background with the alphabet."""
    top = plan.alphabets[0] if plan.width == 1 else 1
    fields.need(params.background < top, f"background {params.background} of {top}")


def write_params(params: Gap) -> bytes:
    """Return the parameters of a record."""
    return struct.pack("<BBH", params.highest, int(params.filler_stores), params.background)


def alphabets(params: Gap, plan: Plan) -> tuple[int, ...]:
    """Return the alphabets of the streams: gaps, then an element's symbols."""
    return (params.highest + 1, *plan.alphabets)


def encode(planes: Planes, ends: npt.NDArray[np.int64], params: Gap) -> Items:
    """Return the items of `planes` (n, width); `ends` counts elements."""
    width = planes.shape[1]
    events = _events(planes, ends, params)
    step = params.highest + 1 if params.filler_stores else params.highest
    fillers = events.gaps // step
    rest = events.gaps - fillers * step
    last = events.stores | (rest > 0)  # a block's end is not written as a gap of 0
    filler_items = 1 + width if params.filler_stores else 1
    sizes = fillers * filler_items + last + width * events.stores
    stops = np.cumsum(sizes)
    total = int(stops[-1]) if len(stops) else 0
    symbols, streams = np.empty(total, np.uint16), np.zeros(total, np.uint8)
    symbols[:] = params.highest
    if params.filler_stores:
        _store_fillers(symbols, streams, stops - sizes, fillers, width, params)
    at = (stops - sizes + fillers * filler_items)[last]
    symbols[at] = rest[last]
    values = (stops - width)[events.stores]
    for k in range(width):
        symbols[values + k] = planes[events.positions[events.stores], k]
        streams[values + k] = k + 1
    return Items(symbols, streams, stops[events.last_of_block])


@dataclass(frozen=True)
class _Events:
    """Stored elements and block ends in order, each with the background elements before it."""

    positions: npt.NDArray[np.int64]
    stores: npt.NDArray[np.bool_]
    gaps: npt.NDArray[np.int64]
    last_of_block: npt.NDArray[np.int64]


def _events(planes: Planes, ends: npt.NDArray[np.int64], params: Gap) -> _Events:
    kept = (planes != params.background).any(axis=1)
    found = np.flatnonzero(kept).astype(np.int64)
    positions = np.concatenate([found, ends])
    stores = np.arange(len(positions)) < len(found)
    order = np.lexsort((stores, positions))  # a block's end before the element that follows it
    positions, stores = positions[order], stores[order]
    before = np.concatenate([[-1], positions[:-1]])
    was_end = np.concatenate([[True], ~stores[:-1]])
    gaps = positions - before - np.where(was_end, 0, 1)
    gaps[0] = positions[0]
    return _Events(positions, stores, gaps, np.flatnonzero(~stores).astype(np.int64))


def _store_fillers(
    symbols: npt.NDArray[np.uint16],
    streams: npt.NDArray[np.uint8],
    starts: npt.NDArray[np.int64],
    fillers: npt.NDArray[np.int64],
    width: int,
    params: Gap,
) -> None:
    """Write the background elements that follow the paper's fillers."""
    total = int(fillers.sum())
    index = np.arange(total) - np.repeat(np.cumsum(fillers) - fillers, fillers)
    at = np.repeat(starts, fillers) + index * (1 + width)
    for k in range(width):
        symbols[at + 1 + k] = params.background
        streams[at + 1 + k] = k + 1


def decode(count: int, reader: Reader, params: Gap, plan: Plan) -> Planes:
    """Return the symbols (count, width) of a block."""
    planes = np.full((count, plan.width), params.background, np.uint8)
    position = 0
    while position < count:
        gap = reader.next(0)
        if gap > count - position:
            raise error_of(Code.RANGE, f"gap {gap} with {count - position} elements left")
        position += gap
        filler = gap == params.highest and not params.filler_stores
        if filler or position == count:
            continue
        for k in range(plan.width):
            planes[position, k] = reader.next(k + 1)
        position += 1
    return planes
