"""The child process of `dcaudit --calib`: a watched model in onnxruntime on a calibration set.

Spec: spec/SECURITY.md ("Trusted": running a model).
Sisters: tools/_activations.py, which starts it; converters/onnx_watch.py, what is looked at.

    python -m dcformat.tools._activations_run MODEL CALIB.npz OUT.json EPSILON BATCH MEMORY SECONDS

Exit code 0, or 1 with the reason as the last line on standard error.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dcformat.converters.onnx_watch import Watch, watch
from dcformat.errors import ConvertError, DcfError
from dcformat.tools._activation_stats import Stats
from dcformat.tools._npz_rows import Rows, open_arrays
from dcformat.tools._run import NUMPY_TYPES, limit

Arrays = dict[str, npt.NDArray[Any]]

_ROOM = 256 << 20  # bytes of watched values that one run may give
_FOLDER = "session.model_external_initializers_file_folder_path"


@dataclass(frozen=True)
class Plan:
    """How the arrays are fed: `streams` by samples, `whole` ones every time."""

    samples: int
    streams: dict[str, Rows]
    whole: Arrays
    types: dict[str, np.dtype[Any]]
    fixed: int  # samples a run must have, 0 where any number will do


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
    session = _session(watched, model.parent)
    arrays = open_arrays(calib)
    try:
        plan = plan_of(session, arrays)
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


def _session(watched: Watch, folder: Path) -> Any:
    """Return a session of one thread that runs the graph as it stands."""
    import onnxruntime  # noqa: PLC0415 - slow, and after the limits

    onnxruntime.set_default_logger_severity(4)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry(_FOLDER, str(folder.resolve()))
    providers = ["CPUExecutionProvider"]
    return onnxruntime.InferenceSession(watched.model, options, providers=providers)


def plan_of(session: Any, arrays: dict[str, Rows]) -> Plan:
    """Return how to feed a session. Raises ConvertError where an array does not fit an input."""
    inputs = {wanted.name: wanted for wanted in session.get_inputs()}
    _check_names(list(inputs), list(arrays))
    types = {name: _type(inputs[name], arrays[name]) for name in inputs}
    counted = {n: a for n, a in arrays.items() if a.shape and len(a.shape) == len(inputs[n].shape)}
    free = {n: a for n, a in counted.items() if not isinstance(inputs[n].shape[0], int)}
    streamed = free or counted  # next to open first axes a fixed one does not count samples
    for name, rows in arrays.items():
        if 0 in rows.shape:
            raise ConvertError(f"array {name!r} has shape {rows.shape}: there are no numbers in it")
        _check_shape(name, inputs[name].shape, rows.shape, name in streamed)
    counts = {n: a.shape[0] for n, a in streamed.items()}
    if len(set(counts.values())) > 1:
        shown = ", ".join(f"{name!r} {count}" for name, count in counts.items())
        raise ConvertError(f"arrays have different numbers of samples: {shown}")
    whole = {n: a.whole().astype(types[n]) for n, a in arrays.items() if n not in streamed}
    fixed = {inputs[n].shape[0] for n in streamed if isinstance(inputs[n].shape[0], int)}
    if len(fixed) > 1:
        raise ConvertError("inputs of the model have different fixed numbers of samples")
    samples = next(iter(counts.values()), 1)
    return Plan(samples, streamed, whole, types, next(iter(fixed), 0))


def _check_names(wanted: list[str], given: list[str]) -> None:
    shown = ", ".join(map(repr, wanted)) or "none"
    for name in wanted:
        if name not in given:
            raise ConvertError(f"no array {name!r}; the model's inputs: {shown}")
    for name in given:
        if name not in wanted:
            raise ConvertError(f"array {name!r} is no input of the model; its inputs: {shown}")


def _type(wanted: Any, rows: Rows) -> np.dtype[Any]:
    name = wanted.type.removeprefix("tensor(").removesuffix(")")
    if name not in NUMPY_TYPES:
        raise ConvertError(f"input {wanted.name!r} is {wanted.type}, which an array cannot be")
    dtype = np.dtype(NUMPY_TYPES[name])
    if not np.can_cast(rows.dtype, dtype, "same_kind"):
        raise ConvertError(f"array {wanted.name!r} is {rows.dtype}, the model wants {dtype}")
    return dtype


def _check_shape(name: str, wanted: Sequence[Any], shape: tuple[int, ...], streamed: bool) -> None:
    start = 1 if streamed else 0
    fits = len(wanted) == len(shape) and all(
        not isinstance(a, int) or a == b for a, b in zip(wanted[start:], shape[start:], strict=True)
    )
    if not fits:
        shown = " x ".join(str(d) if isinstance(d, int) else "any" for d in wanted) or "a scalar"
        raise ConvertError(
            f"array {name!r} has shape {shape}; the model wants {shown}, the first for samples"
        )


def _feed(session: Any, plan: Plan, stats: dict[str, Stats], batch: int) -> int:
    """Run the samples, collect what is watched, and return how many there were."""
    rows = plan.fixed or _batch(session, plan, list(stats), batch)
    done = 0
    for feed in _feeds(plan, rows):
        count = len(next(iter(feed.values()))) if plan.streams else 1
        if plan.fixed and plan.streams and count < plan.fixed:
            break
        for name, array in _watched(session, {**plan.whole, **feed}, list(stats)).items():
            if array.dtype.kind == "f":
                stats[name].add(array if array.ndim else array.reshape(1))
        done += count
    return done


def _batch(session: Any, plan: Plan, names: list[str], most: int) -> int:
    """Return how many samples to run at once, by what one of them gives."""
    feed = next(_feeds(plan, 1))
    size = sum(a.nbytes for a in _watched(session, {**plan.whole, **feed}, names).values())
    return max(1, min(most, _ROOM // max(1, size)))


def _feeds(plan: Plan, rows: int) -> Iterator[Arrays]:
    names = list(plan.streams)
    if not names:
        yield {}
        return
    for pieces in zip(*(plan.streams[name].pieces(rows) for name in names), strict=True):
        yield {n: p.astype(plan.types[n]) for n, p in zip(names, pieces, strict=True)}


def _watched(session: Any, feed: Arrays, names: list[str]) -> Arrays:
    """Return the watched values of one run; inputs are what was fed."""
    wanted = [name for name in names if name not in feed]
    found = dict(zip(wanted, session.run(wanted, feed) if wanted else [], strict=True))
    return {name: feed[name] if name in feed else np.asarray(found[name]) for name in names}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
