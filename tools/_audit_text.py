"""Tables of plain text that fold to a width: what a terminal shows, and a pipe gets whole.

Sister: tools/_audit_terminal.py
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size

GAP = 2
SHORTEST = 12  #: of a column that is shortened


@dataclass(frozen=True)
class Column:
    """A column; the one with the largest `drop` goes first where there is no room.

    0 is never left out; the longest of these that is text is shortened in the middle.
    """

    title: str
    drop: int = 0
    right: bool = True


def lines(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int | None) -> list[str]:
    """Return a title line and a line for each row; `width` None is as wide as need be.

    Columns that are empty in all rows are left out.
    """
    used = [i for i in range(len(columns)) if any(row[i] for row in rows)]
    sizes = {i: _size(columns[i].title, [row[i] for row in rows]) for i in used}
    while width is not None and (over := _wide(sizes) - width) > 0:
        last = max(sizes, key=lambda i: columns[i].drop)
        if columns[last].drop:
            del sizes[last]
            continue
        longest = max(sizes, key=lambda i: 0 if columns[i].right else sizes[i])
        sizes[longest] = max(SHORTEST, sizes[longest] - over)
        break
    titles = [column.title for column in columns]
    return [_line(columns, sizes, row) for row in [titles, *rows]]


def _wide(sizes: dict[int, int]) -> int:
    return sum(sizes.values()) + GAP * (len(sizes) - 1)


def _size(title: str, cells: Sequence[str]) -> int:
    return max(cell_len(title), *(cell_len(cell) for cell in cells))


def _line(columns: Sequence[Column], sizes: dict[int, int], row: Sequence[str]) -> str:
    cells = [_cell(columns[i], row[i], size) for i, size in sizes.items()]
    return (" " * GAP).join(cells).rstrip()


def _cell(column: Column, text: str, size: int) -> str:
    short = shortened(text, size)
    padding = " " * (size - cell_len(short))
    return padding + short if column.right else short + padding


def shortened(text: str, size: int) -> str:
    """Return `text` in at most `size` cells, its middle left out where it is longer."""
    if cell_len(text) <= size:
        return text
    tail, kept = "", (size - 1) // 2
    for letter in reversed(text):
        if cell_len(letter + tail) > kept:
            break
        tail = letter + tail
    head = set_cell_size(text, size - 1 - cell_len(tail)).rstrip()
    return f"{head}…{tail}"
