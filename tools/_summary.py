"""What dcconvert says: the first line, the closing summary, and the same as JSON.

Sisters: tools/dcconvert.py, tools/_convert.py
"""

from __future__ import annotations

import math
import re
from collections import Counter
from typing import Any

from dcformat.compress import Line, Recipe
from dcformat.compress.settings import asks_to_prune
from dcformat.tools._convert import Outcome
from dcformat.tools._plan import DCF
from dcformat.tools._search_goal import decibels
from dcformat.tools._terminal import Talk, count_of, human_size, safe_name

#: What was done, and reasons, with numbers in them: as they are counted.
_PLAIN = {
    r"^it has \d+ bytes only$": "too small to gain",
    r"^\d+ distinct values already$": "few distinct values already",
    r"^(pruned already|small): .*": r"\1",
    r"^codebook of \d+, (\w+) levels$": r"codebook of \1 levels",
    r"^exact: \d+ distinct values$": "exact",
}
_STAYS = ": stays in the graph: "
_MOST_NOTES = 5
KEEP = "use --preset lossless to keep every bit"


def describe_recipe(recipe: Recipe) -> str:
    """Return one line that says whether `recipe` loses anything, and what."""
    if not is_lossy(recipe):
        return "lossless: every bit is kept"
    if recipe.method == "int8":
        what = "8-bit weights"
    elif recipe.method == "codebook" and recipe.bits is not None:
        what = f"weights in {recipe.bits}-bit codebooks"
    elif recipe.method == "codebook":
        what = "weights in 8-bit codebooks (or int8 where that is smaller), 5-bit in dense layers"
    elif recipe.method == "exact":
        what = "exact weights"
    else:
        what = f"{recipe.method} weights"
    if recipe.prune:
        unit = "" if recipe.prune_unit == "element" else f"{recipe.prune_unit}s of "
        what += f", {recipe.prune:.4g} of {unit}them pruned"
    if recipe.shrink:
        what += ", filters of zeros taken out of the graph"
    if recipe.rules:
        what += f", {count_of(len(recipe.rules), 'rule')} for single layers"
    return f"{recipe.preset}: lossy, {what}; {KEEP}"


def is_lossy(recipe: Recipe) -> bool:
    """Tell whether any tensor may change by `recipe`."""
    settings = [vars(recipe), *(r.settings for r in recipe.rules)]
    return recipe.shrink or any(
        s.get("method", "exact") != "exact" or asks_to_prune(s) for s in settings
    )


def show(talk: Talk, outcome: Outcome) -> None:
    """Print the closing summary of one file."""
    job, stored = outcome.job, outcome.stored
    rows = [
        ("tensors", _tensors(outcome)),
        ("stored", human_size(stored)),
        ("rows alone", _row_cost(outcome)),
        ("weights", human_size(outcome.weights) + _times(outcome.weights, stored)),
        ("source file", human_size(outcome.source) + _against_source(outcome)),
        ("largest error", "" if outcome.worst is None else _worst(outcome.worst)),
        *_measured(outcome),
        *_shrunk(outcome),
        ("left alone", _listed(_left_alone(outcome))),
        ("in the graph", _listed(_counted(_staying(outcome)))),
        *(("note", safe_name(note)) for note in _other_notes(outcome)),
        *_assumed(outcome),
        *(outcome.made.rows if outcome.made else ()),
    ]
    talk.say(f"{safe_name(job.source)} -> {safe_name(job.output)}")
    for label, text in rows:
        if text:
            talk.say(f"  {label:<13}  {text}")
    if talk.verbose:
        _show_all(talk, outcome)


def _tensors(outcome: Outcome) -> str:
    text = f"{outcome.tensors:,}"
    if outcome.layers is not None:
        text += f", in {count_of(outcome.layers, 'layer')} with weights"
    done = _counted([line.done for line in outcome.lines])
    kinds = [f"{safe_name(kind)} ({count:,})" for kind, count in done.items()]
    return text + (f": {', '.join(kinds)}" if kinds else "")


def _row_cost(outcome: Outcome) -> str:
    cost = outcome.row_cost
    if cost is None:
        return ""
    share = 100 * cost / max(1, outcome.stored - cost)
    return f"{cost:+,} bytes ({share:+.1f} %) that --row-access costs"


def _against_source(outcome: Outcome) -> str:
    """Say how the source file compares: one that was a .dcf was the small one."""
    if outcome.job.source_format == DCF and outcome.job.output_format != DCF:
        return ", expanded"
    return _times(outcome.source, outcome.stored)


def _times(size: int, stored: int) -> str:
    return f", {size / stored:.2f} times what is stored" if stored else ""


def _measured(outcome: Outcome) -> list[tuple[str, str]]:
    """Return rows that say what a search measured."""
    found = outcome.measured
    if found is None:
        return []
    before, after = found.compared.before, found.compared.after
    interval, samples = found.compared.interval, count_of(after.samples, "sample")
    change = "" if interval is None else f", change {interval[0]:+.3g} to {interval[1]:+.3g} (95 %)"
    data = "seeded random inputs, no data" if found.synthetic else "calibration data"
    return [
        (safe_name(found.metric)[:13], f"{before.value:.6g} -> {after.value:.6g}{change}"),
        ("changed", f"{after.changed:,} of {samples} answered otherwise"),
        ("outputs", f"{decibels(found.divergence):.1f} dB from the source's, on {data}"),
    ]


