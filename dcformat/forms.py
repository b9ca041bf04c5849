"""Ways to write one tensor, each with its exact size: what the encoder chooses from.

Spec: spec/registry.md ("Legal combinations"), spec/DCF.md ("Payload").
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from . import kernels
from .coded import Affine, Codebook, CodedTensor, Fixed, Raw, Values, numbers_of
from .encodings import CODERS, LAYOUTS, VALUES, coder_huffman, coder_packed, coder_zstd
from .encodings.coder_huffman import Table
from .encodings.layout_gap import Gap
from .encodings.layout_run import MAX_ALPHABET, Run
from .encodings.parts import Items, Plan, Planes
from .ids import MAX_CLASSES, MAX_RATIO, RATIO_SLACK, WIDTH, Coder, Layout, ValuesId
from .model import Array
from .records import Blocks
from .tables import bit_cost, block_counts, classify, counts_of, tables_of

I64 = npt.NDArray[np.int64]
ROOM_OF: dict[type, ValuesId] = {
    Raw: ValuesId.RAW,
    Fixed: ValuesId.FIXED,
    Affine: ValuesId.AFFINE,
    Codebook: ValuesId.CODEBOOK,
}
SMALL_PAYLOAD = 2048  #: below this many bytes a tensor is one block
OFFSET_SHARE = 200 / 3  #: block offsets cost at most one byte in 66.7 (1.5 %)
ZSTD_BLOCK = 1 << 22  #: symbols of a zstd block


@dataclass(frozen=True, eq=False)
class Stored:
    """A tensor in stored order: its symbols (n, width) and how rows are cut from them."""

    tensor: CodedTensor
    order: tuple[int, ...]
    row_axes: int
    plan: Plan
    planes: Planes
    numbers: Array

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.tensor.shape[i] for i in self.order)

    @property
    def rows(self) -> int:
        return math.prod(self.shape[: self.row_axes])

    @property
    def columns(self) -> int:
        return math.prod(self.shape[self.row_axes :])

    @property
    def elements(self) -> int:
        return len(self.planes)

    @property
    def room(self) -> ValuesId:
        return ROOM_OF[type(self.plan.values)]

    def ends(self, block_rows: int) -> I64:
        """Return where blocks of `block_rows` rows end, in elements."""
        if not self.elements:
            return np.zeros(1, np.int64)
        count = -(-self.rows // block_rows)
        ends = np.arange(1, count + 1, dtype=np.int64) * (block_rows * self.columns)
        return np.minimum(ends, self.elements)

    def rebased(self, base: int, alphabet: int) -> Stored:
        """Return the same tensor with a wider alphabet that starts at number `base`."""
        shift = self.plan.base - base
        plan = replace(self.plan, base=base, alphabets=(alphabet,))
        return replace(self, plan=plan, planes=(self.planes + np.uint8(shift)).astype(np.uint8))


@dataclass(frozen=True, eq=False)
class Form:
    """One way to write a tensor. `size` counts payload, room parameters and own tables."""

    stored: Stored
    layout: Layout
    params: Any
    coder: Coder
    block_rows: int
    body: bytes
    block_ends: I64
    tables: tuple[Table, ...] = ()
    classes: npt.NDArray[np.uint8] | None = None
    items: Items | None = None

    @property
    def blocks(self) -> Blocks | None:
        if len(self.block_ends) < 2:
            return None
        width = max(1, (int(self.block_ends[-2]).bit_length() + 7) // 8)
        return Blocks(self.block_rows, width, self.class_count)

    @property
    def class_count(self) -> int:
        return 1 if self.classes is None else int(self.classes.max()) + 1

    def payload(self) -> bytes:
        """Return values parameters, offsets, classes and blocks (spec/DCF.md, "Payload")."""
        front = VALUES[self.stored.room].write_axis(self.stored.plan)
        cut = self.blocks
        if cut is None:
            return bytes(front) + self.body
        offsets = self.block_ends[:-1].astype("<u4").view(np.uint8).reshape(-1, 4)
        front += offsets[:, : cut.offset_width].tobytes()
        if self.classes is not None:
            front += kernels.pack_lsb(self.classes, 2)
        return bytes(front) + self.body

    def payload_size(self) -> int:
        """Return the size of `payload()`."""
        cut = self.blocks
        size = self.stored.plan.axis_bytes + len(self.body)
        if cut is not None:
            size += (len(self.block_ends) - 1) * cut.offset_width
            size += 0 if self.classes is None else -(-2 * len(self.block_ends) // 8)
        return size

    def parameter_size(self) -> int:
        """Return the bytes of the record that differ between the forms of one tensor."""
        size = 4 if self.blocks else 0
        size += len(LAYOUTS[self.layout].write_params(self.params))
        return size + (2 * len(self.tables) + 3) // 4 * 4

    def table_size(self) -> int:
        """Return the bytes of own tables in TABLES."""
        return sum(4 + coder_huffman.entry_size(t) for t in set(self.tables))

    def size(self) -> int:
        """Return all bytes that this form costs."""
        return self.payload_size() + self.parameter_size() + self.table_size()

    def legal(self) -> bool:
        """Tell whether the decoded size is within the limit of what is stored."""
        decoded = self.stored.elements * WIDTH[self.stored.plan.number]
        return decoded <= MAX_RATIO * (self.payload_size() + RATIO_SLACK)


def store(tensor: CodedTensor, kernel_order: bool) -> Stored:
    """Return `tensor` in stored order: the kernel's if asked for and known, else the logical."""
    rank = len(tensor.shape)
    order = tensor.order if kernel_order and tensor.order else tuple(range(rank))
    symbols = np.transpose(tensor.symbols, order).reshape(-1)
    values = stored_values(tensor.values, order)
    plan: Plan = VALUES[ROOM_OF[type(values)]].plan_of(values, tensor.dtype, symbols)
    planes = VALUES[ROOM_OF[type(values)]].to_planes(plan, symbols)
    shape = tuple(tensor.shape[i] for i in order)
    return Stored(tensor, order, row_axes_of(shape), plan, planes, numbers_of(symbols, values))


