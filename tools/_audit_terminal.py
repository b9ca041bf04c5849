"""What dcaudit prints: where the bytes are, tensor by tensor, what changed, what does not fit.

Sisters: tools/dcaudit.py, tools/_audit_json.py (what is printed), tools/_audit_text.py (tables)
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich.text import Text

from dcformat.tools import _audit_changes as changes
from dcformat.tools import _audit_costs as costs
from dcformat.tools._audit_json import Document
from dcformat.tools._audit_text import Column, lines
from dcformat.tools._terminal import Talk, console, count_of, human_size, safe_name

MOST_ROWS = 20  #: of tensors and of changes, without -v
BAR = 20

TENSOR = (
    Column("tensor", right=False),
    Column("op", 5, right=False),
    Column("shape", 6, right=False),
    Column("bytes"),
    Column("share", 1),
    Column("bits/el", 2),
    Column("x entropy", 3),
    Column("zeros", 7),
    Column("distinct", 8),
    Column("stored as", 4, right=False),
    Column("largest error", 9),
)
PURPOSE = (Column("for", right=False), Column("bytes"), Column("share", 1), Column("", 2, False))
_SHARED = (Column("table", right=False), Column("bytes"), Column("used by", right=False))


def show(talk: Talk, doc: Document) -> None:
    """Print the document of one file."""
    width = _width()
    talk.say(Text(title(doc), style="bold"))
    for line in [*about(doc), *costs.compute_lines(doc)]:
        talk.say(f"  {line}")
    _table(talk, "where the bytes are", PURPOSE, purpose_rows(doc), width)
    _some(talk, "tensors, largest first", TENSOR, tensor_rows(doc), width)
    _shared(talk, doc, width)
    if doc["compute"]:
        _some(talk, "compute, most first", costs.COMPUTE, costs.compute_rows(doc), width)
        _some(talk, costs.pairs_title(doc), costs.PAIRS, costs.pair_rows(doc), width)
    if doc["activations"]:
        rows = costs.activation_rows(doc)
        _some(talk, costs.activations_title(doc), costs.ACTIVATIONS, rows, width)
        for note in doc["activations"]["notes"]:
            talk.say(f"  {safe_name(note)}")
    if doc["diff"]:
        rows = changes.change_rows(doc)
        _some(talk, changes.change_title(doc), changes.CHANGE, rows, width)
        if not rows:
            talk.say(f"\n{changes.change_title(doc)}: none")
    if doc["budget"]:
        _table(talk, "budget", changes.BUDGET, changes.budget_rows(doc), width)
        for line in changes.exceeded(doc):
            talk.say(Text(f"  over budget: {line}", style="bold red"))
    for problem in doc["problems"]:
        line = f"{problem['place']}: {problem['reason']} ({problem['code']})"
        talk.say(Text(f"  damaged: {safe_name(line)}", style="bold red"))


def _width() -> int | None:
    """Return the width of the terminal less the indent; None where nobody looks."""
    return console(sys.stdout).width - 2 if sys.stdout.isatty() else None


def title(doc: Document) -> str:
    """Return name and size of the file."""
    return f"{safe_name(doc['file']['name'])}: {human_size(doc['file']['bytes'])}"


def about(doc: Document) -> list[str]:
    """Return lines on the whole file."""
    totals = doc["totals"]
    each = totals["bits_per_element"]
    text = f"{count_of(totals['tensors'], 'tensor')}, {count_of(totals['elements'], 'element')}"
    text += "" if each is None else f", {each:.3f} bits of file for each"
    lines = [*_estimate(doc), text]
    if totals["efficiency"] is not None:
        ratio = f"{totals['efficiency']:.3f} times their order-0 entropy"
        lines.append(f"symbols with their tables: {human_size(totals['coded_bytes'])}, {ratio}")
    return lines


def _estimate(doc: Document) -> list[str]:
    source, estimate = doc["source"], doc["estimate"]
    if source is None or estimate is None:
        return []
    numbers = f"{count_of(source['tensors'], 'tensor')} of {human_size(source['packed_bytes'])}"
    text = f"{safe_name(source['name'])}: {human_size(source['bytes'])}, {numbers}"
    if source["parts"]:
        parts = (f"{part['part']} {part['bytes']:,} B" for part in source["parts"])
        text += f": {', '.join(parts)}"
    return [text, f"an estimate: {estimate['says']}"]


def purpose_rows(doc: Document) -> list[list[str]]:
    """Return the cells of all purposes, the largest first."""
    most = max((row["bytes"] for row in doc["purposes"]), default=1)
    return [
        [
            row["purpose"].replace("_", " "),
            f"{row['bytes']:,}",
            percent(row["share"]),
            "#" * round(BAR * row["bytes"] / most),
        ]
        for row in doc["purposes"]
    ]


def tensor_rows(doc: Document) -> list[list[str]]:
    """Return the cells of all tensors, the largest first."""
    return [_tensor(row, doc) for row in sorted(doc["tensors"], key=lambda t: -t["bytes"])]


def _tensor(row: Document, doc: Document) -> list[str]:
    return [
        safe_name(row["name"]),
        safe_name(row["op"] or ""),
        "x".join(str(n) for n in row["shape"]),
        f"{row['bytes']:,}",
        percent(row["share"]),
        _rounded(row["bits_per_element"], 3),
        _rounded(row["efficiency"], 3),
        _zeros(row),
        "" if row["distinct"] is None else f"{row['distinct']:,}",
        _stored_as(row, doc),
        "" if row["largest_error"] is None else f"{row['largest_error']:.3g}",
    ]


def _zeros(row: Document) -> str:
    if row["zeros"] is None or not row["elements"]:
        return ""
    return percent(row["zeros"] / row["elements"])


def _stored_as(row: Document, doc: Document) -> str:
    """Return in a few words how a tensor is stored, or why nobody can tell."""
    if row["tied_to"] is not None:
        return f"= {safe_name(doc['tensors'][row['tied_to']]['name'])}"
    if row["status"] != "ok":
        return f"{row['status']}: {safe_name(row['reason'])}"
    rooms = [row["layout"], row["coder"]]
    number = row["values"] if row["values"] == "POW2" else row["number"]
    rooms.insert(1, f"{row['levels']} levels" if row["levels"] else number)
    words = " ".join(room.lower() for room in rooms)
    return f"{words} {row['q_format']}" if row["q_format"] else words


def _shared(talk: Talk, doc: Document, width: int | None) -> None:
    rows = [
        [
            f"{row['purpose']} {row['table']}",
            f"{row['bytes']:,}",
            safe_name(", ".join(row["users"])) or "nobody",
        ]
        for row in doc["frame"]
        if row["table"] is not None
    ]
    _some(talk, "tables of several tensors, in no tensor's bytes", _SHARED, rows, width)


def _some(
    talk: Talk,
    title: str,
    columns: Sequence[Column],
    rows: Sequence[Sequence[str]],
    width: int | None,
) -> None:
    """Print the first rows of a table, all of them with -v."""
    shown = rows if talk.verbose else rows[:MOST_ROWS]
    _table(talk, title, columns, shown, width)
    if len(shown) < len(rows):
        talk.say(f"  and {len(rows) - len(shown):,} more: -v shows them")


def _table(
    talk: Talk,
    title: str,
    columns: Sequence[Column],
    rows: Sequence[Sequence[str]],
    width: int | None,
) -> None:
    if not rows:
        return
    head, *body = lines(columns, rows, width)
    talk.say("")
    talk.say(Text(title, style="bold"))
    talk.say(Text(f"  {head}", style="dim"))
    for line in body:
        talk.say(f"  {line}")


def percent(share: float | None) -> str:
    """Return "12.3 %"."""
    return "" if share is None else f"{100 * share:.1f} %"


def _rounded(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
