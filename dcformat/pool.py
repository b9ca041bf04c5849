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
from .ids import Coder, Layout, ValuesId
from .tables import ABSENT_BITS, bit_cost, prices, tables_of

I64 = npt.NDArray[np.int64]
MAX_CANDIDATES = 16  #: clusters of a kind that a new member is compared with
RUN_DIGITS = 2
SMALL = 64  #: a table is made anew where a 64th of its symbols has come since


@dataclass(frozen=True, eq=False)
class Coding:
    """A table, and the bits that the symbols it was made for and the table itself take."""

    table: Table
    bits: int

    @cached_property
    def prices(self) -> I64:
        """The bits of each symbol (256,), high for those that the table lacks."""
        return prices(self.table)

    @cached_property
    def lacks(self) -> I64:
        """One for each symbol that the table lacks (256,)."""
        return (self.table.lengths == UNUSED).astype(np.int64)


@dataclass(frozen=True, eq=False)
class Unit:
    """One stream of one tensor: its symbol counts, by number where symbols are numbers.

    `low` and `high` bound the numbers that the tensor's alphabet holds; `digits` are the counts
    of the run digits; `table` is the one of these counts. Units share a table only within a `kind`.
    """

    tensor: int
    stream: int
    kind: tuple[int, ...]
    counts: I64
    low: int
    high: int
    digits: I64
    table: Table

    @cached_property
    def coding(self) -> Coding:
        """Its table, were it alone."""
        symbols = _symbol_counts(self.counts, self.digits, self.low, self.high)
        return _coded(symbols, self.table)

    @cached_property
    def total(self) -> int:
        """How many symbols it has."""
        return int(self.counts.sum() + self.digits.sum())


@dataclass(frozen=True, eq=False)
class Cluster:
    """Units that share a table, which is in symbols from `low`.

    The table was made when there were `made_of` symbols; there are `total` by now.
    """

    counts: I64
    digits: I64
    low: int
    high: int
    coding: Coding
    members: list[Unit]
    made_of: int
    total: int


def _symbol_counts(counts: I64, digits: I64, low: int, high: int) -> I64:
    """Return counts by symbol: number `low` is symbol 0, run digits follow the alphabet."""
    out = np.zeros(256, np.int64)
    size = high - low + 1
    out[:size] = counts[low : high + 1]
    if digits.any():
        out[size : size + RUN_DIGITS] = digits
    return out


def _coding(counts: I64, digits: I64, low: int, high: int) -> Coding:
    symbols = _symbol_counts(counts, digits, low, high)
    return _coded(symbols, tables_of(symbols[None])[0])


def _coded(symbols: I64, table: Table) -> Coding:
    return Coding(table, bit_cost(symbols, table) + 8 * (4 + table.entry_size))


def units_of(tensor: int, form: Form) -> list[Unit]:
    """Return the streams of a Huffman form whose tables may be shared."""
    if form.coder is not Coder.HUFFMAN or form.classes is not None:
        return []
    stored = form.stored
    first = 1 if form.layout is Layout.GAP else 0
    counts = form.counts
    none = np.zeros(RUN_DIGITS, np.int64)
    units = []
    for stream, (row, table) in enumerate(zip(counts, form.tables, strict=True)):
        if stream < first:
            kind: tuple[int, ...] = (
                0,
                form.params.highest,
            )  # a table may not reach past its highest gap
            units.append(Unit(tensor, stream, kind, row, 0, 255, none, table))
        elif stored.plan.width > 1:
            kind = (1, stored.plan.number, stream - first)
            units.append(Unit(tensor, stream, kind, row, 0, 255, none, table))
        else:
            units.append(_value_unit(tensor, stream, form, row))
    return units


def _value_unit(tensor: int, stream: int, form: Form, row: I64) -> Unit:
    plan, table = form.stored.plan, form.tables[stream]
    alphabet = plan.alphabets[0]
    run = form.layout is Layout.RUN
    digits = row[alphabet : alphabet + RUN_DIGITS] if run else np.zeros(RUN_DIGITS, np.int64)
    if form.stored.room is ValuesId.CODEBOOK:
        # an index has no number to shift by: only codebooks of one size share
        kind = (2, run, alphabet)
        return Unit(tensor, stream, kind, row * _below(alphabet), 0, alphabet - 1, digits, table)
    low = plan.base - number_range(plan.number)[0]
    counts = np.zeros(256, np.int64)
    counts[low : low + alphabet] = row[:alphabet]
    kind = (3, run, plan.number)
    return Unit(tensor, stream, kind, counts, low, low + alphabet - 1, digits, table)


def _below(alphabet: int) -> I64:
    return (np.arange(256) < alphabet).astype(np.int64)


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
    coding = _coding(group.counts, group.digits, group.low, group.high)
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
        own = unit.counts, unit.digits, unit.low, unit.high
        clusters.append(Cluster(*own, unit.coding, [unit], unit.total, unit.total))
        return
    clusters[place] = best
    best.members.append(unit)


def _joined(candidate: Cluster, unit: Unit) -> Cluster | None:
    """Return what the cluster is with the unit, which is not among its members yet.

    A small unit that has a code for each of its symbols takes the table as it is. None where the
    two are too unlike.
    """
    merged = _merged(candidate, unit)
    bits, lacking = _price(candidate, unit)
    if merged is None or bits > 2 * unit.coding.bits:
        return None
    total, made_of = candidate.total + unit.total, candidate.made_of
    inside = candidate.low <= unit.low and unit.high <= candidate.high
    if inside and not lacking and SMALL * (total - made_of) <= made_of:
        coding = Coding(candidate.coding.table, candidate.coding.bits + bits)
        vars(coding).update(prices=candidate.coding.prices, lacks=candidate.coding.lacks)
    else:
        coding, made_of = _coding(*merged), total
    return Cluster(*merged, coding, candidate.members, made_of, total)


def _price(candidate: Cluster, unit: Unit) -> tuple[int, int]:
    """Return the bits of the unit's symbols under the candidate's table, and how many it lacks."""
    coding, size = candidate.coding, candidate.high - candidate.low + 1
    within = unit.counts[candidate.low : candidate.high + 1]
    digits = coding.prices[size : size + RUN_DIGITS]
    bits = within @ coding.prices[:size] + unit.digits[: len(digits)] @ digits
    lacks = coding.lacks[size : size + RUN_DIGITS]
    lacking = within @ coding.lacks[:size] + unit.digits[: len(lacks)] @ lacks
    outside = unit.total - int(unit.digits.sum()) - int(within.sum())
    return int(bits) + ABSENT_BITS * outside, int(lacking)


def _merged(candidate: Cluster, unit: Unit) -> tuple[I64, I64, int, int] | None:
    low, high = min(candidate.low, unit.low), max(candidate.high, unit.high)
    run = unit.kind[0] in (2, 3) and bool(unit.kind[1])
    if run and high - low + 1 > MAX_ALPHABET:
        return None
    return candidate.counts + unit.counts, candidate.digits + unit.digits, low, high


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
        base = group.low + number_range(stored.plan.number)[0]
        shift = stored.plan.base - base
        stored = stored.rebased(base, group.high - group.low + 1)
        if form.layout is Layout.RUN:
            params = Run(params.background + shift)
        elif form.layout is Layout.GAP:
            params = replace(params, background=params.background + shift)
    tables = tuple(group.coding.table for _, group in pairs)
    if len(form.block_ends) > 1 or stored.elements >> 32:
        return huffman_form(stored, form.layout, params, form.block_rows, tables)
    counts = [_symbol_counts(unit.counts, unit.digits, g.low, g.high) for unit, g in pairs]
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