def _shrunk(outcome: Outcome) -> list[tuple[str, str]]:
    """Return rows that say what left the graph, and why filters of zeros stay in it."""
    found = outcome.shrunk
    if found is None:
        return []
    what = f"{count_of(found.filters, 'filter')} of zeros, {count_of(found.channels, 'channel')} "
    where = f"nobody took, of {count_of(found.layers, 'layer')}: {human_size(found.bytes)} less"
    return [("shrunk", what + where), ("stay", _listed(dict(found.staying)))]


def _worst(worst: Line) -> str:
    if worst.error == 0:
        return "0: every bit is kept"
    return f"{worst.error:.6g}, of {safe_name(worst.name)}"


def _listed(counts: dict[str, int]) -> str:
    """Return "4: bias (3), norm (1)", "" where there is nothing to list."""
    if not counts:
        return ""
    entries = [f"{safe_name(reason)} ({count:,})" for reason, count in counts.items()]
    return f"{sum(counts.values()):,}: {', '.join(entries)}"


def _left_alone(outcome: Outcome) -> dict[str, int]:
    """Return how many tensors were left alone, by reason."""
    return _counted([line.reason for line in outcome.lines if line.left_alone])


def _staying(outcome: Outcome) -> list[str]:
    """Return the reason of each tensor that never left the graph."""
    parts = [note.partition(_STAYS) for note in outcome.notes]
    return [reason for _, stays, reason in parts if stays]


def _other_notes(outcome: Outcome) -> list[str]:
    """Return the notes that are of no tensor in the graph, the first few of many."""
    notes = [note for note in outcome.notes if _STAYS not in note]
    more = len(notes) - _MOST_NOTES
    return notes if more <= 0 else [*notes[:_MOST_NOTES], f"and {more:,} more: -v shows them"]


def _assumed(outcome: Outcome) -> list[tuple[str, str]]:
    """Return rows that say what tensors were taken for where no graph told."""
    if not outcome.assumed:
        return []
    rows = [("", f"{safe_name(says)} ({count:,})") for says, count in outcome.assumed.items()]
    return [("no graph", "so names and shapes say what tensors are for:"), *rows]


def _counted(reasons: list[str]) -> dict[str, int]:
    """Count texts, numbers in them left out, the most frequent first."""
    for pattern, plain in _PLAIN.items():
        reasons = [re.sub(pattern, plain, reason) for reason in reasons]
    return dict(sorted(Counter(reasons).items(), key=lambda pair: (-pair[1], pair[0])))


def _show_all(talk: Talk, outcome: Outcome) -> None:
    """Print a line a tensor, a line a note and a line a section."""
    for line in outcome.lines:
        what = f"left alone: {line.reason}; {line.done}" if line.left_alone else line.done
        error = f", largest error {line.error:.6g}" if line.error else ""
        where = f" ({line.op} {line.role})" if line.op else ""
        text = f"{line.name}{where}: {count_of(line.parameters, 'element')}, {what}{error}"
        talk.say(f"    {safe_name(text)}")
    for note in outcome.notes:
        talk.say(f"    {safe_name(note)}")
    for section, size in outcome.sections.items():
        talk.say(f"    section {section}: {human_size(size)}")


def as_json(outcome: Outcome) -> dict[str, Any]:
    """Return the outcome as tools/dcconvert.py documents it."""
    worst = outcome.worst
    return {
        "input": outcome.job.source,
        "output": outcome.job.output,
        "status": "ok",
        "tensors": outcome.tensors,
        "layers": outcome.layers,
        "stored_bytes": outcome.stored,
        "weight_bytes": outcome.weights,
        "source_bytes": outcome.source,
        "weight_ratio": _ratio(outcome.weights, outcome.stored),
        "source_ratio": _ratio(outcome.source, outcome.stored),
        "largest_error": None if worst is None else _finite(worst.error),
        "largest_error_tensor": worst.name if worst is not None and worst.error else None,
        "row_access_bytes": outcome.row_cost,
        "sections": outcome.sections,
        "left_alone": _left_alone(outcome),
        "tensor_lines": [_line(line) for line in outcome.lines],
        "notes": list(outcome.notes),
        "assumed": outcome.assumed,
        "measured": outcome.measured.facts() if outcome.measured else None,
        "curves": outcome.curves.facts() if outcome.curves else None,
        "shrunk": _shrunk_facts(outcome),
        **(outcome.made.facts if outcome.made else {}),
    }


def _shrunk_facts(outcome: Outcome) -> dict[str, Any] | None:
    found = outcome.shrunk
    if found is None:
        return None
    names = ("filters", "channels", "layers", "bytes")
    return {name: getattr(found, name) for name in names} | {"staying": dict(found.staying)}


def _line(line: Line) -> dict[str, Any]:
    return {
        "name": line.name,
        "op": line.op,
        "role": line.role,
        "elements": line.parameters,
        "done": line.done,
        "reason": line.reason,
        "largest_error": _finite(line.error),
    }


def _ratio(size: int, stored: int) -> float | None:
    return round(size / stored, 4) if stored else None


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None
