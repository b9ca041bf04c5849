"""The smallest and the largest number of every value of a model on a calibration set.

Spec: spec/SECURITY.md ("Trusted": a model runs only when the user asked for it, and apart from us).
Sister: tools/_ranges_run.py, the child that runs it
"""

from __future__ import annotations

import json
from pathlib import Path

from dcformat import api
from dcformat.files import scratch_folder
from dcformat.model import Model
from dcformat.tools._activations import MEMORY_BYTES, SECONDS, run_child
from dcformat.verify_run import need_runtime


def ranges_of(model: Model, calib: Path) -> dict[str, tuple[float, float]]:
    """Return the ranges of a model with an ONNX graph, by name. Raises ConvertError."""
    with scratch_folder() as folder:
        path, out = folder / "model.onnx", folder / "ranges.json"
        api.write(model, path)
        need_runtime(path)
        limits = map(str, (MEMORY_BYTES, SECONDS))
        run_child("_ranges_run", [str(path), str(calib.resolve()), str(out), *limits], folder)
        found = json.loads(out.read_text("utf-8"))
    return {name: (low, high) for name, (low, high) in found.items()}
