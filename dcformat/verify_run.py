"""Does the model built back from a file answer as its source does? Both run in child processes.

Spec: spec/SECURITY.md ("Trusted": a model runs only when the user asked for it, and apart from us).
Sister: tools/_run.py, the child
"""

from __future__ import annotations

import importlib.util
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .checks import Check, failed, passed, skipped, verdict
from .errors import ConvertError

NAME = "outputs"
MEMORY_BYTES = 8 << 30
CPU_SECONDS = 300
WALL_SECONDS = 600

Arrays = dict[str, npt.NDArray[Any]]


class _CannotRunError(Exception):
    """The child said why it could not run the model."""


@dataclass(frozen=True)
class _Distance:
    """How far one output is from the source's; `noise` is relative to the signal, in power."""

    largest: float
    mean: float
    noise: float


#: What runs files that end so, and the extra that installs it; all others are ONNX.
_RUNTIMES = {".tflite": ("ai_edge_litert", "ai-edge-litert", "tflite")}
_ONNX = ("onnxruntime", "onnxruntime", "run")


def need_runtime(source: str | Path) -> None:
    """Raise ConvertError with the way out if what runs `source` is not installed."""
    module, name, extra = _RUNTIMES.get(Path(source).suffix.lower(), _ONNX)
    if importlib.util.find_spec(module) is None:
        raise ConvertError(f"running a model needs {name}: pip install 'dcformat[{extra}]'")


def check_outputs(
    source: Path, rebuilt: Path, folder: Path, *, exact: bool, runs: int, seed: int
) -> Check:
    """Compare the outputs of two ONNX or TFLite files on `runs` seeded random inputs.

    `folder` is for temporary files. With `exact` the outputs must have the same bits; else the
    distance is reported, and only another type or rank and a new NaN or infinity fail.
    """
    try:
        wanted = _run(source, folder / "source.npz", runs, seed)
    except _CannotRunError as error:
        runtime = _RUNTIMES.get(source.suffix.lower(), _ONNX)[1]
        return skipped(NAME, f"the source does not run in {runtime}: {error}")
    try:
        got = _run(rebuilt, folder / "rebuilt.npz", runs, seed, folder / "source.npz")
    except _CannotRunError as error:
        return failed(
            NAME, f"the source runs, the model built back from the file does not: {error}"
        )
    names = [key for key in wanted if key.startswith("o")]
    if names != [key for key in got if key.startswith("o")]:
        return failed(NAME, "another number of outputs")
    different = [key for key in names if not _same(wanted[key], got[key])]
    if not different:
        return passed(NAME, f"{runs} random inputs, {len(names)} outputs: identical")
    if exact:
        again = _run(source, folder / "again.npz", runs, seed, folder / "source.npz")
        return _explain(wanted, again, different)
    return _measure(wanted, got, names, runs)


def _explain(wanted: Arrays, again: Arrays, different: list[str]) -> Check:
    """Tell a model that answers by chance, from the source's second answers, from a wrong one."""
    if any(not _same(wanted[key], again[key]) for key in different):
        return skipped(NAME, "the source itself answers differently each time")
    return failed(NAME, f"output {_place(different[0])} is not identical")


def _run(model: Path, out: Path, runs: int, seed: int, inputs: Path | None = None) -> Arrays:
    """Return inputs and outputs of `model`, run by a child with limits."""
    limits = [str(n) for n in (runs, seed, MEMORY_BYTES, CPU_SECONDS)]
    command = [sys.executable, "-m", "dcformat.tools._run", str(model.resolve()), str(out), *limits]
    try:
        done = subprocess.run(
            command + ([str(inputs)] if inputs else []),
            cwd=out.parent,  # -m puts the current folder first on the path: an empty one
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=WALL_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _CannotRunError(f"took longer than {WALL_SECONDS} s") from None
    if done.returncode:
        raise _CannotRunError(ended_by(done.returncode, done.stderr.decode(errors="replace")))
    with np.load(out, allow_pickle=False) as arrays:
        return {key: arrays[key] for key in arrays.files}


def ended_by(code: int, errors: str) -> str:
    if code < 0:
        return f"ended by {signal.Signals(-code).name}"
    lines = errors.strip().splitlines()
    return lines[-1] if lines else f"exit code {code}"


def _same(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def _measure(wanted: Arrays, got: Arrays, names: list[str], runs: int) -> Check:
    """Report the output that is farthest from the source's, relative to its own power."""
    faults = [f"output {_place(k)}: {f}" for k in names if (f := _fault(wanted[k], got[k]))]
    if faults:
        return verdict(NAME, faults, "")
    comparable = [key for key in names if wanted[key].shape == got[key].shape]
    what = f"{runs} random inputs, {len(names)} outputs"
    if len(comparable) < len(names):
        what += f", {len(names) - len(comparable)} of another shape"
    if not comparable:
        return passed(NAME, what)
    distances = {key: _distance(wanted[key], got[key]) for key in comparable}
    key = max(comparable, key=lambda key: distances[key].noise)
    worst, largest = distances[key], max(d.largest for d in distances.values())
    ratio = f"{-10 * np.log10(worst.noise):.1f} dB" if worst.noise > 0 else "infinite"
    return passed(
        NAME,
        f"{what}: largest error {largest:.4g}; worst output "
        f"{_place(key)}: mean error {worst.mean:.4g}, signal-to-noise {ratio}",
    )


def _place(key: str) -> str:
    """Return "1 of run 0" for "o0_1"."""
    run, index = key[1:].split("_")
    return f"{index} of run {run}"


def _fault(wanted: npt.NDArray[Any], got: npt.NDArray[Any]) -> str:
    if wanted.dtype.kind != got.dtype.kind:
        return f"type {got.dtype}, not {wanted.dtype}"
    if wanted.ndim != got.ndim:
        return f"shape {got.shape}, not {wanted.shape}"
    if wanted.shape != got.shape:  # a count of what was detected, for instance
        return ""
    if wanted.dtype.kind == "f" and bool(np.any(np.isfinite(wanted) & ~np.isfinite(got))):
        return "not finite where the source's is"
    return ""


def _distance(wanted: npt.NDArray[Any], got: npt.NDArray[Any]) -> _Distance:
    """Return the distance of numbers; of text and booleans the share that differs."""
    if wanted.dtype.kind not in "fiu":
        share = float(np.mean(wanted != got)) if wanted.size else 0.0
        return _Distance(share, share, share)
    here = np.isfinite(wanted)
    signal_ = wanted[here].astype(np.float64)
    error = np.abs(got[here].astype(np.float64) - signal_)
    if not error.size:
        return _Distance(0.0, 0.0, 0.0)
    power = float(np.sum(signal_ * signal_))
    noise = float(np.sum(error * error))
    return _Distance(
        float(error.max()), float(error.mean()), noise / power if power else float(noise > 0)
    )
