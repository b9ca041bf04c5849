"""Trials: what other numbers in a model's weights do to its outputs, on data.

Spec: spec/SECURITY.md ("Trusted": a model runs only when the user asked for it, and apart from us).
Sister: tools/_trials_run.py, the child process that runs the model

Data are .npz files: arrays named as the model's inputs, the first axis for samples. A file for
evaluation may also hold `labels`, one whole number a sample. Without calibration data seeded
inputs are made up: normal numbers, or small whole ones where the model wants integers.

A metric is `top1` (the share of samples whose arg-max is the label; without labels: that of the
float model), `mse` or `cosine` (against the float model's outputs), or `path.py:function`. That one
runs in the child, batch by batch, as function(outputs, labels), with a dictionary of arrays and the
labels or None; it returns a number for each sample, or one for the batch. More of it is better.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Union

import numpy as np
import numpy.typing as npt

from dcformat import formats
from dcformat.compress import Gram
from dcformat.errors import ConvertError
from dcformat.file import load, model_of
from dcformat.files import scratch_folder
from dcformat.ids import GraphFormat
from dcformat.model import Model
from dcformat.verify_run import ended_by, need_runtime

from ._trials_pipe import BrokenMessageError, receive, send

BATCH = 32
_EXTERNAL = {"external": True}
MEMORY_BYTES = 8 << 30
CPU_SECONDS = 24 * 3600
_ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}  # of NumPy
F64 = npt.NDArray[np.float64]
Weights = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Divergence:
    """How far outputs of changed weights are from those of the float model, on the same samples.

    `noise` is the mean squared error over the mean square of the float model's outputs, infinite
    where an output is no number any more; `changed` are samples whose arg-max (last axis, first
    output) is another one.
    """

    noise: float
    changed: int
    samples: int


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The metric's value; `scores` of each sample where it has them. `smaller` ones are better."""

    value: float
    scores: F64 | None
    changed: int
    samples: int
    smaller: bool


class Trials:
    """A model and its data, in a child process that lives as long as the `with` block.

    `model` is ONNX, as bytes or a file, a .tflite or .dcf file, or a Model with a graph; `weights`
    are names of its tensors. `fixed` are those that cannot be varied, with the reason. `batch` is
    how many samples run at once. Without `evaluation` the calibration data serve, and `most` is
    how many of them are used, in whole batches. Raises ConvertError.
    """

    def __init__(
        self,
        model: bytes | Path | Model,
        weights: Sequence[str],
        calib: Path | None,
        evaluation: Path | None = None,
        metric: str = "top1",
        *,
        batch: int = BATCH,
        seed: int = 0,
        most: int | None = None,
    ) -> None:
        if batch < 1 or (most is not None and most < 1):
            raise ConvertError("batch and the number of samples are 1 or more")
        self.synthetic = calib is None
        self.most = most
        with ExitStack() as stack:
            folder = stack.enter_context(scratch_folder())
            file = _as_file(model, folder)
            need_runtime(file)
            self._child = stack.enter_context(_Child(folder))
            opened = {
                "do": "open",
                "model": str(file),
                "weights": list(weights),
                "calib": _absolute(calib),
                "evaluation": _absolute(evaluation),
                "metric": _absolute_metric(metric),
                "batch": batch,
                "seed": seed,
                "most": most,
            }
            answer, _ = self._child.ask(opened, {})
            self._stack = stack.pop_all()
        self.samples = int(answer["samples"])
        self.fixed: Mapping[str, str] = answer["fixed"]

    def __enter__(self) -> Trials:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the child."""
        self._stack.close()

    def divergence(self, changed: Weights, most: int | None = None) -> Divergence:
        """Run the calibration data, the first `most` samples in whole batches."""
        limits = [n for n in (most, self.most) if n is not None]
        header = {"do": "divergence", "most": min(limits, default=None)}
        found, _ = self._child.ask(header, changed)
        return Divergence(found["noise"], found["changed"], found["samples"])

    def gram(self, name: str) -> Gram | None:
        """Return what meets a weight's columns in the float model, on the calibration data.

        None where a use of the weight is no plain product (Conv, Gemm, MatMul), or has too many
        columns.
        """
        found, arrays = self._child.ask({"do": "gram", "name": name}, {})
        if not found["groups"]:
            return None
        blocks = tuple(arrays[f"block {i}"] for i in range(found["blocks"]))
        return Gram(tuple(found["order"]), found["groups"], blocks, arrays["mean"])

    def ranges(self, values: Sequence[str]) -> dict[str, tuple[float, float]]:
        """Return the least and the largest number of inner values on the calibration data."""
        _, arrays = self._child.ask({"do": "ranges", "names": list(values)}, {})
        return {n: (float(a), float(b)) for n, (a, b) in zip(values, arrays["ranges"], strict=True)}

    def evaluate(self, changed: Weights) -> Evaluation:
        """Run all of the evaluation data; without changes that is the float model."""
        found, arrays = self._child.ask({"do": "evaluate"}, changed)
        shown = found["changed"], found["samples"], found["smaller"]
        return Evaluation(found["value"], arrays.get("scores"), *shown)


def _as_file(model: Union[bytes, Path, Model], folder: Path) -> Path:
    """Return an ONNX or TFLite file of the model; one that has to be made is in `folder`."""
    made = folder / "model.onnx"
    if isinstance(model, bytes):
        made.write_bytes(model)
        return made
    if isinstance(model, Path):
        if not model.name.lower().endswith(".dcf"):
            return model.resolve()
        model = model_of(load(model))
    if model.graph is not None and model.graph.format == GraphFormat.TFLITE:
        made = folder / "model.tflite"
    formats.writer_for(made).write(model, made, **({} if made.suffix == ".tflite" else _EXTERNAL))
    return made


def _absolute(path: Path | None) -> str | None:
    return None if path is None else str(path.resolve())


def _absolute_metric(metric: str) -> str:
    path, colon, function = metric.rpartition(":")
    return f"{Path(path).resolve()}:{function}" if colon else metric


class _Child:
    """The child process; it ends with its input, also where this process is killed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "empty"  # -m puts the current folder first on the path

    def __enter__(self) -> _Child:
        self._folder.mkdir()
        self._errors: IO[bytes] = tempfile.TemporaryFile()
        limits = [str(MEMORY_BYTES), str(CPU_SECONDS)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "dcformat.tools._trials_run", *limits],
            cwd=self._folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={**os.environ, **_ONE_THREAD, "TMPDIR": str(self._folder.parent)},
        )
        self._pipes = [s for s in (self._process.stdin, self._process.stdout) if s is not None]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (*self._pipes, self._errors):
            with contextlib.suppress(OSError):  # what was not sent to a child that is gone
                stream.close()

    def ask(
        self, header: Mapping[str, Any], arrays: Weights
    ) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
        """Return the child's answer. Raises ConvertError where it has none."""
        sink, source = self._pipes
        try:
            send(sink, header, arrays)
            answer, held = receive(source)
        except (BrokenMessageError, OSError):
            raise ConvertError(f"the trials cannot go on: {self._reason()}") from None
        if "error" in answer:
            raise ConvertError(answer["error"])
        return answer, held

    def _reason(self) -> str:
        code = self._process.wait()
        self._errors.seek(0)
        return ended_by(code, self._errors.read()[-4096:].decode(errors="replace"))
