"""The child process that runs trials: it answers requests until its input ends.

Spec: spec/SECURITY.md ("Trusted": running a model).
Sisters: tools/_trials.py, which starts it; _trials_pipe.py (messages), _trials_model.py (the work).

    python -m dcformat.tools._trials_run MEMORY SECONDS

A reply has the request's answer, or `error`, one line. Whoever started it may go at any moment:
the end of the input ends the process.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from dcformat.errors import ConvertError, DcfError

from ._run import limit
from ._trials_data import Samples, samples_of, synthetic_samples
from ._trials_metrics import SMALLER_IS_BETTER, metric_of
from ._trials_model import Grams, Runs, TrialModel, ranges
from ._trials_pipe import BrokenMessageError, Message, receive, send
from ._trials_tflite import LiteModel

Arrays = dict[str, npt.NDArray[Any]]
Answer = tuple[dict[str, Any], Arrays]


def main(arguments: Sequence[str]) -> int:
    """Answer requests; returns the exit code."""
    memory, seconds = map(int, arguments)
    with contextlib.suppress(ValueError):
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the same terminal: our parent ends us
    limit(memory, seconds)
    requests, replies = _pipes()
    waiting: queue.SimpleQueue[Message] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(requests, waiting), daemon=True).start()
    bench = Bench()
    while True:
        header, arrays = waiting.get()
        send(replies, *answer(bench, header, arrays))


def _pipes() -> tuple[IO[bytes], IO[bytes]]:
    """Keep the pipes for messages alone: what a metric prints goes to standard error."""
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    return requests, replies


def _listen(requests: IO[bytes], waiting: queue.SimpleQueue[Message]) -> None:
    while True:
        try:
            waiting.put(receive(requests))
        except (BrokenMessageError, OSError, MemoryError):
            os._exit(0)


def answer(bench: Bench, header: dict[str, Any], arrays: Arrays) -> Answer:
    """Return the answer to a request, or the reason why there is none."""
    try:
        return bench.do(header, arrays)
    except DcfError as error:
        return {"error": str(error)}, {}
    except MemoryError:
        return {"error": "out of memory"}, {}
    except Exception as error:  # onnxruntime raises what it likes; the reason is what counts
        return {"error": " ".join(str(error).split())[:500] or type(error).__name__}, {}


def _model_of(path: Path, weights: Sequence[str]) -> TrialModel | LiteModel:
    if path.suffix.lower() == ".tflite":
        return LiteModel(path, weights)
    return TrialModel(path, weights)


class Bench:
    """A model with its samples, once it is opened."""

    model: TrialModel | LiteModel
    calibration: Runs
    evaluation: Runs
    grams: Grams

    def do(self, header: dict[str, Any], arrays: Arrays) -> Answer:
        """Answer one request."""
        kind = header["do"]
        if kind == "open":
            return self._open(header), {}
        if kind == "divergence":
            found = self.calibration.divergence(arrays, header["most"])
            return {"noise": found.noise, "changed": found.changed, "samples": found.samples}, {}
        if kind == "gram":
            return self._gram(header["name"])
        if kind == "ranges":
            return self._ranges(header["names"])
        if kind == "evaluate":
            return self._evaluate(arrays)
        raise ConvertError(f"unknown request {kind!r}")

    def _open(self, header: dict[str, Any]) -> dict[str, Any]:
        self.metric_name = header["metric"]
        self.metric = metric_of(header["metric"])
        self.model = _model_of(Path(header["model"]), header["weights"])
        calibration = self._samples(header["calib"], header, labelled=False)
        evaluation = calibration
        if header["evaluation"]:
            evaluation = self._samples(header["evaluation"], header, labelled=True)
        self.calibration = Runs(self.model, calibration)
        self.evaluation = Runs(self.model, evaluation)
        self.grams = Grams(self.model, calibration, header["most"])
        return {"samples": calibration.plan.samples, "fixed": dict(self.model.fixed)}

    def _samples(self, path: str | None, header: dict[str, Any], *, labelled: bool) -> Samples:
        if path is None:
            found = self.model.seeded_inputs(header["seed"])
            return synthetic_samples(self.model.inputs, found, header["seed"], header["batch"])
        inputs, batch = self.model.inputs, header["batch"]
        return samples_of(Path(path), inputs, batch, labelled=labelled)

    def _ranges(self, names: Sequence[str]) -> Answer:
        if not isinstance(self.model, TrialModel):
            raise ConvertError("inner values are looked at of ONNX models only")
        return {}, {"ranges": ranges(self.model, self.calibration.samples, names)}

    def _gram(self, name: str) -> Answer:
        moments = self.grams.of(name)
        if moments is None:
            return {"groups": 0}, {}
        order = self.model.meetings(name)[0].order
        blocks = {f"block {i}": block for i, block in enumerate(moments.blocks)}
        header = {"groups": moments.groups, "order": order, "blocks": len(blocks)}
        return header, {**blocks, "mean": moments.mean}

    def _evaluate(self, arrays: Arrays) -> Answer:
        value, scores, found = self.evaluation.evaluate(arrays, self.metric)
        header = {
            "value": value,
            "changed": found.changed,
            "samples": found.samples,
            "smaller": self.metric_name in SMALLER_IS_BETTER,
        }
        return header, {} if scores is None else {"scores": np.asarray(scores, np.float64)}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
