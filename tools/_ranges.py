"""The smallest and the largest number of every value of a model on a calibration set.

Spec: spec/SECURITY.md ("Trusted": a model runs only when the user asked for it, and apart from us).
Sister: tools/_ranges_run.py, the child that runs it
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from dcformat import api
from dcformat.errors import ConvertError
from dcformat.files import scratch_folder
from dcformat.model import Model
from dcformat.verify_run import need_runtime

_MEMORY_BYTES = 8 << 30
_SECONDS = 3600


def ranges_of(model: Model, calib: Path) -> dict[str, tuple[float, float]]:
    """Return the ranges of a model with an ONNX graph, by name. Raises ConvertError."""
    with scratch_folder() as folder:
        path, out = folder / "model.onnx", folder / "ranges.json"
        api.write(model, path)
        need_runtime(path)
        limits = map(str, (_MEMORY_BYTES, _SECONDS))
        _run([str(path), str(calib.resolve()), str(out), *limits], folder)
        found = json.loads(out.read_text("utf-8"))
    return {name: (low, high) for name, (low, high) in found.items()}


def _run(arguments: list[str], folder: Path) -> None:
    command = [sys.executable, "-m", "dcformat.tools._ranges_run", *arguments]
    try:
        done = subprocess.run(
            command,
            cwd=folder,  # -m puts the current folder first on the path: one without modules
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ConvertError(f"the calibration took longer than {_SECONDS} s") from None
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        reason = lines[-1] if lines else f"ended with {done.returncode}"
        raise ConvertError(f"the calibration set cannot be run: {reason}")
