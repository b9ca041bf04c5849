"""Whether a file fits: limits for all of it, for layers, for purposes, and for growth.

    version = 1

    [file]
    most = "200KiB"
    growth = "2%"       # against the baseline; or in bytes

    [[layer]]
    match = "fc*"       # tensors or nodes; all of them together
    most = "64KiB"

    [[purpose]]
    name = "graph"
    most = "8KiB"

Sisters: dcformat/audit.py (the sizes), dcformat/audit_diff.py (the growth). KB is 1,000 bytes and
KiB 1,024; a number is bytes. A pattern that matches nothing is an error, as in a recipe.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from fractions import Fraction
from pathlib import Path
from typing import Any

from . import audit_blocks as blocks
from . import audit_bytes as own
from .audit_diff import Diff
from .audit_report import PURPOSES, Report, TensorRow
from .byte_sizes import size_of
from .compress.recipe import parse_toml
from .errors import ConvertError

_VERSION = 1
_SHARE = re.compile(r"\s*(\d{1,9}(?:\.\d{1,9})?)\s*%\s*", re.ASCII)
_DEEP = 5  #: bits of what --preset deep makes of dense layers
FILE, LAYER, PURPOSE = "file", "layer", "purpose"
_KEYS = {FILE: "", LAYER: "match", PURPOSE: "name"}


@dataclass(frozen=True)
class Limit:
    """At most `most` bytes, or `growth` bytes more than before, or a share of that more.

    `kind` is FILE, LAYER (then `what` is a glob) or PURPOSE (its name).
    """

    kind: str
    what: str = ""
    most: int | None = None
    growth: int | None = None
    growth_share: Fraction | None = None

    def __str__(self) -> str:
        return f"{self.kind} {self.what}".rstrip()


@dataclass(frozen=True)
class Answer:
    """What became of a limit: `bytes` are those that count, `advice` what can be done."""

    what: str
    limit: int
    bytes: int
    advice: str = ""

    @property
    def over(self) -> int:
        return max(0, self.bytes - self.limit)

    @property
    def ok(self) -> bool:
        return not self.over


def read_budget(path: str | Path) -> tuple[Limit, ...]:
    """Return the limits of a TOML file. Raises ConvertError naming the file and the fault."""
    origin = str(path)
    table = parse_toml(Path(path), origin, "budget")
    version = table.pop("version", None)
    if version != _VERSION or isinstance(version, bool):
        raise ConvertError(f"expected version = {_VERSION}", place=origin)
    limits: list[Limit] = []
    for kind, stated in table.items():
        if kind not in _KEYS:
            raise ConvertError(f"unknown key {kind!r}; known: {', '.join(_KEYS)}", place=origin)
        rows = [stated] if kind == FILE else stated
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            how = "[file]" if kind == FILE else f"[[{kind}]]"
            raise ConvertError(f"{kind} is written {how}", place=origin)
        limits += [_limit(kind, row, f"{origin}: {kind}") for row in rows]
    if not limits:
        raise ConvertError("states no limit", place=origin)
    return tuple(limits)


def _limit(kind: str, row: Mapping[str, Any], place: str) -> Limit:
    word = _KEYS[kind]
    for key in row:
        if key not in (word, "most", "growth"):
            raise ConvertError(f"unknown key {key!r}", place=place)
    what = row.get(word, "")
    if word and not (isinstance(what, str) and what):
        raise ConvertError(f"wants {word} = a text", place=place)
    if kind == PURPOSE and what not in PURPOSES:
        raise ConvertError(f"no purpose {what!r}; there are {', '.join(PURPOSES)}", place=place)
    if not {"most", "growth"} & row.keys():
        raise ConvertError("wants most or growth", place=place)
    most = _bytes(row["most"], f"{place}: most") if "most" in row else None
    growth = row.get("growth")
    share = _SHARE.fullmatch(growth) if isinstance(growth, str) else None
    if share:
        return Limit(kind, what, most, None, Fraction(share[1]) / 100)
    return Limit(kind, what, most, None if growth is None else _bytes(growth, f"{place}: growth"))


def _bytes(value: object, place: str) -> int:
    size = size_of(value) if isinstance(value, str) else value
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise ConvertError(f"{value!r} is not a size like 2048 or '2KiB'", place=place)
    return size


def check_budget(limits: Iterable[Limit], report: Report, diff: Diff | None) -> tuple[Answer, ...]:
    """Return what became of each limit.

    Raises ConvertError where a pattern matches no tensor, and for growth without a baseline.
    """
    return tuple(answer for limit in limits for answer in _answers(limit, report, diff))


def _answers(limit: Limit, report: Report, diff: Diff | None) -> Iterable[Answer]:
    rows = [row for row in report.tensors if _is_of(limit, row.name, row.layer)]
    gone = [row for row in diff.rows if _is_of(limit, row.name, row.layer)] if diff else []
    if limit.kind == LAYER and not rows and not gone:
        raise ConvertError(f"{limit.what!r} matches no tensor and no layer", place="budget")
    now = _size(limit, report, rows)
    if limit.most is not None:
        advice = _advice(report, rows, limit) if now > limit.most else ""
        yield Answer(str(limit), limit.most, now, advice)
    if limit.growth is not None or limit.growth_share is not None:
        if diff is None:
            raise ConvertError(f"growth of {limit} wants --baseline", place="budget")
        grown = _growth(limit, diff)
        allowed = limit.growth
        if limit.growth_share is not None:
            allowed = int((now - grown) * limit.growth_share)
        advice = _growth_advice(limit, diff) if grown > (allowed or 0) else ""
        yield Answer(f"growth of {limit}", allowed or 0, grown, advice)


def _is_of(limit: Limit, name: str, layer: str) -> bool:
    return limit.kind != LAYER or fnmatchcase(name, limit.what) or fnmatchcase(layer, limit.what)


def _size(limit: Limit, report: Report, rows: Iterable[TensorRow]) -> int:
    if limit.kind == FILE:
        return report.bytes
    if limit.kind == PURPOSE:
        return report.purposes.get(limit.what, 0)
    return sum(row.bytes for row in rows)


def _growth(limit: Limit, diff: Diff) -> int:
    if limit.kind == FILE:
        return diff.bytes
    if limit.kind == PURPOSE:
        inside = sum(row.purposes.get(limit.what, 0) for row in diff.rows)
        return inside + sum(row.change for row in diff.frame if row.purpose == limit.what)
    return sum(row.change for row in diff.rows if _is_of(limit, row.name, row.layer))


#: What makes bytes of a purpose fewer.
_HINTS = {
    "graph": "dcconvert --no-graph leaves it out",
    "names": "dcconvert --no-names leaves hashes in their place",
    own.OFFSETS: "without --row-access there are fewer blocks",
    own.CODEBOOK: "fewer levels: a recipe with fewer bits, or levels of int8",
    own.SCALES: "codebooks have no scales per channel: --preset deep",
    own.PADDING: "target mcu aligns to 16 bytes, host to 64",
    blocks.SPARE: "fewer blocks have fewer ends: no --row-access",
}


def _advice(report: Report, rows: list[TensorRow], limit: Limit) -> str:
    """Return what to do about sizes: where most bytes are, and what makes them fewer."""
    if limit.kind == PURPOSE and limit.what in _HINTS:
        return _HINTS[limit.what]
    largest = max(rows, key=lambda row: row.bytes, default=None)
    sized = [(report.purposes.get(purpose, 0), purpose) for purpose in ("graph", "names")]
    rest = max(sized)
    if limit.kind == FILE and (largest is None or rest[0] > largest.bytes):
        return f"most is {rest[1]}, {rest[0]:,} B: {_HINTS[rest[1]]}" if rest[0] else ""
    if largest is None:
        return ""
    return f"most is {largest.name}, {largest.bytes:,} B: {_hint(largest)}"


def _hint(row: TensorRow) -> str:
    """Return what would make a tensor smaller than what was done to it already."""
    if row.tied_to is not None or row.status != "ok":
        return "it was not looked into"
    if row.values == "RAW":
        return "every bit of it is kept; --preset int8, or [[layer]] method = 'int8' in a recipe"
    if row.values == "CODEBOOK":
        bits = max(1, ((row.levels or 2) - 1).bit_length() - 1)
        levels = _several(row.levels or 0, "level")
        return f"it has {levels}; a recipe with bits = {bits} for it, or prune"
    distinct = row.facts.distinct if row.facts else 0
    if distinct > 1 << _DEEP:
        more = f"--preset deep, or a recipe with bits = {_DEEP} or prune for it"
        return f"it has {_several(distinct, 'different number')}; {more}"
    fewer = (distinct - 1).bit_length() - 1
    what = (
        f"a recipe with bits = {fewer} for it, or prune" if fewer > 1 else "a recipe may prune it"
    )
    return f"it has {_several(distinct, 'different number')}; {what}"


def _several(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _growth_advice(limit: Limit, diff: Diff) -> str:
    """Return which row grew most, and in what."""
    rows = [row for row in diff.rows if _is_of(limit, row.name, row.layer)]
    most = max(rows, key=lambda row: row.change, default=None)
    frame = max(diff.frame, key=lambda row: row.change, default=None)
    if limit.kind == FILE and frame and (most is None or frame.change > most.change):
        return f"grown most: {frame.purpose}, {frame.change:+,} B"
    if most is None or most.change <= 0:
        return ""
    purpose = max(most.purposes, key=lambda one: most.purposes[one])
    return f"grown most: {most.name}, {most.change:+,} B ({purpose} {most.purposes[purpose]:+,} B)"
