"""The audit as CSV, for a spreadsheet: a line a tensor, a line for each other row; bytes sum up.

Sister: tools/_audit_json.py (the document). RFC 4180, with line feeds. A text that a spreadsheet
would take for a formula gets an apostrophe before it.
"""

from __future__ import annotations

import csv
import io
from typing import Any

from dcformat.audit_report import PURPOSES
from dcformat.tools._audit_json import Document
from dcformat.tools._terminal import safe_name

_PLAIN = (
    "name", "layer", "op", "role", "dtype", "shape", "elements", "layout", "values", "coder",
    "number", "status", "bytes", "share", "bits_per_element", "zeros", "distinct", "levels",
    "q_format", "entropy_bits", "coded_bytes", "efficiency", "low", "high", "largest_error",
    "rms_error",
)  # fmt: skip
_FORMULA = ("=", "+", "-", "@")


def table(doc: Document) -> str:
    """Return the CSV; the column bytes sums to the size of the file."""
    macs = macs_of(doc)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["kind", *_PLAIN, *(["macs"] if macs else []), *PURPOSES])
    for row in doc["tensors"]:
        purposes = [row["purposes"].get(purpose, 0) for purpose in PURPOSES]
        own = [macs.get(row["name"])] if macs else []
        writer.writerow(["tensor", *(_cell(row[key]) for key in _PLAIN), *own, *purposes])
    for row in doc["frame"]:
        name = row["purpose"] if row["table"] is None else f"{row['purpose']} {row['table']}"
        cells = {"name": name, "bytes": row["bytes"]}
        purposes = [row["bytes"] if purpose == row["purpose"] else 0 for purpose in PURPOSES]
        plain = [cells.get(key, "") for key in _PLAIN]
        kind = "frame" if row["table"] is None else "table"
        writer.writerow([kind, *plain, *([""] if macs else []), *purposes])
    return out.getvalue()


def macs_of(doc: Document) -> dict[str, int]:
    """Return multiplications by the tensor that takes part in them; empty where none are known."""
    found: dict[str, int] = {}
    for layer in doc["compute"]["layers"] if doc["compute"] else ():
        for name in layer["weights"] if layer["macs"] and layer["in_total"] else ():
            found[name] = found.get(name, 0) + layer["macs"]
    return found


def _cell(value: Any) -> Any:
    if isinstance(value, list):
        return "x".join(str(n) for n in value)
    if isinstance(value, str):
        text = safe_name(value)
        return f"'{text}" if text.startswith(_FORMULA) else text
    return value
