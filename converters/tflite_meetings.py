"""Where weights of a TFLite model meet which numbers, for their second moments.

Schema: tflite_schema.py. Sister files: onnx_trial.py (the same of ONNX), tools/_trials_tflite.py.
Pictures are NHWC here; a meeting's value is NCHW, as all that look at windows expect.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from .onnx_trial import Meeting
from .onnx_windows import Window
from .tflite_lift import names_of
from .tflite_schema import Subgraph, TfModel, TfOperator
from .tflite_uses import source_of

Shape = tuple[int, ...]


def meetings_of(model: TfModel) -> dict[str, tuple[Meeting, ...]]:
    """Return the meetings of each weight of the main graph that meets plain products alone.

    A meeting's value is the number of a tensor and that of columns, as text.
    """
    graph, names = model.subgraphs[0], names_of(model)
    given = {index: one for one in graph.operators for index in one.outputs}
    found: dict[str, list[Meeting | None]] = {}
    for operator in graph.operators:
        own = _meeting(graph, operator)
        for place, index in enumerate(operator.inputs):
            name = names.get((0, source_of(index, given))) if index >= 0 else None
            if name is not None and operator.op not in _PASSING:
                found.setdefault(name, []).append(own if place == 1 else None)
    return {name: whole for name, met in found.items() if (whole := tuple(_all(met)))}


_PASSING = frozenset({"Dequantize", "Densify"})


def _all(met: list[Meeting | None]) -> Iterator[Meeting]:
    """Yield the meetings; nothing if one of the uses is none, or of other columns."""
    first = met[0]
    if first is None or any(one is None or one.order != first.order for one in met):
        return
    yield from (one for one in met if one is not None)


def looked_at(meeting: Meeting, value: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the numbers of a meeting's tensor as a meeting has them."""
    if meeting.window is not None:
        return np.moveaxis(value, -1, 1)
    return value.reshape(-1, meeting.columns)  # as FullyConnected does with more axes


def index_of(value: str) -> int:
    """Return the number of the tensor in a meeting's value."""
    return int(value.partition("/")[0])


def _meeting(graph: Subgraph, operator: TfOperator) -> Meeting | None:
    """Return what input 1 of an operator meets, None where that is no plain product."""
    if operator.op not in _RULES or len(operator.inputs) < 2 or min(operator.inputs[:2]) < 0:
        return None
    value, weight = (graph.tensors[index].shape for index in operator.inputs[:2])
    met = _RULES[operator.op](operator, value, weight)
    return None if met is None else replace(met, value=f"{operator.inputs[0]}/{met.columns}")


def _dense(operator: TfOperator, value: Shape, weight: Shape) -> Meeting | None:
    return Meeting("", (0, 1), weight[1]) if len(weight) == 2 and weight[1] else None


def _conv(operator: TfOperator, value: Shape, weight: Shape) -> Meeting | None:
    """OHWI, where I are the channels of one group."""
    if len(weight) != 4 or len(value) != 4 or not all(weight) or value[3] % weight[3]:
        return None
    window = _window(operator, weight[1:3], value[3] // weight[3])
    return Meeting("", (0, 3, 1, 2), prod(weight[1:]), window=window) if window else None


def _depthwise(operator: TfOperator, value: Shape, weight: Shape) -> Meeting | None:
    """[1, H, W, out]: of each channel of the input come as many that follow each other."""
    if len(weight) != 4 or len(value) != 4 or not all(weight) or weight[3] % max(value[3], 1):
        return None
    window = _window(operator, weight[1:3], value[3])
    return Meeting("", (3, 0, 1, 2), prod(weight[1:3]), window=window) if window else None


def _window(operator: TfOperator, kernel: Shape, groups: int) -> Window | None:
    strides = operator.strides
    if strides is None:
        return None
    padding = "SAME_UPPER" if strides.same else "VALID"
    return Window(kernel, strides.steps, strides.dilations, (0, 0, 0, 0), padding, groups)


_RULES = {"Conv2D": _conv, "DepthwiseConv2D": _depthwise, "FullyConnected": _dense}
