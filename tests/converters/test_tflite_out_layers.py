"""Layers of ONNX as .tflite: what LiteRT (ai_edge_litert) gives is what onnxruntime gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import helper
from tflite_runs import Array, agree, model_of, numbers, one

Case = tuple[str, dict[str, Any], list[Array]]
IMAGE = numbers(1, 4, 9, 8)
CONVS: list[Case] = [
    ("plain", {}, [IMAGE, numbers(5, 4, 3, 3), numbers(5)]),
    ("no bias", {"strides": [2, 1]}, [IMAGE, numbers(5, 4, 3, 2)]),
    ("same", {"pads": [1, 1, 1, 1]}, [IMAGE, numbers(5, 4, 3, 3)]),
    ("same, strides", {"auto_pad": "SAME_UPPER", "strides": [2, 2]}, [IMAGE, numbers(5, 4, 3, 3)]),
    ("lower", {"auto_pad": "SAME_LOWER", "strides": [2, 2]}, [IMAGE, numbers(5, 4, 4, 4)]),
    ("pads of PyTorch", {"pads": [1, 1, 1, 1], "strides": [2, 2]}, [IMAGE, numbers(5, 4, 3, 3)]),
    ("uneven pads", {"pads": [2, 0, 1, 3]}, [IMAGE, numbers(5, 4, 3, 3)]),
    ("dilations", {"dilations": [2, 3]}, [IMAGE, numbers(5, 4, 3, 2)]),
    ("depthwise", {"group": 4, "pads": [1, 1, 1, 1]}, [IMAGE, numbers(4, 1, 3, 3), numbers(4)]),
    ("multiplier", {"group": 4}, [IMAGE, numbers(8, 1, 3, 3)]),
    ("groups", {"group": 2}, [IMAGE, numbers(6, 2, 3, 3), numbers(6)]),
    ("one axis", {"pads": [1, 1]}, [numbers(2, 4, 9), numbers(5, 4, 3), numbers(5)]),
    ("one axis, strides", {"strides": [2]}, [numbers(1, 4, 9), numbers(5, 4, 3)]),
    ("one axis, depthwise", {"group": 4}, [numbers(1, 4, 9), numbers(4, 1, 3)]),
]


@pytest.mark.parametrize(("what", "attributes", "inputs"), CONVS, ids=[c[0] for c in CONVS])
def test_conv(what: str, attributes: dict[str, Any], inputs: list[Array]) -> None:
    model, feeds = one("Conv", attributes, inputs, len(inputs) - 1)
    assert agree(model, feeds).transposes <= 2


GROWN: list[Case] = [
    ("plain", {}, [IMAGE, numbers(4, 5, 3, 3), numbers(5)]),
    ("strides", {"strides": [2, 2]}, [IMAGE, numbers(4, 5, 2, 2)]),
    ("pads", {"strides": [2, 2], "pads": [1, 1, 1, 1]}, [IMAGE, numbers(4, 5, 4, 4), numbers(5)]),
    ("output padding", {"strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 1]},
     [IMAGE, numbers(4, 5, 3, 3)]),
    ("beyond", {"strides": [3, 3], "output_padding": [2, 1]}, [IMAGE, numbers(4, 5, 2, 2)]),
    ("output shape", {"strides": [2, 2], "output_shape": [18, 16]}, [IMAGE, numbers(4, 5, 3, 3)]),
    ("same", {"strides": [2, 2], "auto_pad": "SAME_UPPER"}, [IMAGE, numbers(4, 5, 3, 3)]),
    ("lower", {"strides": [2, 2], "auto_pad": "SAME_LOWER"}, [IMAGE, numbers(4, 5, 3, 3)]),
    ("groups", {"group": 2}, [IMAGE, numbers(4, 3, 3, 3), numbers(6)]),
    ("one axis", {"strides": [2]}, [numbers(1, 4, 9), numbers(4, 5, 3)]),
]  # fmt: skip


@pytest.mark.parametrize(("what", "attributes", "inputs"), GROWN, ids=[c[0] for c in GROWN])
def test_conv_transpose(what: str, attributes: dict[str, Any], inputs: list[Array]) -> None:
    model, feeds = one("ConvTranspose", attributes, inputs, len(inputs) - 1)
    assert agree(model, feeds).transposes <= 2


POOLS: list[tuple[str, str, dict[str, Any], Array]] = [
    ("plain", "", {"kernel_shape": [2, 2], "strides": [2, 2]}, IMAGE),
    ("pads", "", {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [2, 2]}, IMAGE),
    ("same", "", {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}, IMAGE),
    ("uneven", "", {"kernel_shape": [3, 3], "pads": [0, 1, 2, 0]}, IMAGE),
    ("ceil", "", {"kernel_shape": [2, 3], "strides": [2, 3], "ceil_mode": 1}, IMAGE),
    ("one axis", "", {"kernel_shape": [3], "strides": [2], "pads": [1, 1]}, numbers(1, 4, 9)),
    ("zeros count", "AveragePool", {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1],
                                    "count_include_pad": 1}, IMAGE),
    ("zeros count, ceil", "AveragePool", {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1,
                                          "pads": [0, 1, 0, 1], "count_include_pad": 1}, IMAGE),
    ("zeros count, same", "AveragePool", {"kernel_shape": [3, 3], "strides": [2, 2],
                                          "auto_pad": "SAME_UPPER", "count_include_pad": 1}, IMAGE),
    ("zeros count, lower", "AveragePool", {"kernel_shape": [2, 2], "auto_pad": "SAME_LOWER",
                                           "count_include_pad": 1, "strides": [2, 2]}, IMAGE),
]  # fmt: skip


@pytest.mark.parametrize("op", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize(("what", "only", "attributes", "image"), POOLS, ids=[c[0] for c in POOLS])
def test_pool(op: str, what: str, only: str, attributes: dict[str, Any], image: Array) -> None:
    if only and op != only:
        pytest.skip("MaxPool has no such attribute")
    agree(*one(op, attributes, [image], opset=19))


@pytest.mark.parametrize("op", ["GlobalAveragePool", "GlobalMaxPool"])
@pytest.mark.parametrize("shape", [(2, 4, 9, 8), (1, 4, 9)])
def test_global_pool(op: str, shape: tuple[int, ...]) -> None:
    assert agree(*one(op, {}, [numbers(*shape)])).transposes == 0


GEMMS: list[Case] = [
    ("plain", {}, [numbers(3, 4), numbers(4, 5), numbers(5)]),
    ("turned", {"transB": 1}, [numbers(3, 4), numbers(5, 4)]),
    ("both turned", {"transA": 1, "transB": 1}, [numbers(4, 3), numbers(5, 4), numbers(1)]),
    ("scaled", {"alpha": 0.5, "beta": 2.0}, [numbers(3, 4), numbers(4, 5), numbers(5)]),
    ("matrix added", {}, [numbers(3, 4), numbers(4, 5), numbers(3, 5)]),
    ("column added", {}, [numbers(3, 4), numbers(4, 5), numbers(3, 1)]),
]


@pytest.mark.parametrize("constants", [True, False])
@pytest.mark.parametrize(("what", "attributes", "inputs"), GEMMS, ids=[c[0] for c in GEMMS])
def test_gemm(what: str, attributes: dict[str, Any], inputs: list[Array], constants: bool) -> None:
    agree(*one("Gemm", attributes, inputs, (len(inputs) - 1) * constants))


@pytest.mark.parametrize("constants", [0, 1])
@pytest.mark.parametrize(
    ("left", "right"),
    [((3, 4), (4, 5)), ((2, 3, 4), (4, 5)), ((2, 3, 4), (2, 4, 5)), ((2, 1, 3, 4), (6, 4, 5))],
)
def test_matmul(left: tuple[int, ...], right: tuple[int, ...], constants: int) -> None:
    agree(*one("MatMul", {}, [numbers(*left), numbers(*right, seed=2)], constants))


def test_a_layer_behind_a_flattened_convolution_costs_no_transpose() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"]),
        helper.make_node("MaxPool", ["a"], ["b"], kernel_shape=[2, 2]),
        helper.make_node("Flatten", ["b"], ["c"]),
        helper.make_node("Gemm", ["c", "v", "u"], ["y"], transB=1),
    ]
    held = {"w": numbers(6, 4, 2, 2), "v": numbers(3, 6 * 7 * 6), "u": numbers(3)}
    model = model_of(nodes, {"x": IMAGE}, {"y": np.float32}, held)
    assert agree(model, {"x": IMAGE}).transposes == 1


@pytest.mark.parametrize("layer", ["Conv", "ConvTranspose", "Gemm", "MatMul", "Relu"])
def test_norms_go_into_the_layer_before_them(layer: str) -> None:
    shapes = {"Conv": (5, 4, 3, 3), "ConvTranspose": (4, 5, 3, 3), "Gemm": (7, 5), "MatMul": (7, 5)}
    data = IMAGE if layer in ("Conv", "ConvTranspose", "Relu") else numbers(3, 7)
    channels = 4 if layer == "Relu" else 5
    names = ["x"] if layer == "Relu" else ["x", "w"]
    nodes = [
        helper.make_node(layer, names, ["a"]),
        helper.make_node("Add", ["bias", "a"], ["b"]),
        helper.make_node("BatchNormalization", ["b", *"smiv"], ["y"], epsilon=0.01),
    ]
    spread = (channels,) if data.ndim == 2 else (channels, 1, 1)
    held = {name: numbers(channels, seed=seed) for seed, name in enumerate("smi")}
    held |= {"v": np.abs(numbers(channels)), "bias": numbers(*spread)}
    held |= {"w": numbers(*shapes[layer])} if layer in shapes else {}
    model = model_of(nodes, {"x": data}, {"y": np.float32}, held)
    written = agree(model, {"x": data})
    left = 3 if layer == "Relu" else 1
    assert written.operators - written.transposes == left


@pytest.mark.parametrize("op", ["LSTM", "GRU"])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("full", [True, False])
def test_recurrent(op: str, direction: str, full: bool) -> None:
    steps, batch, size, inner = 3, 2, 4, 5
    count, gates = 2 if direction == "bidirectional" else 1, 4 if op == "LSTM" else 3
    held = {"w": numbers(count, gates * inner, size), "r": numbers(count, gates * inner, inner)}
    names, outputs = ["x", "w", "r"], ["y", "h", "c"][: 3 if op == "LSTM" else 2]
    feeds = {"x": numbers(steps, batch, size)}
    if full:
        held["b"] = numbers(count, 2 * gates * inner)
        feeds |= {name: numbers(count, batch, inner) for name in ("h0", "c0")[: len(outputs) - 1]}
        names += ["b", "", *list(feeds)[1:]]
    own = {} if op == "LSTM" else {"linear_before_reset": int(full)}
    node = helper.make_node(op, names, outputs, hidden_size=inner, direction=direction, **own)
    model = model_of([node], feeds, dict.fromkeys(outputs, np.float32), held)
    agree(model, feeds)