def stored_values(values: Values, order: tuple[int, ...]) -> Values:
    """Return `values` with a stored axis in place of the logical one."""
    if isinstance(values, Raw) or values.axis is None:
        return values
    moved = replace(values, axis=order.index(values.axis))
    if isinstance(moved, Affine) and moved.block:
        return replace(
            moved,
            scale=np.ascontiguousarray(np.transpose(moved.scale, order)),
            zero_point=np.ascontiguousarray(np.transpose(moved.zero_point, order)),
        )
    return moved


def logical_values(values: Values, order: tuple[int, ...]) -> Values:
    """Return `values` with a logical axis in place of the stored one."""
    if isinstance(values, Raw) or values.axis is None:
        return values
    moved = replace(values, axis=order[values.axis])
    if isinstance(moved, Affine) and moved.block:
        back = np.argsort(order)
        return replace(
            moved,
            scale=np.ascontiguousarray(np.transpose(moved.scale, back)),
            zero_point=np.ascontiguousarray(np.transpose(moved.zero_point, back)),
        )
    return moved


def row_axes_of(shape: tuple[int, ...]) -> int:
    """Return how many leading axes index a row: enough for more than one row, but not all."""
    for axes in range(1, len(shape)):
        if math.prod(shape[:axes]) > 1:
            return axes
    return 0


def forms_of(stored: Stored, host: bool, row_access: bool) -> Iterator[Form]:
    """Yield the legal forms of a tensor, Huffman ones with tables of their own."""
    yield packed_form(stored, Layout.DENSE, None, stored.rows)
    if not stored.elements:
        return
    yield _huffman(stored, Layout.DENSE, None, row_access)
    background, share = background_of(stored)
    if share >= 0.2:
        yield _packed_gap(stored, background, row_access)
        yield _huffman(stored, Layout.GAP, Gap(255, background), row_access)
    if share > 0 and stored.plan.width == 1 and stored.plan.alphabets[0] <= MAX_ALPHABET:
        yield _huffman(stored, Layout.RUN, Run(background), row_access)
    if host:
        yield _zstd(stored, row_access)


def background_of(stored: Stored) -> tuple[int, float]:
    """Return the most frequent symbol (0 for wide numbers) and its share of the elements."""
    if stored.plan.width > 1:
        zeros = np.count_nonzero(~stored.planes.any(axis=1))
        return 0, float(zeros / stored.elements)
    counts = kernels.histogram(stored.planes.reshape(-1))
    top = int(np.argmax(counts))
    return top, float(counts[top] / stored.elements)


def items_of(stored: Stored, layout: Layout, params: Any, block_rows: int) -> Items:
    """Return the items of a tensor cut into blocks of `block_rows` rows."""
    ends = stored.ends(block_rows)
    if layout is Layout.RUN:
        items: Items = LAYOUTS[layout].encode(stored.planes, ends, params, stored.plan.alphabets[0])
    else:
        items = LAYOUTS[layout].encode(stored.planes, ends, params)
    return items


def _stream_count(stored: Stored, layout: Layout) -> int:
    return stored.plan.width + (1 if layout is Layout.GAP else 0)


