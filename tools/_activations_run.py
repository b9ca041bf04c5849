"""The child process of `dcaudit --calib`: a watched model in onnxruntime on a calibration set.

Spec: spec/SECURITY.md ("Trusted": running a model).
Sisters: tools/_activations.py, which starts it; converters/onnx_watch.py, what is looked at.

    python -m dcformat.tools._activations_run MODEL CALIB.npz OUT.json EPSILON BATCH MEMORY SECONDS

Exit code 0, or 1 with the reason as the last line on standard error.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dcformat.converters.onnx_watch import watch
from dcformat.errors import ConvertError, DcfError
from dcformat.tools._activation_stats import Stats
from dcformat.tools._feed import Plan, feeds, plan_of
from dcformat.tools._npz_rows import open_arrays
from dcformat.tools._run import limit, session_of

Arrays = dict[str, npt.NDArray[Any]]

_ROOM = 256 << 20  # bytes of watched values that one run may give


def main(arguments: Sequence[str]) -> int:
    """Run what the arguments name; returns the exit code."""
    model, calib, out, epsilon, batch, memory, seconds = arguments
    limit(int(memory), int(seconds))
    try:
        result = run(Path(model), Path(calib), float(epsilon), int(batch))
    except DcfError as error:
        print(error, file=sys.stderr)
        return 1
    except Exception as error:  # onnxruntime raises what it likes; the reason is what counts
        print(" ".join(str(error).split())[:500] or type(error).__name__, file=sys.stderr)
        return 1
    Path(out).write_text(json.dumps(result, allow_nan=False), "utf-8")
    return 0


def run(model: Path, calib: Path, epsilon: float, batch: int) -> dict[str, Any]:
    """Return what tools/_activations.py says."""
    watched = watch(model)
    session = session_of(watched.model, model.parent, plain=True)
    arrays = open_arrays(calib)
    try:
        plan = plan_of(session.get_inputs(), arrays)
    except ConvertError as error:
        raise error.at(str(calib)) from None
    stats = {v.name: Stats(epsilon, v.channel_axis) for v in watched.values}
    done = _feed(session, plan, stats, batch)
    notes = list(watched.notes)
    if done < plan.samples:
        notes.append(f"the last {plan.samples - done} samples fill no batch and are left out")
    rows = [
        {"name": v.label, "op": v.op, "tensor": v.name, **stats[v.name].as_dict()}
        for v in watched.values
        if stats[v.name].elements
    ]
    if len(rows) < len(watched.values):
        notes.append(f"{len(watched.values) - len(rows)} values are empty or no floats: left out")
    return {"samples": done, "epsilon": epsilon, "layers": rows, "notes": notes}


def _feed(session: Any, plan: Plan, stats: dict[str, Stats], batch: int) -> int:
    """Run the samples, collect what is watched, and return how many there were."""
    rows = plan.rows(0) or _batch(session, plan, list(stats), batch)
    done = 0
    for feed in feeds(plan, rows):
        count = plan.count(feed)
        if plan.fixed and plan.streams and count < plan.fixed:
            break
        for name, array in _watched(session, {**plan.whole, **feed}, list(stats)).items():
            if array.dtype.kind == "f":
                stats[name].add(array if array.ndim else array.reshape(1))
        done += count
    return done


def _batch(session: Any, plan: Plan, names: list[str], most: int) -> int:
    """Return how many samples to run at once, by what one of them gives."""
    feed = next(feeds(plan, 1))
    size = sum(a.nbytes for a in _watched(session, {**plan.whole, **feed}, names).values())
    return max(1, min(most, _ROOM // max(1, size)))


def _watched(session: Any, feed: Arrays, names: list[str]) -> Arrays:
    """Return the watched values of one run; inputs are what was fed."""
    wanted = [name for name in names if name not in feed]
    found = dict(zip(wanted, session.run(wanted, feed) if wanted else [], strict=True))
    return {name: feed[name] if name in feed else np.asarray(found[name]) for name in names}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
