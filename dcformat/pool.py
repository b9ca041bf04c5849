"""Sharing Huffman tables between tensors, decided by exact bytes.

On small networks one table for many tensors beats a table each (spec/encodings/coder_huffman.md).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from .encodings.coder_huffman import Table
from .encodings.layout_run import MAX_ALPHABET, Run
from .encodings.parts import number_range
from .forms import Form, counted_form, huffman_form
from .ids import Coder, Layout, ValuesId
from .tables import ABSENT_BITS, bit_cost, prices, tables_of

I64 = npt.NDArray[np.int64]
MAX_CANDIDATES = 16  #: clusters of a kind that a new member is compared with
RUN_DIGITS = 2


@dataclass(frozen=True, eq=False)
class Coding:
    """A table, and the bits that the symbols it was made for and the table itself take."""

    table: Table
    bits: int


@dataclass(frozen=True, eq=False)
class Unit:
    """One stream of one tensor: its symbol counts, by number where symbols are numbers.

    `low` and `high` bound the numbers that the tensor's alphabet holds; `digits` are the counts
    of the run digits. Units share a table only within a `kind`.
    """

    tensor: int
    stream: int
    kind: tuple[int, ...]
    counts: I64
    low: int
    high: int
    digits: I64

    @cached_property
    def coding(self) -> Coding:
        """Its table, were it alone."""
        return _coding(self.counts, self.digits, self.low, self.high)


@dataclass(frozen=True, eq=False)
class Cluster:
    """Units that share a table, which is in symbols from `low`."""

    counts: I64
    digits: I64
    low: int
    high: int
    coding: Coding
    members: list[Unit]


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
    table = tables_of(symbols[None])[0]
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
    for stream, row in enumerate(counts):
        if stream < first:
            kind: tuple[int, ...] = (
                0,
                form.params.highest,
            )  # a table may not reach past its highest gap
            units.append(Unit(tensor, stream, kind, row, 0, 255, none))
        elif stored.plan.width > 1:
            kind = (1, stored.plan.number, stream - first)
            units.append(Unit(tensor, stream, kind, row, 0, 255, none))
        else:
            units.append(_value_unit(tensor, stream, form, row))
    return units


def _value_unit(tensor: int, stream: int, form: Form, row: I64) -> Unit:
    plan = form.stored.plan
    alphabet = plan.alphabets[0]
    run = form.layout is Layout.RUN
    digits = row[alphabet : alphabet + RUN_DIGITS] if run else np.zeros(RUN_DIGITS, np.int64)
    if form.stored.room is ValuesId.CODEBOOK:
        # an index has no number to shift by: only codebooks of one size share
        kind = (2, run, alphabet)
        return Unit(tensor, stream, kind, row * _below(alphabet), 0, alphabet - 1, digits)
    low = plan.base - number_range(plan.number)[0]
    counts = np.zeros(256, np.int64)
    counts[low : low + alphabet] = row[:alphabet]
    return Unit(tensor, stream, (3, run, plan.number), counts, low, low + alphabet - 1, digits)


def _below(alphabet: int) -> I64:
    return (np.arange(256) < alphabet).astype(np.int64)


def cluster(units: list[Unit]) -> list[Cluster]:
    """Group units into clusters that share a table, largest units first (ties: file order)."""
    clusters: dict[tuple[int, ...], list[Cluster]] = {}
    order = sorted(units, key=lambda u: (-int(u.counts.sum() + u.digits.sum()), u.tensor, u.stream))
    for unit in order:
        _place(clusters.setdefault(unit.kind, []), unit)
    return [c for kind in sorted(clusters) for c in clusters[kind]]


def _place(clusters: list[Cluster], unit: Unit) -> None:
    """Add the unit to the cluster where that saves most, or begin one where none does."""
    best, saved = None, 0
    for index, candidate in enumerate(clusters[:MAX_CANDIDATES]):
        merged = _merged(candidate, unit)
        if merged is None or _price(candidate, unit) > 2 * unit.coding.bits:
            continue
        coding = _coding(*merged)
        gain = unit.coding.bits + candidate.coding.bits - coding.bits
        if gain > saved:
            best, saved = (index, Cluster(*merged, coding, candidate.members)), gain
    if best is None:
        own = unit.counts, unit.digits, unit.low, unit.high
        clusters.append(Cluster(*own, unit.coding, [unit]))
        return
    clusters[best[0]] = best[1]
    best[1].members.append(unit)


def _price(candidate: Cluster, unit: Unit) -> int:
    """Return the bits of the unit's symbols under the candidate's table, absent ones dear."""
    by_symbol = prices(candidate.coding.table)
    by_number = np.full(256, ABSENT_BITS, np.int64)
    size = candidate.high - candidate.low + 1
    by_number[candidate.low : candidate.high + 1] = by_symbol[:size]
    digits = by_symbol[size : size + RUN_DIGITS]
    return int((unit.counts * by_number).sum() + (unit.digits[: len(digits)] * digits).sum())


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
    forms = {i: form for i, form in enumerate(huffman) if form is not None}
    units = {i: units_of(i, form) for i, form in forms.items()}
    while True:
        clusters = cluster([unit for i in forms for unit in units[i]])
        shared = _with_shared_tables(forms, clusters)
        leaving = _leaving(shared, clusters, other)
        if not leaving:
            return [shared.get(i, form) for i, form in enumerate(other)]
        forms = {i: form for i, form in forms.items() if i not in leaving}


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
