"""The report of dcaudit as one HTML file: everything inside, nothing asked from outside.

Spec: spec/audit.schema.json (what is rendered). Sisters: _audit_page.css and .js,
_audit_map.js, _audit_table.js (what the browser runs). The data stands in the page as ASCII JSON,
with characters that mean something to HTML as escapes, and names with those that do not print as
escapes too. A content security policy lets only the page's own style and scripts run. Same report,
same bytes.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import string
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import Any

from dcformat.tools._terminal import safe_name

_DRAWN = 400  # tensors with a histogram, the largest ones
_PLACES = 1000  # on the axis of a histogram, for levels
_TIMES = " \N{MULTIPLICATION SIGN} "
_DIGITS = string.digits + string.ascii_letters
_SCRIPTS = ("_audit_page.js", "_audit_map.js", "_audit_table.js")

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; \
style-src {style_hash}; script-src {script_hash}">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<noscript>This report draws itself with JavaScript, from data in this file alone.</noscript>
<main id="page"></main>
<script type="application/json" id="data">{data}</script>
<script>{script}</script>
</body>
</html>
"""


def render(report: Mapping[str, Any]) -> str:
    """Return the page for the JSON object of one audited file."""
    style = _asset("_audit_page.css")
    script = '"use strict";\n' + "".join(_asset(name) for name in _SCRIPTS) + "start();\n"
    return _PAGE.format(
        title=escape(f"{safe_name(report['file']['name'])} · dcaudit"),
        style=style,
        style_hash=_hash(style),
        script=script,
        script_hash=_hash(script),
        data=_ascii_json(_data(report)),
    )


def _asset(name: str) -> str:
    return files("dcformat.tools").joinpath(name).read_text("utf-8")


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _ascii_json(data: Any) -> str:
    """Return JSON that may stand inside of a script element."""
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _data(report: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the scripts need; tensors are numbered as in the report."""
    largest = sorted(report["tensors"], key=lambda t: (-t["bytes"], t["index"]))[:_DRAWN]
    drawn = {t["index"] for t in largest}
    return {
        "version": report["version"],
        "status": report["status"],
        "file": _shown(report["file"]),
        "source": _shown(report["source"]),
        "estimate": _shown(report["estimate"]),
        "totals": report["totals"],
        "purposes": [[p["purpose"], p["bytes"]] for p in report["purposes"]],
        "frame": [_frame(row) for row in report["frame"]],
        "layers": [_layer(row) for row in report["layers"]],
        "tensors": [_tensor(t, t["index"] in drawn) for t in report["tensors"]],
        "undrawn": len(report["tensors"]) - len(drawn),
        "problems": _shown(report["problems"]),
        "compute": _compute(report["compute"]),
        "activations": _activations(report["activations"]),
        "diff": _diff(report["diff"]),
        "budget": _shown(report["budget"]),
    }


def _shown(value: Any) -> Any:
    """Return a part of the report with every text in printable characters."""
    if isinstance(value, str):
        return safe_name(value)
    if isinstance(value, Mapping):
        return {safe_name(str(key)): _shown(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_shown(item) for item in value]
    return value


def _picked(row: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    """Return the entries of `keys` that say something: null and empty ones are left out."""
    return {key: _brief(row[key]) for key in keys if row[key] not in (None, "", [], {})}


def _brief(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.5g}")
    return _shown(value)


def _frame(row: Mapping[str, Any]) -> dict[str, Any]:
    users = row.get("users", [])
    name = row["purpose"] if "table" not in row else f"{row['purpose']} table {row['table']}"
    return {"purpose": row["purpose"], "name": name, "bytes": row["bytes"], "users": len(users)}


def _layer(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **_picked(row, ("name", "op", "tensors", "elements", "purposes")),
        "bytes": row["bytes"],
    }


def _tensor(row: Mapping[str, Any], drawn: bool) -> dict[str, Any]:
    keys = (
        *("name", "tied_to", "layer", "op", "role", "dtype", "elements", "layout", "values"),
        *("coder", "number", "reason", "bits_per_element", "zeros", "distinct", "levels"),
        *("q_format", "efficiency", "low", "high", "largest_error", "rms_error", "purposes"),
    )
    shape = _shape(row["shape"])
    found = {**_picked(row, keys), "shape": shape, "bytes": row["bytes"], "status": row["status"]}
    if drawn and row["histogram"]:
        found["histogram"] = _heights(row["histogram"])
        found["marks"] = _marks(row["level_values"] or [], row["low"], row["high"])
    return found


def _heights(counts: Sequence[int]) -> str:
    """Return counts as heights, a digit each; what is there at all is seen."""
    most, top = max(counts), len(_DIGITS) - 1
    return "".join(_DIGITS[math.ceil(n * top / most) if most else 0] for n in counts)


def _marks(levels: Sequence[float], low: float, high: float) -> str:
    """Return places of levels on an axis from low to high, as distances from each to the next.

    A distance is a digit; the last digit stands for itself and goes on.
    """
    span, most = high - low, len(_DIGITS) - 1
    inside = [v for v in levels if low <= v <= high]
    places = sorted({round((v - low) * _PLACES / span) for v in inside}) if span > 0 else []
    steps = [b - a for a, b in zip([0, *places], places, strict=False)]
    return "".join(_DIGITS[most] * (step // most) + _DIGITS[step % most] for step in steps)


def _compute(block: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if block is None:
        return None
    keys = ("name", "op", "where", "status", "macs", "skipped", "parameters", "activation_bytes")
    rows = [
        {
            **_picked(row, (*keys, "intensity")),
            "out": _shape(row["outputs"][0]) if row["outputs"] else "",
            "in_total": row["in_total"],
        }
        for row in block["layers"]
    ]
    return {**_shown({key: block[key] for key in block if key != "layers"}), "layers": rows}


def _shape(shape: Sequence[int] | None) -> str:
    return "?" if shape is None else _TIMES.join(map(str, shape)) or "scalar"


def _activations(block: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if block is None:
        return None
    keys = (
        *("name", "op", "tensor", "elements", "zeros", "zero_share", "near_zero_share", "low"),
        *("high", "fraction8", "fraction16", "channels"),
    )
    rows = [
        {
            **_picked(row, keys),
            "shape": _shape(row["shape"]),
            "dead": len(row["dead_channels"]),
            "histogram": _heights(row["histogram"] or [0]),
        }
        for row in block["layers"]
    ]
    return {**_shown({key: block[key] for key in block if key != "layers"}), "layers": rows}


def _diff(block: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if block is None:
        return None
    keys = ("name", "was", "how", "before", "after", "change")
    rows = [_picked(row, keys) for row in block["rows"]]
    frame = [
        {**_picked(r, ("before", "after", "change")), "name": r["purpose"], "how": "container"}
        for r in block["frame"]
    ]
    return {"baseline": _shown(block["baseline"]), "bytes": block["bytes"], "rows": rows + frame}
