"""What changed from one audit to another: tensor by tensor, purpose by purpose.

Sister: dcformat/audit.py, which makes what is compared. A tensor is found again by its name; else
by its content (SHA-256 of type, shape and numbers: a new name); else by type and shape, where as
many are left on both sides (new names and new numbers), in the order of the files.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from .audit_report import PURPOSES, Purposes, Report, TensorRow

NAME, CONTENT, SHAPE, NEW, GONE = "name", "content", "shape", "new", "gone"


@dataclass(frozen=True)
class Part:
    """A tensor as a comparison sees it; `content` is None where its numbers were not read."""

    name: str
    layer: str
    dtype: str | None
    shape: tuple[int, ...]
    content: str | None
    purposes: Mapping[str, int]

    @property
    def bytes(self) -> int:
        return sum(self.purposes.values())


@dataclass(frozen=True)
class Side:
    """One of two files: its tensors, and its other bytes by purpose."""

    name: str
    bytes: int
    parts: tuple[Part, ...]
    frame: Mapping[str, int]


@dataclass(frozen=True)
class Row:
    """A tensor that changed. `was` is its name before, where that was another.

    `before` is None of a new tensor, `after` of one that is gone; `purposes` are the changes.
    `changed_content` tells whether the numbers are others, None where that is not known.
    """

    name: str
    layer: str
    was: str | None
    how: str
    before: int | None
    after: int | None
    purposes: Purposes
    changed_content: bool | None

    @property
    def change(self) -> int:
        return (self.after or 0) - (self.before or 0)


@dataclass(frozen=True)
class FrameChange:
    """Bytes of no tensor, by purpose."""

    purpose: str
    before: int
    after: int

    @property
    def change(self) -> int:
        return self.after - self.before


@dataclass(frozen=True)
class Diff:
    """All changes, the largest first; tensors without any are left out."""

    baseline: Side
    bytes: int
    rows: tuple[Row, ...]
    frame: tuple[FrameChange, ...]


def side_of(report: Report, name: str) -> Side:
    """Return an audit as one side of a comparison."""
    frame: Counter[str] = Counter()
    for row in report.frame:
        frame[row.purpose] += row.bytes
    return Side(name, report.bytes, tuple(map(_part, report.tensors)), frame)


def _part(row: TensorRow) -> Part:
    return Part(row.name, row.layer, row.dtype, row.shape, row.content, row.purposes)


def compare(before: Side, after: Side) -> Diff:
    """Return what changed from `before` to `after`."""
    rows = [_row(old, new, how) for old, new, how in _pairs(before.parts, after.parts)]
    changed = [row for row in rows if row.purposes or row.how != NAME or row.changed_content]
    frame = [
        FrameChange(purpose, before.frame.get(purpose, 0), after.frame.get(purpose, 0))
        for purpose in PURPOSES
    ]
    return Diff(
        before,
        after.bytes - before.bytes,
        tuple(sorted(changed, key=lambda row: -abs(row.change))),
        tuple(sorted((f for f in frame if f.change), key=lambda row: -abs(row.change))),
    )


Pair = tuple["Part | None", "Part | None", str]


def _pairs(before: Sequence[Part], after: Sequence[Part]) -> Iterator[Pair]:
    """Yield tensors that are one, with how that was found; each of either side once."""
    old, new = list(before), list(after)
    keys: list[tuple[str, Callable[[Part], Hashable], bool]] = [
        (NAME, lambda part: part.name, False),
        (CONTENT, lambda part: part.content, False),
        (SHAPE, lambda part: (part.dtype, part.shape), True),
    ]
    for how, key, all_of_them in keys:
        found = list(_matches(old, new, key, all_of_them))
        yield from ((a, b, how) for a, b in found)
        gone, there = {id(a) for a, _ in found}, {id(b) for _, b in found}
        old, new = ([p for p in old if id(p) not in gone], [p for p in new if id(p) not in there])
    yield from ((part, None, GONE) for part in old)
    yield from ((None, part, NEW) for part in new)


def _matches(
    old: Iterable[Part],
    new: Iterable[Part],
    key: Callable[[Part], Hashable],
    all_of_them: bool,
) -> Iterator[tuple[Part, Part]]:
    """Yield pairs with one key, in order; with `all_of_them` only where none is left over."""
    mine, theirs = _grouped(old, key), _grouped(new, key)
    for one, parts in theirs.items():
        others = mine.get(one, [])
        if one is not None and (not all_of_them or len(parts) == len(others)):
            yield from zip(others, parts, strict=False)


def _grouped(parts: Iterable[Part], key: Callable[[Part], Hashable]) -> dict[Hashable, list[Part]]:
    groups: dict[Hashable, list[Part]] = {}
    for part in parts:
        groups.setdefault(key(part), []).append(part)
    return groups


def _row(old: Part | None, new: Part | None, how: str) -> Row:
    there = new or old
    if there is None:
        raise ValueError("a pair of nothing")
    sizes = (old.purposes if old else {}, new.purposes if new else {})
    changes = {p: sizes[1].get(p, 0) - sizes[0].get(p, 0) for p in PURPOSES}
    return Row(
        name=there.name,
        layer=there.layer,
        was=old.name if old and new and old.name != new.name else None,
        how=how,
        before=old.bytes if old else None,
        after=new.bytes if new else None,
        purposes={purpose: change for purpose, change in changes.items() if change},
        changed_content=_changed(old, new),
    )


def _changed(old: Part | None, new: Part | None) -> bool | None:
    if old is None or new is None or old.content is None or new.content is None:
        return None
    return old.content != new.content
