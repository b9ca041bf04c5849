"""What the bits of a tensor's blocks are for: symbols, gaps, digits of runs, what is spare.

Spec: spec/encodings. Sister: dcformat/audit_bytes.py (the bytes that are not blocks)

A block interleaves its streams, so that bits are counted, not bytes: how often a symbol occurs
times the bits of its code. The counts are those of the tensor written again, where that gives the
very bytes that are stored; otherwise (a writer may fill gaps as it likes) the reference decoder
counts what it reads. What is left of the last byte of each block is SPARE.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from .canonical import form_again, stored_again
from .decode import Opened, Record, block_reader, front_sizes, read_front
from .encodings import LAYOUTS, VALUES, coder_packed
from .encodings.coder_huffman import Table
from .encodings.parts import Plan, Planes, Reader
from .errors import DcfError
from .forms import Form
from .ids import MAX_SYMBOLS, Coder, Layout, Section
from .model import Array

I64 = npt.NDArray[np.int64]

SYMBOLS = "symbols"  #: what the elements are, for layout_run without the runs
GAPS = "gaps"  #: the distances of layout_gap
RUNS = "runs"  #: the digits of layout_run
FRAMES = "frames"  #: of zstd, in which no symbol has bits of its own
SPARE = "spare"  #: zero bits at the end of a block
UNREAD = "unread"  #: blocks that were not decoded: an unknown room, damage, a tensor too large

Bits = dict[str, int]


def bits_of_blocks(opened: Opened, record: Record, plan: Plan, symbols: Array) -> Bits:
    """Return what the bits of a tensor's blocks are for; together they are all its blocks' bits.

    `symbols` are those of `decode.decode_symbols`, which agree with the file. Raises ValueError
    where bits are left over, which would be a fault of this module.
    """
    size = 8 * len(_body(opened, record, plan))
    if record.head.coder == Coder.ZSTD:
        return {FRAMES: size}
    if record.head.coder == Coder.CONTEXT:
        return {SYMBOLS: size, SPARE: 0}  # parts of bits: a byte is of many symbols
    if record.head.coder == Coder.PACKED and record.head.layout == Layout.DENSE:
        each = sum(coder_packed.bits_of(alphabet) for alphabet in plan.alphabets)
        used = {SYMBOLS: record.head.elements * each}
    else:
        used = _used(opened, record, plan, _counts(opened, record, plan, symbols))
    spare = size - sum(used.values())
    if not 0 <= spare < 8 * max(1, record.head.block_count):
        raise ValueError(f"tensor {record.index}: {spare} of {size} bits are for nothing")
    return {**used, SPARE: spare}


def _used(opened: Opened, record: Record, plan: Plan, counts: I64) -> Bits:
    """Return bits by purpose, without what is spare, from counts by class and stream."""
    bits = counts * _lengths(opened, record, plan)
    if record.head.layout == Layout.GAP:
        gaps = int(bits[:: plan.width + 1].sum())
        return {SYMBOLS: int(bits.sum()) - gaps, GAPS: gaps}
    if record.head.layout == Layout.RUN:
        runs = int(bits[:, plan.alphabets[0] :].sum())
        return {SYMBOLS: int(bits.sum()) - runs, RUNS: runs}
    return {SYMBOLS: int(bits.sum())}


def _lengths(opened: Opened, record: Record, plan: Plan) -> I64:
    """Return the bits of each symbol by class and stream: (classes * streams, 256)."""
    if record.head.coder == Coder.HUFFMAN:
        tables = [t for i in record.tables if isinstance(t := opened.tables[i], Table)]
        return np.stack([table.lengths for table in tables]).astype(np.int64)
    alphabets = LAYOUTS[record.head.layout].alphabets(record.layout, plan)
    bits = np.array([coder_packed.bits_of(alphabet) for alphabet in alphabets], np.int64)
    return np.repeat(bits[:, None], MAX_SYMBOLS, axis=1)


def _counts(opened: Opened, record: Record, plan: Plan, symbols: Array) -> I64:
    """Return how often each symbol stands in the blocks: (classes * streams, 256)."""
    planes = VALUES[record.head.values].to_planes(plan, symbols)
    form = form_again(opened, record, stored_again(record, plan, planes), record.layout)
    # gaps and runs of the same elements can be written in several ways
    free = record.head.layout == Layout.DENSE or _gives(form, _body(opened, record, plan))
    return form.counts if free else read(opened, record)


def _body(opened: Opened, record: Record, plan: Plan) -> memoryview:
    """Return the bytes of all blocks: the payload without what stands before them."""
    start = record.offset + plan.axis_bytes + sum(front_sizes(record.head))
    stop = record.offset + record.head.payload_size
    return opened.container.stored(Section.PAYLOAD)[start:stop]


def _gives(form: Form, stored: memoryview) -> bool:
    """Tell whether writing a tensor again gives the bytes of its blocks."""
    at = 0
    try:
        for part in islice(form.parts(), 1, None):  # the first is what stands before the blocks
            made = part()
            if stored[at : at + len(made)] != made:
                return False
            at += len(made)
    except DcfError:  # its tables lack a symbol that the canonical writing needs
        return False
    return at == len(stored)


@dataclass
class _Counting:
    """A reader of a block that counts what it reads, by stream, in `counts`."""

    reader: Reader
    counts: I64

    def next(self, stream: int) -> int:
        symbol = self.reader.next(stream)
        self.counts[stream, symbol] += 1
        return symbol

    def many(self, count: int, streams: tuple[int, ...]) -> Planes:
        planes = self.reader.many(count, streams)
        for place, stream in enumerate(streams):
            self.counts[stream] += np.bincount(planes[:, place], minlength=MAX_SYMBOLS)
        return planes

    def finish(self) -> None:
        self.reader.finish()


def read(opened: Opened, record: Record) -> I64:
    """Return how often the reference decoder meets each symbol: (classes * streams, 256)."""
    head, front = record.head, read_front(opened, record)
    layout: Any = LAYOUTS[head.layout]
    if record.plan is None:
        raise ValueError(record.unsupported)
    streams = len(layout.alphabets(record.layout, record.plan))
    counts = np.zeros((head.classes, streams, MAX_SYMBOLS), np.int64)
    for number, of_class in enumerate(front.classes):
        reader = _Counting(block_reader(opened, record, front, number), counts[of_class])
        layout.decode(head.elements_of(number), reader, record.layout, record.plan)
    return counts.reshape(-1, MAX_SYMBOLS)
