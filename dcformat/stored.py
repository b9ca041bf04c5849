"""A tensor in the order in which it is stored, read in pieces of whole blocks of rows.

Spec: spec/DCF.md ("Stored order", "Payload").
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

import numpy as np
import numpy.typing as npt

from .coded import Affine, Codebook, CodedTensor, Fixed, Pow2, Raw, Values, numbers_of
from .encodings import VALUES
from .encodings.parts import SIGNED, Plan, Planes
from .ids import WIDTH, ValuesId
from .model import PIECE, Array

I64 = npt.NDArray[np.int64]
ROOM_OF: dict[type, ValuesId] = {
    Raw: ValuesId.RAW,
    Fixed: ValuesId.FIXED,
    Affine: ValuesId.AFFINE,
    Codebook: ValuesId.CODEBOOK,
    Pow2: ValuesId.POW2,
}
BLOCKS = 4096  #: most blocks that are worked on at once
FEW = 32  #: pieces of a large tensor in another order than it is read
HELD_MOST = 1 << 25  #: bytes of a tensor that are held while its form is chosen


@dataclass(frozen=True, eq=False)
class Stored:
    """A tensor in stored order, and how rows are cut from it.

    `read(start, stop)` gives the symbols (n, width) of stored rows start to stop - 1: of what is
    `held` (one array of all, in stored order, or none), else of the tensor.
    """

    tensor: CodedTensor
    order: tuple[int, ...]
    row_axes: int
    plan: Plan
    read: Callable[[int, int], Planes]
    numbers_crc: int
    held: list[Array] = field(default_factory=list)

    @cached_property
    def shape(self) -> tuple[int, ...]:
        shape = self.tensor.shape
        return tuple(shape[i] for i in self.order)

    @cached_property
    def rows(self) -> int:
        return math.prod(self.shape[: self.row_axes])

    @cached_property
    def columns(self) -> int:
        return math.prod(self.shape[self.row_axes :])

    @cached_property
    def elements(self) -> int:
        return math.prod(self.shape)

    @property
    def width(self) -> int:
        """Bytes of an element's symbols."""
        return 1 if isinstance(self.plan.values, Codebook) else WIDTH[self.plan.number]

    @property
    def room(self) -> ValuesId:
        return ROOM_OF[type(self.plan.values)]

    def pieces(self, block_rows: int) -> Iterator[tuple[Planes, I64]]:
        """Yield symbols (n, width) of whole blocks, and where in them blocks end, in elements."""
        for start, stop in self.cuts(block_rows):
            yield self.piece(start, stop, block_rows)

    def cuts(self, block_rows: int, most: int = PIECE) -> Iterator[tuple[int, int]]:
        """Yield the rows from and to which to work at once: about `most` elements."""
        # rows that do not lie together are costly to read: few large pieces
        permuted = self.order != tuple(range(len(self.order)))
        most = max(most, self.elements // FEW) if permuted else most
        step = block_rows * min(BLOCKS, max(1, most // max(1, block_rows * self.columns)))
        rows = self.rows if self.elements else 1
        return ((start, min(start + step, rows)) for start in range(0, rows, max(1, step)))

    def piece(self, start: int, stop: int, block_rows: int) -> tuple[Planes, I64]:
        """Return the symbols of rows `start` to `stop` - 1, and where in them blocks end."""
        if not self.elements:
            return np.zeros((0, self.plan.width), np.uint8), np.zeros(1, np.int64)
        count = -(-(stop - start) // block_rows)
        ends = np.arange(1, count + 1, dtype=np.int64) * (block_rows * self.columns)
        return self.read(start, stop), np.minimum(ends, (stop - start) * self.columns)

    def rebased(self, base: int, alphabet: int) -> Stored:
        """Return the same tensor with a wider alphabet that starts at number `base`."""
        shift = self.plan.base - base
        plan, read = replace(self.plan, base=base, alphabets=(alphabet,)), self.read
        return replace(
            self, plan=plan, read=lambda i, j: (read(i, j) + np.uint8(shift)).astype(np.uint8)
        )


def store(tensor: CodedTensor, kernel_order: bool, hold: bool = False) -> Stored:
    """Return `tensor` in stored order: the kernel's if asked for and known, else the logical.

    With `hold` a tensor that is not too large is read once, and `held` until the caller clears it.
    """
    rank = len(tensor.shape)
    order = tensor.order if kernel_order and tensor.order else tuple(range(rank))
    row_axes = row_axes_of(tuple(tensor.shape[i] for i in order))
    values = stored_values(tensor.values, order)
    room = VALUES[ROOM_OF[type(values)]]
    stored = Stored(tensor, order, row_axes, Plan(tensor.number_type(), (1,), 0, values), _none, 0)
    symbols = partial(_symbols, stored)
    if hold and 0 < stored.elements * stored.width <= HELD_MOST:
        stored.held.append(symbols(0, stored.rows))
    crc, extremes = _look(stored, symbols)
    plan: Plan = room.plan_of(values, tensor.dtype, extremes)
    return replace(
        stored,
        plan=plan,
        read=lambda start, stop: room.to_planes(plan, symbols(start, stop)),
        numbers_crc=crc,
    )


def _symbols(stored: Stored, start: int, stop: int) -> Array:
    """Return the symbols of stored rows `start` to `stop` - 1, (n,)."""
    if stored.held:
        columns = stored.columns
        return stored.held[0][start * columns : stop * columns]
    rank, order = len(stored.order), stored.order
    along = order[stored.row_axes - 1] if stored.row_axes else None
    cut = slice(start, stop)
    window = tuple(cut if i == along else slice(None) for i in range(rank))
    part = np.transpose(stored.tensor.piece(window), order)
    return np.ascontiguousarray(part).reshape(-1)


def _none(start: int, stop: int) -> Planes:
    return np.zeros((0, 1), np.uint8)


def _look(stored: Stored, symbols: Callable[[int, int], Array]) -> tuple[int, Array]:
    """Return the CRC of the numbers in stored order, and the least and greatest symbol."""
    crc, found = 0, []
    for start, stop in stored.cuts(1) if stored.elements else ():
        part = symbols(start, stop)
        crc = zlib.crc32(np.ascontiguousarray(numbers_of(part, stored.plan.values)).data, crc)
        if part.itemsize == 1:
            whole = part.view(np.int8 if stored.plan.number in SIGNED else np.uint8)
            found += [whole.min().view(part.dtype), whole.max().view(part.dtype)]
    return crc, np.array(found) if found else np.zeros(0, np.uint8)


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
