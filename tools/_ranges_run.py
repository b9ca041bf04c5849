"""The child process of `dcconvert --integer`: a model in onnxruntime on a calibration set.

Spec: spec/SECURITY.md ("Trusted": running a model).
Sisters: tools/_ranges.py, which starts it; converters/onnx_ranges.py, what is looked at.

    python -m dcformat.tools._ranges_run MODEL CALIB.npz OUT.json MEMORY SECONDS

Exit code 0, or 1 with the reason as the last line on standard error.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dcformat.converters.onnx_ranges import with_inner_values
from dcformat.errors import ConvertError, DcfError
from dcformat.tools._feed import Arrays, Plan, feeds, plan_of
from dcformat.tools._npz_rows import open_arrays
from dcformat.tools._run import limit, session_of

_ROWS = 16  #: samples at a time, where the model takes any number


def main(arguments: Sequence[str]) -> int:
    """Run what the arguments name; returns the exit code."""
    model, calib, out, memory, seconds = arguments
    limit(int(memory), int(seconds))
    try:
        found = run(Path(model), Path(calib))
    except DcfError as error:
        print(error, file=sys.stderr)
        return 1
    except Exception as error:  # onnxruntime raises what it likes; the reason is what counts
        print(" ".join(str(error).split())[:500] or type(error).__name__, file=sys.stderr)
        return 1
    Path(out).write_text(json.dumps(found, allow_nan=False), "utf-8")
    return 0


def run(model: Path, calib: Path) -> dict[str, tuple[float, float]]:
    """Return the smallest and the largest number of each real value."""
    data, names = with_inner_values(model)
    session = session_of(data, model.parent, plain=True)
    arrays = open_arrays(calib)
    try:
        plan = plan_of(session.get_inputs(), arrays)
    except ConvertError as error:
        raise error.at(str(calib)) from None
    found: dict[str, tuple[float, float]] = {}
    for values in _runs(session, plan, names):
        for name, array in values.items():
            if array.dtype.kind == "f" and array.size:
                found[name] = _wider(found.get(name), name, array)
    return found


def _runs(session: Any, plan: Plan, names: list[str]) -> Iterator[Arrays]:
    """Yield the values of each run; samples that fill no batch are left out."""
    for feed in feeds(plan, plan.fixed or _ROWS):
        count = len(next(iter(feed.values()))) if plan.streams else 1
        if plan.fixed and plan.streams and count < plan.fixed:
            return
        full = {**plan.whole, **feed}
        results = map(np.asarray, session.run(names, full))
        yield {**full, **dict(zip(names, results, strict=True))}


def _wider(old: tuple[float, float] | None, name: str, array: Any) -> tuple[float, float]:
    low, high = float(array.min()), float(array.max())
    if not np.isfinite(low) or not np.isfinite(high):
        raise ConvertError(f"value {name!r} is NaN or infinite on the calibration set")
    return (low, high) if old is None else (min(low, old[0]), max(high, old[1]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
