"""Sharing Huffman tables between tensors, decided by exact bytes.

On small networks one table for many tensors beats a table each (spec/encodings/coder_huffman.md).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from .encodings.coder_huffman import UNUSED, Table
from .encodings.layout_run import MAX_ALPHABET, Run
from .encodings.parts import number_range
from .forms import Form, counted_form, huffman_form
from .ids import MAX_SYMBOLS, Coder, Layout, ValuesId
from .tables import ABSENT_BITS, bit_cost, prices, tables_of

I64 = npt.NDArray[np.int64]
MAX_CANDIDATES = 16  #: clusters of a kind that a new member is compared with
RUN_DIGITS = 2
COUNTS = MAX_SYMBOLS + RUN_DIGITS
SMALL = 64  #: a table is made anew where a 64th of its symbols has come since


@dataclass(frozen=True, eq=False)
class Coding:
    """A table for numbers `low` to `high`, and the bits of the symbols it is for and of itself."""

    table: Table
    bits: int
    low: int
    high: int

    @cached_property
    def costs(self) -> I64:
        """By number: the bits of its code, high where the table lacks it; and 1 there, else 0."""
        out = np.empty((2, COUNTS), np.int64)
        out[0], out[1] = ABSENT_BITS, 1
        symbols = np.stack([prices(self.table), self.table.lengths == UNUSED])
        size = self.high - self.low + 1
        out[:, self.low : self.high + 1] = symbols[:, :size]
        digits = symbols[:, size : size + RUN_DIGITS]
        out[:, MAX_SYMBOLS : MAX_SYMBOLS + digits.shape[1]] = digits
        return out


@dataclass(frozen=True, eq=False)
class Unit:
    """One stream of one tensor: its symbol counts, by number where symbols are numbers.

    `counts` (258,) are followed by those of the run digits. `low` and `high` bound the numbers that
    the tensor's alphabet holds; `table` is the one of these counts. Units share a table only within
    a `kind`.
    """

    tensor: int
    stream: int
    kind: tuple[int, ...]
    counts: I64
    low: int
    high: int
    table: Table

    @cached_property
    def coding(self) -> Coding:
        """Its table, were it alone."""
        symbols = _symbol_counts(self.counts, self.low, self.high)
        return _coded(symbols, self.table, self.low, self.high)

    @cached_property
    def total(self) -> int:
        """How many symbols it has."""
        return int(self.counts.sum())


@dataclass(frozen=True, eq=False)
class Cluster:
    """Units that share a table.

    The table was made when there were `made_of` symbols; there are `total` by now.
    """

    counts: I64
    coding: Coding
    members: list[Unit]
    made_of: int
    total: int


def _symbol_counts(counts: I64, low: int, high: int) -> I64:
    """Return counts by symbol: number `low` is symbol 0, run digits follow the alphabet."""
    out = np.zeros(MAX_SYMBOLS, np.int64)
    size = high - low + 1
    out[:size] = counts[low : high + 1]
    if size + RUN_DIGITS <= MAX_SYMBOLS:
        out[size : size + RUN_DIGITS] = counts[MAX_SYMBOLS:]
    return out


def _coding(counts: I64, low: int, high: int) -> Coding:
    symbols = _symbol_counts(counts, low, high)
    return _coded(symbols, tables_of(symbols[None])[0], low, high)


def _coded(symbols: I64, table: Table, low: int, high: int) -> Coding:
    return Coding(table, bit_cost(symbols, table) + 8 * (4 + table.entry_size), low, high)


def units_of(tensor: int, form: Form) -> list[Unit]:
    """Return the streams of a Huffman form whose tables may be shared."""
    if form.coder is not Coder.HUFFMAN or form.classes is not None:
        return []
    stored = form.stored
    first = 1 if form.layout is Layout.GAP else 0
    units = []
    for stream, (row, table) in enumerate(zip(form.counts, form.tables, strict=True)):
        if stream < first:
            # a table may not reach past its highest gap
            kind: tuple[int, ...] = (0, form.params.highest)
        elif stored.plan.width > 1:
            kind = (1, stored.plan.number, stream - first)
        else:
            units.append(_value_unit(tensor, stream, form, row))
            continue
        counts = np.zeros(COUNTS, np.int64)
        counts[:MAX_SYMBOLS] = row
        units.append(Unit(tensor, stream, kind, counts, 0, MAX_SYMBOLS - 1, table))
    return units


def _value_unit(tensor: int, stream: int, form: Form, row: I64) -> Unit:
    plan, table = form.stored.plan, form.tables[stream]
    alphabet = plan.alphabets[0]
    run = form.layout is Layout.RUN
    if form.stored.room is ValuesId.CODEBOOK:
        # an index has no number to shift by: only codebooks of one size share
        kind, low = (2, run, alphabet), 0
    else:
        kind, low = (3, run, plan.number), plan.base - number_range(plan.number)[0]
    counts = np.zeros(COUNTS, np.int64)
    counts[low : low + alphabet] = row[:alphabet]
    if run:
        counts[MAX_SYMBOLS:] = row[alphabet : alphabet + RUN_DIGITS]
    return Unit(tensor, stream, kind, counts, low, low + alphabet - 1, table)


def cluster(units: list[Unit]) -> list[Cluster]:
    """Group units into clusters that share a table, largest units first (ties: file order)."""
    clusters: dict[tuple[int, ...], list[Cluster]] = {}
    for unit in sorted(units, key=lambda u: (-u.total, u.tensor, u.stream)):
        _place(clusters.setdefault(unit.kind, []), unit)
    return [_renewed(c) for kind in sorted(clusters) for c in clusters[kind]]


def _renewed(group: Cluster) -> Cluster:
    """Return the cluster with the table that all its symbols ask for."""
    if group.total == group.made_of:
        return group
    coding = _coding(group.counts, group.coding.low, group.coding.high)
    return replace(group, coding=coding, made_of=group.total)


def _place(clusters: list[Cluster], unit: Unit) -> None:
    """Add the unit to the cluster where that saves most, or begin one where none does."""
    best, saved, place = None, 0, 0
    for index, candidate in enumerate(clusters[:MAX_CANDIDATES]):
        joined = _joined(candidate, unit)
        if joined is None:
            continue
        gain = unit.coding.bits + candidate.coding.bits - joined.coding.bits
        if gain > saved:
            best, saved, place = joined, gain, index
    if best is None:
        clusters.append(Cluster(unit.counts, unit.coding, [unit], unit.total, unit.total))
        return
    clusters[place] = best
    best.members.append(unit)


def _joined(candidate: Cluster, unit: Unit) -> Cluster | None:
    """Return what the cluster is with the unit, which is not among its members yet.

    A small unit that has a code for each of its symbols takes the table as it is. None where the
    two are too unlike.
    """
    old, made_of = candidate.coding, candidate.made_of
    bits, lacking = (old.costs @ unit.counts).tolist()
    low, high = min(old.low, unit.low), max(old.high, unit.high)
    if bits > 2 * unit.coding.bits or (_is_run(unit) and high - low + 1 > MAX_ALPHABET):
        return None
    counts, total = candidate.counts + unit.counts, candidate.total + unit.total
    same = (low, high) == (old.low, old.high) and not lacking
    if same and SMALL * (total - made_of) <= made_of:
        coding = Coding(old.table, old.bits + bits, low, high)
        vars(coding)["costs"] = old.costs
    else:
        coding, made_of = _coding(counts, low, high), total
    return Cluster(counts, coding, candidate.members, made_of, total)


def _is_run(unit: Unit) -> bool:
    return unit.kind[0] in (2, 3) and bool(unit.kind[1])


def share(huffman: list[Form | None], other: list[Form]) -> list[Form]:
    """Return the final form of each tensor.

    `huffman[i]` is the smallest Huffman form of tensor i with tables of its own (None if there
    is none), `other[i]` its smallest other form. Tensors that Huffman codes do not serve, once
    tables are shared, take the other form, and the rest share again without them.
    """
    pairs = enumerate(zip(huffman, other, strict=True))
    forms = {i: own for i, (own, best) in pairs if own is not None and _may_gain(own, best)}
    units = {i: units_of(i, form) for i, form in forms.items()}
    while True:
        clusters = cluster([unit for i in forms for unit in units[i]])
        shared = _with_shared_tables(forms, clusters)
        leaving = _leaving(shared, clusters, other)
        if not leaving:
            return [shared.get(i, form) for i, form in enumerate(other)]
        forms = {i: form for i, form in forms.items() if i not in leaving}


def _may_gain(huffman: Form, other: Form) -> bool:
    """Tell whether a Huffman form would be smaller than another if tables were free."""
    return huffman is other or huffman.payload_size() + huffman.parameter_size() < other.size()


def _with_shared_tables(forms: dict[int, Form], clusters: list[Cluster]) -> dict[int, Form]:
    """Write again the forms whose table is shared with another tensor."""
    places = {
        (unit.tensor, unit.stream): (unit, group) for group in clusters for unit in group.members
    }
    out = {}
    for index, form in forms.items():
        mine = [places.get((index, s)) for s in range(len(form.tables))]
        pairs = [pair for pair in mine if pair is not None]
        changed = len(pairs) == len(mine) and any(len(g.members) > 1 for _, g in pairs)
        out[index] = _rewrite(form, pairs) if changed else form
    return out


def _rewrite(form: Form, pairs: list[tuple[Unit, Cluster]]) -> Form:
    stored, params = form.stored, form.params
    if stored.plan.width == 1 and stored.room is not ValuesId.CODEBOOK:
        group = pairs[-1][1]
        base = group.coding.low + number_range(stored.plan.number)[0]
        shift = stored.plan.base - base
        stored = stored.rebased(base, group.coding.high - group.coding.low + 1)
        if form.layout is Layout.RUN:
            params = Run(params.background + shift)
        elif form.layout is Layout.GAP:
            params = replace(params, background=params.background + shift)
    tables = tuple(group.coding.table for _, group in pairs)
    if len(form.block_ends) > 1 or stored.elements >> 32:
        return huffman_form(stored, form.layout, params, form.block_rows, tables)
    counts = [_symbol_counts(u.counts, g.coding.low, g.coding.high) for u, g in pairs]
    block = np.concatenate(counts).astype(np.uint32)[None]
    return counted_form(stored, form.layout, params, form.block_rows, tables, None, block)


def _leaving(shared: dict[int, Form], clusters: list[Cluster], other: list[Form]) -> set[int]:
    """Return the tensors for which the other form is smaller, tables counted by their share."""
    users: dict[tuple[int, int], int] = {}
    for group in clusters:
        for unit in group.members:
            users[unit.tensor, unit.stream] = len(group.members)
    leaving = set()
    for index, form in shared.items():
        tables = sum(
            -(-(4 + table.entry_size) // users.get((index, s), 1))
            for s, table in enumerate(form.tables)
        )
        size = form.payload_size() + form.parameter_size() + tables
        if size >= other[index].size() or not form.legal():
            leaving.add(index)
    return leaving
