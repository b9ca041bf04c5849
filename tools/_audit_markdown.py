"""The audit as Markdown, for a comment on a pull request: what changed first, then what there is.

Sisters: tools/_audit_json.py (the document), tools/_audit_terminal.py (the same in a terminal)
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from dcformat.tools import _audit_changes as changes
from dcformat.tools import _audit_costs as costs
from dcformat.tools._audit_json import Document
from dcformat.tools._audit_terminal import PURPOSE, TENSOR, about, purpose_rows, tensor_rows, title
from dcformat.tools._audit_text import Column

MOST_ROWS = 20
_SPECIAL = re.compile(r"([\\`*_\[\]<>|~&#$])")


def markdown(doc: Document) -> str:
    """Return the document as Markdown that ends with a newline."""
    parts = [f"### {escaped(title(doc))}", "\n".join(f"- {escaped(line)}" for line in about(doc))]
    parts += [f"**{escaped(line)}**" for line in changes.exceeded(doc)]
    for problem in doc["problems"]:
        parts.append(f"**damaged: {escaped(problem['place'])}: {escaped(problem['reason'])}**")
    if doc["budget"]:
        parts.append(table(changes.BUDGET, changes.budget_rows(doc)))
    if doc["diff"]:
        parts.append(f"#### {escaped(changes.change_title(doc))}")
        parts.append(_most(changes.CHANGE, changes.change_rows(doc)))
    parts.append(_folded("where the bytes are", table(PURPOSE[:3], purpose_rows(doc))))
    parts.append(_folded("tensors, largest first", _most(TENSOR, tensor_rows(doc))))
    if doc["compute"]:
        rows = _most(costs.COMPUTE, costs.compute_rows(doc))
        pairs = table(costs.PAIRS, costs.pair_rows(doc))
        lines = [f"- {escaped(line)}" for line in costs.compute_lines(doc)]
        body = [part for part in ("\n".join(lines), rows, pairs) if part]
        parts.append(_folded("compute", "\n\n".join(body)))
    if doc["activations"]:
        rows = _most(costs.ACTIVATIONS, costs.activation_rows(doc))
        parts.append(_folded(escaped(costs.activations_title(doc)), rows))
    return "\n\n".join(part for part in parts if part) + "\n"


def _folded(summary: str, body: str) -> str:
    return f"<details><summary>{summary}</summary>\n\n{body}\n\n</details>" if body else ""


def _most(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> str:
    more = len(rows) - MOST_ROWS
    return table(columns, rows[:MOST_ROWS]) + (f"\n\nand {more:,} more" if more > 0 else "")


def table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> str:
    """Return a table; columns that are empty in all rows are left out."""
    used = [i for i in range(len(columns)) if any(row[i] for row in rows)]
    if not used:
        return ""
    lines = [[columns[i].title for i in used], [_rule(columns[i]) for i in used]]
    lines += [[escaped(row[i]) for i in used] for row in rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _rule(column: Column) -> str:
    return "---:" if column.right else "---"


def escaped(text: str) -> str:
    """Return printable text so that Markdown shows it and takes no part of it for its own."""
    return _SPECIAL.sub(r"\\\1", text)
