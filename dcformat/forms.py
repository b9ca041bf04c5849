"""Ways to write one tensor, each with its exact size: what the encoder chooses from.

Spec: spec/registry.md ("Legal combinations"), spec/DCF.md ("Payload").
A tensor is looked at in pieces of whole rows, at least one, and nothing that is as large as the
tensor is kept: sizes follow from symbol counts, bodies are written when a form has been chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from . import walk
from .encodings import CODERS, LAYOUTS, VALUES, coder_packed, coder_zstd
from .encodings.coder_context import Context
from .encodings.coder_huffman import Table
from .encodings.layout_gap import Gap
from .encodings.layout_run import MAX_ALPHABET, Run
from .errors import ConvertError
from .ids import MAX_CLASSES, MAX_RATIO, MAX_SYMBOLS, RATIO_SLACK, WIDTH, Coder, Layout
from .kernels import pack_lsb, price_blocks, sum_blocks
from .records import Blocks, offset_width
from .scratch import Scratch
from .stored import Stored
from .tables import bit_cost, classify, tables_of
from .walk import Walk, packed_gap_bits

I64 = npt.NDArray[np.int64]
U32 = npt.NDArray[np.uint32]
SMALL_PAYLOAD = 2048  #: below this many bytes a tensor is one block
OFFSET_SHARE = 400  #: block offsets cost at most a byte in 400
GAPS = (63, 255)  #: highest gaps: a short table for small tensors, or few fillers for large ones
MAX_BLOCKS = 1024  #: of a tensor: their symbol counts are held at once
ZSTD_BLOCK = 1 << 20  #: symbols of a zstd block
NEAR = 1.06  #: a layout whose estimate is this much above the smallest is not worked out
MOST_IN_BLOCKS = 0xF000_0000  #: bytes; an offset has at most 32 bits
AT_ONCE = 1 << 20  #: elements that are written at once
PACKED_GAP_MOST = 1 << 16  #: elements; above it a Huffman table always pays for itself


@dataclass(frozen=True, eq=False)
class Form:
    """One way to write a tensor. `size` counts payload, room parameters and own tables.

    `frames` are the places in `scratch` of blocks that were written to know their size.
    """

    stored: Stored
    layout: Layout
    params: Any
    coder: Coder
    block_rows: int
    tables: tuple[Table, ...] = ()
    classes: npt.NDArray[np.uint8] | None = None
    scratch: Scratch | None = None
    frames: tuple[tuple[int, int], ...] = ()
    context: Context | None = None

    @property
    def walk(self) -> Walk:
        return Walk(self.layout, self.params, self.stored.plan.alphabets)

    @property
    def counts(self) -> I64:
        """Symbol counts by class and stream: (classes * streams, 256)."""
        return self._counted[0]

    @property
    def block_ends(self) -> I64:
        """Where the blocks end, in bytes of the body."""
        return self._counted[1]

    @property
    def _counted(self) -> tuple[I64, I64]:
        # no cached_property: before Python 3.12 all forms would wait for the one that is measured
        own: dict[str, tuple[I64, I64]] = vars(self)
        if "counted" not in own:
            own["counted"] = self._measured()
        return own["counted"]

    def _measured(self) -> tuple[I64, I64]:
        rows = self.class_count * self.walk.streams
        none = np.zeros((rows, MAX_SYMBOLS), np.int64)
        if self.scratch is not None:
            return none, np.cumsum([size for _, size in self.frames], dtype=np.int64)
        if self.coder is Coder.PACKED and self.layout is Layout.DENSE:
            bits = sum(coder_packed.bits_of(a) for a in self.stored.plan.alphabets)
            return none, np.array([(self.stored.elements * bits + 7) // 8], np.int64)
        counts, sizes, first = none, [], 0
        for planes, ends in self.stored.pieces(self.block_rows):
            blocks = walk.count(planes, ends, self.walk).reshape(len(ends), -1)
            found, lengths = self.measured(blocks, first)
            counts, first = counts + found, first + len(ends)
            sizes.append(lengths)
        return counts, np.cumsum(np.concatenate(sizes))

    def measured(self, blocks: U32, first: int = 0) -> tuple[I64, I64]:
        """Return counts by class, and the bytes of each block, from the counts of each block.

        `first` is the number of the first of these blocks.
        """
        lengths = self._lengths
        if len(blocks) == 1 and self.classes is None:  # most tensors of a large model
            counts = blocks[0].astype(np.int64)
            return counts.reshape(-1, MAX_SYMBOLS), (lengths @ counts + 7) // 8
        classes = np.zeros(len(blocks), np.uint8)
        if self.classes is not None:
            classes = self.classes[first : first + len(blocks)]
        counts = sum_blocks(blocks, classes, len(lengths))
        bits = price_blocks(blocks, lengths)[np.arange(len(blocks)), classes]
        return counts.reshape(-1, MAX_SYMBOLS), (bits + 7) // 8

    @property
    def _lengths(self) -> I64:
        """Bits of each symbol: (classes, streams * 256)."""
        if self.coder is Coder.HUFFMAN:
            rows = np.stack([table.lengths for table in self.tables]).astype(np.int64)
        else:
            bits = [coder_packed.bits_of(a) for a in self.walk.stream_alphabets]
            rows = np.repeat(np.array(bits, np.int64)[:, None], MAX_SYMBOLS, axis=1)
        return rows.reshape(self.class_count, -1)

    @property
    def blocks(self) -> Blocks | None:
        if len(self.block_ends) < 2:
            return None
        width = offset_width(int(self.block_ends[-2]))
        return Blocks(self.block_rows, width, self.class_count)

    @property
    def class_count(self) -> int:
        return 1 if self.classes is None else len(self.tables) // self.walk.streams

    def front(self) -> bytes:
        """Return what stands before the blocks: values parameters, offsets, classes."""
        front = VALUES[self.stored.room].write_axis(self.stored.plan)
        cut = self.blocks
        if cut is not None:
            offsets = self.block_ends[:-1].astype("<u4").view(np.uint8).reshape(-1, 4)
            front += offsets[:, : cut.offset_width].tobytes()
        if cut is not None and self.classes is not None:
            front += pack_lsb(self.classes, 2)
        return bytes(front)

    def parts(self) -> Iterator[Callable[[], bytes]]:
        """Yield what gives the parts of the payload, in order (spec/DCF.md, "Payload")."""
        yield self.front
        if self.scratch is not None:
            for place, size in self.frames:
                yield partial(self.scratch.read, place, size)
            return
        first = 0
        if self.coder is Coder.PACKED and self.layout is Layout.DENSE:
            for start, stop in self.stored.cuts(8, AT_ONCE):  # eight rows end on a byte
                yield partial(self._plain, start, stop)
            return
        for start, stop in self.stored.cuts(self.block_rows, AT_ONCE):
            yield partial(self._part, start, stop, first)
            first += -(-(stop - start) // self.block_rows)

    def _plain(self, start: int, stop: int) -> bytes:
        """Return rows `start` to `stop` - 1 of one block of symbols of fixed width."""
        planes, _ = self.stored.piece(start, stop, stop - start)
        return walk.write_packed(planes, np.array([len(planes)], np.int64), self.walk)

    def _part(self, start: int, stop: int, first: int) -> bytes:
        """Return the blocks of rows `start` to `stop` - 1, the first of which is block `first`."""
        planes, ends = self.stored.piece(start, stop, self.block_rows)
        if self.coder is Coder.PACKED:
            part = walk.write_packed(planes, ends, self.walk)
        else:
            classes = None if self.classes is None else self.classes[first : first + len(ends)]
            part = walk.write_huffman(planes, ends, self.walk, self.tables, classes)
        before = int(self.block_ends[first - 1]) if first else 0
        if len(part) != int(self.block_ends[first + len(ends) - 1]) - before:
            raise ConvertError("changed while it was written", place=self.stored.tensor.name)
        return part

    def payload(self) -> bytes:
        """Return the whole payload."""
        return b"".join(part() for part in self.parts())

    def payload_size(self) -> int:
        """Return the size of `payload()`."""
        cut = self.blocks
        size = self.stored.plan.axis_bytes + int(self.block_ends[-1])
        if cut is not None:
            size += (len(self.block_ends) - 1) * cut.offset_width
            size += 0 if self.classes is None else -(-2 * len(self.block_ends) // 8)
        return size

    def parameter_size(self) -> int:
        """Return the bytes of the record that differ between the forms of one tensor."""
        size = 4 if self.blocks else 0
        size += len(LAYOUTS[self.layout].write_params(self.params))
        size += 0 if self.context is None else 4
        return size + (2 * len(self.tables) + 3) // 4 * 4

    def table_size(self) -> int:
        """Return the bytes of own tables in TABLES."""
        return sum(4 + table.entry_size for table in set(self.tables))

    def size(self) -> int:
        """Return all bytes that this form costs."""
        own: dict[str, int] = vars(self)
        if "whole" not in own:
            own["whole"] = self.payload_size() + self.parameter_size() + self.table_size()
        return own["whole"]

    def legal(self) -> bool:
        """Tell whether block offsets and the ratio of decoded to stored bytes are within limits."""
        decoded = self.stored.elements * WIDTH[self.stored.plan.number]
        if len(self.block_ends) > 1 and int(self.block_ends[-2]) >= 1 << 32:
            return False
        return decoded <= MAX_RATIO * (self.payload_size() + RATIO_SLACK)


def block_counts(stored: Stored, walked: Walk, block_rows: int) -> U32:
    """Return symbol counts by block (blocks, streams * 256)."""
    parts = [walk.count(p, ends, walked) for p, ends in stored.pieces(block_rows)]
    return np.concatenate(parts).reshape(-1, walked.streams * MAX_SYMBOLS)


def total_counts(stored: Stored, walked: Walk) -> I64:
    """Return symbol counts (streams, 256), nearly as of one block: it ends with each piece."""
    total = np.zeros((walked.streams, MAX_SYMBOLS), np.int64)
    for planes, _ in stored.pieces(1):
        total += walk.count(planes, np.array([len(planes)], np.int64), walked)[0]
    return total


def forms_of(stored: Stored, host: bool, row_access: bool, scratch: Scratch) -> Iterator[Form]:
    """Yield the legal forms of a tensor that may be the smallest, Huffman ones with own tables."""
    yield packed_form(stored, Layout.DENSE, None, stored.rows)
    if not stored.elements:
        return
    counts = total_counts(stored, Walk(Layout.DENSE, None, stored.plan.alphabets))
    background, share = background_of(stored, counts)
    tries = [_tried(Layout.DENSE, None, counts)]
    if share >= 0.2:
        gaps = [_try(stored, Layout.GAP, Gap(highest, background)) for highest in GAPS]
        tries.append(min(gaps, key=_Try.with_tables))
        if stored.elements <= PACKED_GAP_MOST:
            yield _packed_gap(stored, background, row_access)
    if share > 0 and stored.plan.width == 1 and stored.plan.alphabets[0] <= MAX_ALPHABET:
        tries.append(_try(stored, Layout.RUN, Run(background)))
    least = min(tried.size for tried in tries)
    for tried in tries:
        if tried.size <= NEAR * least + SMALL_PAYLOAD:
            yield _huffman(stored, tried, block_rows_of(stored, tried.size, row_access))
    if host:
        yield from _zstd(stored, row_access, scratch, least)


@dataclass(frozen=True, eq=False)
class _Try:
    """A layout, the Huffman tables for one block of it, and the bytes of that without tables."""

    layout: Layout
    params: Any
    tables: tuple[Table, ...]
    size: int

    def with_tables(self) -> int:
        return self.size + sum(table.entry_size for table in self.tables)


def _try(stored: Stored, layout: Layout, params: Any) -> _Try:
    counts = total_counts(stored, Walk(layout, params, stored.plan.alphabets))
    return _tried(layout, params, counts)


def _tried(layout: Layout, params: Any, counts: I64) -> _Try:
    tables = tables_of(counts)
    bits = sum(bit_cost(row, table) for row, table in zip(counts, tables, strict=True))
    return _Try(layout, params, tables, bits // 8)


def background_of(stored: Stored, counts: I64) -> tuple[int, float]:
    """Return the most frequent symbol (0 for wide numbers) and its share of the elements.

    `counts` are those of the dense layout. Of wide numbers the share is an upper bound.
    """
    top = int(np.argmax(counts[0])) if stored.plan.width == 1 else 0
    return top, float(counts[:, top].min() / stored.elements)


def _huffman(stored: Stored, tried: _Try, block_rows: int) -> Form:
    """Return a Huffman form, with one class of tables or several, whichever is smaller."""
    layout, params = tried.layout, tried.params
    whole = tried.tables if layout is Layout.DENSE else None  # others count what blocks end
    if -(-stored.rows // block_rows) > MAX_BLOCKS:
        return huffman_form(stored, layout, params, block_rows, whole)
    blocks = block_counts(stored, Walk(layout, params, stored.plan.alphabets), block_rows)
    tables = whole or tables_of(blocks.sum(axis=0, dtype=np.int64).reshape(-1, MAX_SYMBOLS))
    best = counted_form(stored, layout, params, block_rows, tables, None, blocks)
    for count in (2, MAX_CLASSES) if len(blocks) >= 8 else ():
        classes = classify(blocks, tables, count)
        if classes.max() == 0:
            continue
        rows = sum_blocks(blocks, classes, int(classes.max()) + 1)
        split = tuple(table for row in rows for table in tables_of(row.reshape(-1, MAX_SYMBOLS)))
        other = counted_form(stored, layout, params, block_rows, split, classes, blocks)
        best = min(best, other, key=Form.size)
    return best


def counted_form(
    stored: Stored,
    layout: Layout,
    params: Any,
    block_rows: int,
    tables: tuple[Table, ...],
    classes: npt.NDArray[np.uint8] | None,
    blocks: U32,
) -> Form:
    """Return a Huffman form that need not count its symbols: `blocks` has them."""
    form = Form(stored, layout, params, Coder.HUFFMAN, block_rows, tables, classes)
    counts, sizes = form.measured(blocks)
    vars(form)["counted"] = counts, np.cumsum(sizes)
    return form


def huffman_form(
    stored: Stored,
    layout: Layout,
    params: Any,
    block_rows: int,
    tables: tuple[Table, ...] | None,
    classes: npt.NDArray[np.uint8] | None = None,
) -> Form:
    """Return a Huffman form with the given tables, or with its own."""
    if tables is None:
        walked = Walk(layout, params, stored.plan.alphabets)
        parts = (walk.count(p, ends, walked) for p, ends in stored.pieces(block_rows))
        counts = sum((part.sum(axis=0, dtype=np.int64) for part in parts), np.zeros((), np.int64))
        tables = tables_of(counts)
    return Form(stored, layout, params, Coder.HUFFMAN, block_rows, tables, classes)


def packed_form(stored: Stored, layout: Layout, params: Any, block_rows: int) -> Form:
    """Return a form with symbols of fixed width."""
    return Form(stored, layout, params, Coder.PACKED, block_rows)


def _packed_gap(stored: Stored, background: int, row_access: bool) -> Form:
    """Return gaps and values of fixed width, with the gap width that costs least."""
    bits = [packed_gap_bits(p, stored.plan.alphabets, background) for p, _ in stored.pieces(1)]
    sizes = np.sum(bits, axis=0)
    best = int(np.argmin(sizes))
    rows = block_rows_of(stored, int(sizes[best]) // 8, row_access)
    return packed_form(stored, Layout.GAP, Gap((1 << best + 1) - 1, background), rows)


def _zstd(stored: Stored, row_access: bool, scratch: Scratch, least: int) -> Iterator[Form]:
    """Yield the zstd form, unless the first of its blocks shows that it will not be smaller."""
    per_row = max(1, stored.columns * stored.plan.width)
    rows = 1 if row_access else max(1, ZSTD_BLOCK // per_row)
    rows = min(rows, stored.rows, (1 << 24) - 1)
    share = rows / stored.rows
    if not row_access and share < 1 and len(_first_frame(stored, rows)) >= share * least:
        return
    yield zstd_form(stored, rows, scratch)


def _first_frame(stored: Stored, block_rows: int) -> bytes:
    planes, ends = stored.piece(0, block_rows, block_rows)
    return coder_zstd.encode(planes, ends)[0]


def zstd_form(stored: Stored, block_rows: int, scratch: Scratch | None = None) -> Form:
    """Return a zstd form with blocks of `block_rows` rows."""
    scratch = scratch or Scratch()
    frames: list[tuple[int, int]] = []
    for planes, ends in stored.pieces(block_rows):
        body, stops = coder_zstd.encode(planes, ends)
        place = scratch.keep(body)
        sizes = np.diff(stops, prepend=0).tolist()
        frames += zip((place + stops - sizes).tolist(), sizes, strict=True)
    return Form(
        stored,
        Layout.DENSE,
        None,
        Coder.ZSTD,
        block_rows,
        scratch=scratch,
        frames=tuple(frames),
    )


def block_rows_of(stored: Stored, size: int, row_access: bool) -> int:
    """Return the least rows per block whose offsets cost at most a 400th of `size` bytes."""
    if row_access and stored.rows > 1:
        return 1
    if size < SMALL_PAYLOAD or stored.rows < 2 or size >= MOST_IN_BLOCKS:
        return stored.rows
    width = max(1, (size.bit_length() + 7) // 8)
    blocks = min(MAX_BLOCKS, 1 + int(size / OFFSET_SHARE / width))
    return min(-(-stored.rows // blocks), (1 << 24) - 1)


def coder_parameters(form: Form, tables: tuple[int, ...]) -> bytes:
    """Return the record's parameters of the coder."""
    return bytes(CODERS[form.coder].write_params(form.context or tables))
