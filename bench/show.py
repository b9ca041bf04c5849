"""Tables as values: made by the measurements, printed aligned or as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Union

Cell = Union[str, int, float]


@dataclass(frozen=True)
class Table:
    """What was measured: a title, what to know about it, and rows of one cell a column.

    `digits` are the decimals that a float is printed with.
    """

    title: str
    note: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    digits: int = 3


def text_of(table: Table) -> str:
    """Return a table with aligned columns: the first to the left, the others to the right."""
    lines = [list(table.columns)] + [[_text(cell, table) for cell in row] for row in table.rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(table.columns))]
    texts = [
        "  ".join(cell.rjust(width) if i else cell.ljust(width) for i, (cell, width) in cells)
        for cells in (enumerate(zip(line, widths, strict=True)) for line in lines)
    ]
    note = [table.note] if table.note else []
    return "\n".join([table.title, *note, *(text.rstrip() for text in texts)])


def _text(cell: Cell, table: Table) -> str:
    return f"{cell:.{table.digits}f}" if isinstance(cell, float) else str(cell)


def json_of(tables: Sequence[Table]) -> str:
    """Return tables for a program: columns and rows as they are, floats in full."""
    return json.dumps([asdict(table) for table in tables], indent=1)


def markdown_of(table: Table) -> str:
    """Return a table for a page."""
    lines = [list(table.columns), ["---"] * len(table.columns)]
    lines += [[_text(cell, table) for cell in row] for row in table.rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def put_into(page: str, table: Table) -> str:
    """Return a page with this table in place of the one that has the same columns."""
    made = markdown_of(table).splitlines()
    lines = page.splitlines()
    start = lines.index(made[0])
    end = next((i for i in range(start, len(lines)) if not lines[i].startswith("|")), len(lines))
    return "\n".join([*lines[:start], *made, *lines[end:]]) + "\n"
