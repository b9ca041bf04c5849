"""A TFLite model whose weights can be changed from run to run, in LiteRT, on samples.

Sister files: tools/_trials_model.py (the same of ONNX), tools/_run_tflite.py, tools/_trials_run.py.

LiteRT takes no weights with its inputs: for other weights the file is made again, in memory, once
for all samples.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dcformat.converters import read_tflite
from dcformat.converters.onnx_trial import Meeting
from dcformat.converters.tflite_meetings import index_of, looked_at, meetings_of
from dcformat.converters.tflite_schema import parse
from dcformat.converters.write_tflite import plain_bytes
from dcformat.errors import ConvertError
from dcformat.model import Model, Tensor

from ._run import CannotRunError, find_inputs
from ._run_tflite import LiteRtSession

Arrays = dict[str, npt.NDArray[Any]]
Look = Callable[[Arrays], Arrays]


class LiteModel:
    """The model in the file `path`, and its own `weights`.

    `fixed` are those that cannot be varied, with the reason. `inputs` are as onnxruntime describes
    them.
    """

    def __init__(self, path: Path, weights: Sequence[str]) -> None:
        self._path = path
        self._model: Model = read_tflite.read(path)
        tensors = {tensor.name: tensor for tensor in self._model.tensors}
        shared = {*self._model.ties, *self._model.ties.values()}
        self.fixed = {name: "shares its numbers with another" for name in weights if name in shared}
        for name in weights:
            if name not in tensors:
                raise ConvertError(f"the model has no tensor {name!r}")
        self.own = {n: np.asarray(tensors[n].data) for n in weights if n not in self.fixed}
        self._meetings = meetings_of(parse(path.read_bytes()))
        self._plain = LiteRtSession(str(path))
        self.inputs = self._plain.named_inputs()

    def feed_of(self, changed: Mapping[str, npt.NDArray[Any]]) -> LiteRtSession:
        """Return the model with these weights in place of its own."""
        for name, array in changed.items():
            self._check(name, array)
        if not changed:
            return self._plain
        tensors = tuple(
            Tensor(t.name, t.dtype, changed[t.name]) if t.name in changed else t
            for t in self._model.tensors
        )
        return LiteRtSession(plain_bytes(replace(self._model, tensors=tensors)))

    def _check(self, name: str, array: npt.NDArray[Any]) -> None:
        if name in self.fixed:
            raise ConvertError(f"weight {name!r} {self.fixed[name]}: it cannot be varied")
        if name not in self.own:
            raise ConvertError(f"{name!r} is none of the weights of these trials")
        own = self.own[name]
        if (array.dtype, array.shape) != (own.dtype, own.shape):
            raise ConvertError(
                f"weight {name!r} is {own.dtype} {own.shape}, not {array.dtype} {array.shape}"
            )

    def meetings(self, name: str) -> tuple[Meeting, ...]:
        """Return where a weight meets plain products."""
        return self._meetings.get(name, ())

    def watch(self, names: Sequence[str]) -> Look:
        """Return what gives these values of meetings, of what is fed."""
        session = LiteRtSession(str(self._path), keep_all=True)
        every = {m.value: m for met in self._meetings.values() for m in met}

        def look(feed: Arrays) -> Arrays:
            self.run(feed, session)
            return {n: looked_at(every[n], session.value(index_of(n))) for n in names}

        return look

    def run(self, feed: Arrays, weights: LiteRtSession) -> Arrays:
        """Return the outputs by name."""
        numbered = {str(k): feed[one.name] for k, one in enumerate(self.inputs)}
        return dict(zip(weights.output_names(), weights.run(None, numbered), strict=True))

    def seeded_inputs(self, seed: int) -> list[npt.NDArray[Any]]:
        """Return inputs on which the model runs."""
        try:
            inputs, _ = find_inputs(self._plain, 1, seed)
        except CannotRunError as error:
            raise ConvertError(str(error)) from error
        return [inputs[f"i0_{k}"] for k in range(len(self.inputs))]
