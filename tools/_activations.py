"""What a calibration set makes of a model's activations: zeros, ranges, channels that never fire.

Spec: spec/SECURITY.md ("Trusted": a model runs only when the user asked for it, and apart from us).
Sister: tools/_activations_run.py, the child that runs it

The samples stand along the first axis of the arrays of an .npz file, named as the model's inputs;
they go by in batches, and what is kept does not grow with their number. A *zero* is a value that is
0, *near zero* one of magnitude epsilon or less. The *fraction* of 8 or 16 bits is the largest n so
that numbers q * 2^-n hold the whole range without clipping. A channel is *dead* if it was 0 in
every sample. Channels are axis 1, after dense layers the last axis.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from dcformat.errors import ConvertError
from dcformat.verify_run import need_runtime

EPSILON = 1e-3
BATCH = 32
MEMORY_BYTES = 8 << 30
SECONDS = 3600


def activations(
    model: Path, calib: Path, epsilon: float = EPSILON, batch: int = BATCH
) -> dict[str, Any]:
    """Return the statistics of the ONNX file `model` on the samples of the .npz file `calib`.

    Raises ConvertError: onnxruntime is missing, the model does not run, an array does not fit.
    """
    need_runtime(model)
    if epsilon < 0 or batch < 1:
        raise ConvertError("epsilon is 0 or more and batch is 1 or more")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "activations.json"
        numbers = [repr(float(epsilon)), *map(str, (batch, MEMORY_BYTES, SECONDS))]
        files = [str(path) for path in (model.resolve(), calib.resolve(), out)]
        run_child("_activations_run", [*files, *numbers], Path(folder))
        found: dict[str, Any] = json.loads(out.read_text("utf-8"))
        return found


def run_child(module: str, arguments: list[str], folder: Path) -> None:
    """Run a module beside this one on a calibration set; the arguments hold its limits.

    `folder` has no modules. Raises ConvertError with what the child says, or if it takes too long.
    """
    command = [sys.executable, "-m", f"dcformat.tools.{module}", *arguments]
    try:
        done = subprocess.run(
            command,
            cwd=folder,  # -m puts the current folder first on the path: one without modules
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ConvertError(f"the calibration took longer than {SECONDS} s") from None
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        reason = lines[-1] if lines else f"ended with {done.returncode}"
        raise ConvertError(f"the calibration set cannot be run: {reason}")
