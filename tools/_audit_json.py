"""The document of dcaudit: one dict that every output is made of.

Spec: spec/audit.schema.json, whose version SCHEMA is. A key that is added is a new minor version,
one that is removed or means something else a new major one. Floats are finite; what is not known
is null.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from dcformat.audit_budget import Answer
from dcformat.audit_diff import Diff
from dcformat.audit_report import PURPOSES, FrameRow, Report, TensorRow
from dcformat.errors import DcfError
from dcformat.file import File
from dcformat.ids import Meta
from dcformat.tools._terminal import version

SCHEMA = "1.2"

Document = dict[str, Any]


def document(report: Report, name: str, file: File, *, split_shared: bool = False) -> Document:
    """Return the document of a file; blocks that were not asked for are null.

    `split_shared` is what the report was asked for.
    """
    tensors = [_tensor(row, report.bytes) for row in report.tensors]
    names = [row.name for row in report.tensors]
    return {
        "command": "dcaudit",
        "version": version(),
        "schema": SCHEMA,
        "status": "failed" if report.problems else "ok",
        "file": {"name": name, "format": "dcf", "bytes": report.bytes, **_stated(file)},
        "source": None,
        "estimate": None,
        "sections": [vars(section) for section in report.sections],
        "purposes": [
            {"purpose": purpose, "bytes": size, "share": _ratio(size, report.bytes)}
            for purpose, size in report.purposes.items()
        ],
        "split_shared": split_shared,
        "frame": [_frame(row, names) for row in report.frame],
        "tensors": tensors,
        "layers": _layers(report.tensors, report.bytes),
        "totals": _totals(tensors, report.bytes),
        "problems": [vars(problem) for problem in report.problems],
        "diff": None,
        "budget": None,
        "compute": None,
        "activations": None,
    }


def with_diff(doc: Document, diff: Diff) -> Document:
    """Return a document that also says what changed."""
    rows = [
        {
            "name": row.name,
            "was": row.was,
            "how": row.how,
            "before": row.before,
            "after": row.after,
            "change": row.change,
            "purposes": row.purposes,
            "changed_content": row.changed_content,
        }
        for row in diff.rows
    ]
    frame = [{**vars(row), "change": row.change} for row in diff.frame]
    baseline = {"name": diff.baseline.name, "bytes": diff.baseline.bytes}
    return {
        **doc,
        "diff": {"baseline": baseline, "bytes": diff.bytes, "rows": rows, "frame": frame},
    }


def with_budget(doc: Document, answers: Sequence[Answer]) -> Document:
    """Return a document that also says whether the file fits; it fails if not."""
    limits = [
        {
            "what": answer.what,
            "limit": answer.limit,
            "bytes": answer.bytes,
            "over": answer.over,
            "ok": answer.ok,
            "advice": answer.advice,
        }
        for answer in answers
    ]
    fits = all(answer.ok for answer in answers)
    status = doc["status"] if fits else "failed"
    return {**doc, "status": status, "budget": {"ok": fits, "limits": limits}}


def failure(reason: str) -> Document:
    """Return the document of a file that cannot be audited."""
    head = {"command": "dcaudit", "version": version(), "schema": SCHEMA}
    return {**head, "status": "error", "error": reason}


def _stated(file: File) -> Document:
    """Return what the file's metadata says, nulls where it is missing or damaged."""
    try:
        metadata: Mapping[int, bytes] = file.metadata
    except DcfError:  # the document's problems say so
        metadata = {}
    content, producer = metadata.get(Meta.CONTENT_ID), metadata.get(Meta.PRODUCER)
    return {
        "content_id": None if content is None else content.hex(),
        "producer": None if producer is None else producer.decode(errors="replace"),
    }


def _frame(row: FrameRow, names: Sequence[str]) -> Document:
    return {
        "purpose": row.purpose,
        "bytes": row.bytes,
        "section": row.section,
        "table": row.table,
        "users": [names[user] for user in row.users],
    }


def _tensor(row: TensorRow, whole: int) -> Document:
    facts = row.facts
    entropy = facts.entropy_bits if facts else None
    return {
        "index": row.index,
        "name": row.name,
        "tied_to": row.tied_to,
        "layer": row.use.node or None if row.use else None,
        "op": row.use.op or None if row.use else None,
        "role": row.use.role if row.use else None,
        "dtype": row.dtype,
        "shape": list(row.shape),
        "elements": row.elements,
        "layout": row.layout,
        "values": row.values,
        "coder": row.coder,
        "number": row.number,
        "status": row.status,
        "reason": row.reason,
        "bytes": row.bytes,
        "share": _ratio(row.bytes, whole),
        "purposes": row.purposes,
        "bits": row.bits,
        "bits_per_element": _ratio(8 * row.bytes, row.elements),
        "zeros": facts.zeros if facts else None,
        "distinct": facts.distinct if facts else None,
        "levels": row.levels,
        "q_format": row.q_format,
        "entropy_bits": _number(entropy),
        "coded_bytes": row.coded_bytes,
        "efficiency": _efficiency(row.coded_bytes, entropy),
        "low": _number(facts.low) if facts else None,
        "high": _number(facts.high) if facts else None,
        "histogram": list(facts.histogram) if facts and facts.histogram else None,
        "level_values": _level_values(row),
        "largest_error": _number(row.errors.largest) if row.errors else None,
        "rms_error": _number(row.errors.rms) if row.errors else None,
        "content": row.content,
    }


def _level_values(row: TensorRow) -> list[float] | None:
    values = row.facts.level_values if row.facts else None
    return None if values is None else [float(f"{value:.9g}") for value in values]


def _layers(tensors: Sequence[TensorRow], whole: int) -> list[Document]:
    """Return the tensors by the node that takes them, largest first."""
    groups: dict[str, list[TensorRow]] = {}
    for row in tensors:
        groups.setdefault(row.layer, []).append(row)
    layers = [_layer(name, rows, whole) for name, rows in groups.items()]
    return sorted(layers, key=lambda layer: -int(layer["bytes"]))


def _layer(name: str, rows: Sequence[TensorRow], whole: int) -> Document:
    purposes: Counter[str] = Counter()
    for row in rows:
        purposes.update(row.purposes)
    size = sum(purposes.values())
    return {
        "name": name,
        "op": next((row.use.op for row in rows if row.use and row.use.op), None),
        "tensors": [row.index for row in rows],
        "bytes": size,
        "share": _ratio(size, whole),
        "elements": sum(row.elements for row in rows if row.tied_to is None),
        "purposes": {purpose: purposes[purpose] for purpose in PURPOSES if purposes[purpose]},
    }


def _totals(tensors: Sequence[Document], whole: int) -> Document:
    """Return sums over the tensors that are not tied, of what is known of them.

    bits_per_element is that of the whole file.
    """
    own = [row for row in tensors if row["tied_to"] is None]
    read = [row for row in own if row["coded_bytes"] is not None]
    elements, size = sum(row["elements"] for row in own), sum(row["bytes"] for row in tensors)
    entropy, coded = sum(row["entropy_bits"] for row in read), sum(r["coded_bytes"] for r in read)
    return {
        "tensors": len(tensors),
        "elements": elements,
        "bytes": size,
        "zeros": sum(row["zeros"] for row in read),
        "bits_per_element": _ratio(8 * whole, elements),
        "entropy_bits": entropy,
        "coded_bytes": coded,
        "efficiency": _efficiency(coded, entropy),
    }


def _efficiency(coded: int | None, entropy: float | None) -> float | None:
    return None if not entropy or coded is None else 8 * coded / entropy


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _number(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
