"""A TFLite model in LiteRT, to be called as a session of onnxruntime is.

Sister: tools/_run.py, which calls it in a child process with limits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

#: onnxruntime's names of NumPy types, where they are others.
_NAMES = {"float32": "float", "float64": "double"}


@dataclass(frozen=True)
class Input:
    """An input as onnxruntime describes it: a name, and a length or a name for each axis."""

    name: str
    shape: list[int | str]
    type: str


class LiteRtSession:
    """An interpreter of one thread, with LiteRT's own kernels and no delegate.

    `model` is the path of a file, or its bytes. With `keep_all` inner values stay to be looked at.
    """

    def __init__(self, model: str | bytes, *, keep_all: bool = False) -> None:
        from ai_edge_litert.interpreter import (  # noqa: PLC0415 - slow, and after the limits
            Interpreter,
            OpResolverType,
        )

        kernels = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        given: dict[str, Any] = {"experimental_op_resolver_type": kernels, "num_threads": 1}
        given["experimental_preserve_all_tensors"] = keep_all
        given["model_path" if isinstance(model, str) else "model_content"] = model
        self._interpreter = Interpreter(**given)

    def get_inputs(self) -> list[Input]:
        """Return the inputs; axes that the file leaves open have names."""
        return [_input(number, d) for number, d in enumerate(self._details())]

    def named_inputs(self) -> list[Input]:
        """Return the inputs under the names that the file gives them."""
        inputs, names = self.get_inputs(), [str(d["name"]) for d in self._details()]
        return [replace(one, name=name) for one, name in zip(inputs, names, strict=True)]

    def output_names(self) -> list[str]:
        return [str(details["name"]) for details in self._interpreter.get_output_details()]

    def value(self, index: int) -> npt.NDArray[Any]:
        """Return a copy of a tensor, as the last run has left it."""
        return np.array(self._interpreter.get_tensor(index))

    def run(self, _: None, feed: Mapping[str, npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
        """Return copies of the outputs, in the model's order."""
        for number, details in enumerate(self._details()):
            data = feed[str(number)]
            if tuple(details["shape"]) != data.shape:
                self._interpreter.resize_tensor_input(details["index"], data.shape)
        self._interpreter.allocate_tensors()
        self._interpreter.reset_all_variables()
        for number, details in enumerate(self._details()):
            self._interpreter.set_tensor(details["index"], feed[str(number)])
        self._interpreter.invoke()
        outputs = self._interpreter.get_output_details()
        return [self.value(one["index"]) for one in outputs]

    def _details(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._interpreter.get_input_details()
        return found


def _input(number: int, details: Mapping[str, Any]) -> Input:
    kind = np.dtype(details["dtype"]).name
    shape, signature = details["shape"], details["shape_signature"]
    lengths = signature if len(signature) else shape
    axes = [int(n) if n >= 0 else f"n{axis}" for axis, n in enumerate(lengths)]
    return Input(str(number), axes, f"tensor({_NAMES.get(kind, kind)})")