def _huffman(stored: Stored, layout: Layout, params: Any, row_access: bool) -> Form:
    whole = items_of(stored, layout, params, stored.rows)
    counts = counts_of(whole, _stream_count(stored, layout))
    tables = tables_of(counts)
    size = sum(bit_cost(row, table) for row, table in zip(counts, tables, strict=True)) // 8
    rows = block_rows_of(stored, size, row_access)
    form = huffman_form(stored, layout, params, rows, tables=None)
    classed = _with_classes(form) if len(form.block_ends) >= 8 else None
    return classed if classed is not None and classed.size() < form.size() else form


def huffman_form(
    stored: Stored,
    layout: Layout,
    params: Any,
    block_rows: int,
    tables: tuple[Table, ...] | None,
    classes: npt.NDArray[np.uint8] | None = None,
) -> Form:
    """Return a Huffman form with the given tables, or with its own."""
    items = items_of(stored, layout, params, block_rows)
    if tables is None:
        tables = tables_of(counts_of(items, _stream_count(stored, layout)))
    body, ends = coder_huffman.encode(items, list(tables), classes)
    return Form(
        stored, layout, params, Coder.HUFFMAN, block_rows, body, ends, tables, classes, items
    )


def packed_form(stored: Stored, layout: Layout, params: Any, block_rows: int) -> Form:
    """Return a form with symbols of fixed width."""
    items = items_of(stored, layout, params, block_rows)
    alphabets = LAYOUTS[layout].alphabets(params, stored.plan)
    if layout is Layout.DENSE and stored.plan.width > 1:
        body = stored.planes.tobytes()
        ends = np.array([len(body)], np.int64)
    else:
        body, ends = coder_packed.encode(items, alphabets)
    return Form(stored, layout, params, Coder.PACKED, block_rows, body, ends)


def _packed_gap(stored: Stored, background: int, row_access: bool) -> Form:
    """Return gaps and values of fixed width, with the gap width that costs least."""
    options = [Gap((1 << bits) - 1, background) for bits in range(1, 9)]
    sizes = [_packed_gap_size(stored, option) for option in options]
    best = int(np.argmin(sizes))
    rows = block_rows_of(stored, sizes[best] // 8, row_access)
    return packed_form(stored, Layout.GAP, options[best], rows)


def _packed_gap_size(stored: Stored, params: Gap) -> int:
    items = items_of(stored, Layout.GAP, params, stored.rows)
    alphabets = LAYOUTS[Layout.GAP].alphabets(params, stored.plan)
    bits = np.array([coder_packed.bits_of(a) for a in alphabets], np.int64)
    counts = np.bincount(items.streams, minlength=len(bits))
    return int((counts * bits).sum())


def _zstd(stored: Stored, row_access: bool) -> Form:
    per_row = max(1, stored.columns * stored.plan.width)
    rows = 1 if row_access else max(1, ZSTD_BLOCK // per_row)
    return zstd_form(stored, min(rows, stored.rows, (1 << 24) - 1))


def zstd_form(stored: Stored, block_rows: int) -> Form:
    """Return a zstd form with blocks of `block_rows` rows."""
    body, ends = coder_zstd.encode(stored.planes, stored.ends(block_rows))
    return Form(stored, Layout.DENSE, None, Coder.ZSTD, block_rows, body, ends)


def block_rows_of(stored: Stored, size: int, row_access: bool) -> int:
    """Return the least rows per block whose offsets cost at most 1.5 % of `size` bytes."""
    if row_access and stored.rows > 1:
        return 1
    if size < SMALL_PAYLOAD or stored.rows < 2:
        return stored.rows
    width = max(1, (size.bit_length() + 7) // 8)
    blocks = 1 + int(size / OFFSET_SHARE / width)
    return min(-(-stored.rows // blocks), (1 << 24) - 1)


def _with_classes(form: Form) -> Form | None:
    """Return `form` with two or up to four table classes, whichever is smaller."""
    if form.items is None:
        return None
    blocks = block_counts(form.items, _stream_count(form.stored, form.layout))
    best: Form | None = None
    for count in (2, MAX_CLASSES):
        classes = classify(blocks, form.tables, count)
        if classes.max() == 0:
            continue
        rows = [blocks[classes == c].sum(axis=0) for c in range(int(classes.max()) + 1)]
        tables = tuple(table for row in rows for table in tables_of(row.reshape(-1, 256)))
        other = huffman_form(
            form.stored, form.layout, form.params, form.block_rows, tables, classes
        )
        if best is None or other.size() < best.size():
            best = other
    return best


def coder_parameters(form: Form, tables: tuple[int, ...]) -> bytes:
    """Return the record's parameters of the coder."""
    return bytes(CODERS[form.coder].write_params(tables))
