"""What dcaudit prints of a comparison, of a budget, of compute and of activations: cells.

Sisters: tools/_audit_terminal.py and tools/_audit_markdown.py, which show them
"""

from __future__ import annotations

from dcformat.tools._audit_json import Document
from dcformat.tools._audit_text import Column
from dcformat.tools._terminal import safe_name

Rows = list[list[str]]

CHANGE = (
    Column("change"),
    Column("before", 1),
    Column("after", 1),
    Column("tensor", right=False),
    Column("in", 2, right=False),
    Column("numbers", 3, right=False),
)
BUDGET = (
    Column("", right=False),
    Column("limit of", right=False),
    Column("bytes"),
    Column("at most"),
    Column("left", 1),
)
_HOW = {"new": "new", "gone": "gone"}


def change_title(doc: Document) -> str:
    """Return "changes against old.dcf: +12 B (1,000 B before)"."""
    diff = doc["diff"]
    base = diff["baseline"]
    return f"changes against {safe_name(base['name'])}: {diff['bytes']:+,} B of {base['bytes']:,} B"


def change_rows(doc: Document) -> Rows:
    """Return the cells of all changes, the largest first, tensors and the rest together."""
    diff = doc["diff"]
    rows = [(abs(row["change"]), _changed(row)) for row in diff["rows"]]
    rows += [(abs(row["change"]), _frame(row)) for row in diff["frame"]]
    return [cells for _, cells in sorted(rows, key=lambda row: -row[0])]


def _changed(row: Document) -> list[str]:
    name = safe_name(row["name"])
    if row["was"] is not None:
        name += f" (was {safe_name(row['was'])})"
    numbers = {True: "others", False: "the same", None: ""}[row["changed_content"]]
    sizes = ["" if row[key] is None else f"{row[key]:,}" for key in ("before", "after")]
    purposes = ", ".join(
        f"{purpose.replace('_', ' ')} {change:+,}" for purpose, change in row["purposes"].items()
    )
    inside = _HOW.get(row["how"], purposes)
    return [f"{row['change']:+,}", *sizes, name, inside, numbers]


def _frame(row: Document) -> list[str]:
    sizes = [f"{row['before']:,}", f"{row['after']:,}"]
    name = f"[{row['purpose'].replace('_', ' ')}]"
    return [f"{row['change']:+,}", *sizes, name, "", ""]


def budget_rows(doc: Document) -> Rows:
    """Return the cells of all limits, in their order."""
    return [
        [
            "ok" if row["ok"] else "OVER",
            safe_name(row["what"]),
            f"{row['bytes']:,}",
            f"{row['limit']:,}",
            f"{row['limit'] - row['bytes']:,}",
        ]
        for row in doc["budget"]["limits"]
    ]


def exceeded(doc: Document) -> list[str]:
    """Return a line for each limit that is exceeded: by how much, and what to do."""
    limits = doc["budget"]["limits"] if doc["budget"] else []
    lines = []
    for row in limits:
        if not row["ok"]:
            advice = f"; {row['advice']}" if row["advice"] else ""
            size = f"{row['bytes']:,} B where {row['limit']:,} B are allowed"
            lines.append(safe_name(f"{row['what']}: {size}, {row['over']:,} B over{advice}"))
    return lines
