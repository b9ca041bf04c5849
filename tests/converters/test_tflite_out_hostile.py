"""Damaged and hostile ONNX models end in a ConvertError, or in a file that can be parsed."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from tflite_runs import model_of, numbers, one

from dcformat.converters.tflite_out import Wanted, translated
from dcformat.converters.tflite_schema import parse
from dcformat.errors import ConvertError

IMAGE = numbers(1, 4, 9, 8)


def network() -> bytes:
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["a"], "c1", pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["a", *"bbbb"], ["n"]),
        helper.make_node("Relu", ["n"], ["r"]),
        helper.make_node("MaxPool", ["r"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Resize", ["p", "", "", "sizes"], ["q"], mode="nearest"),
        helper.make_node("Concat", ["q", "q"], ["cat"], axis=1),
        helper.make_node("Slice", ["cat", "zero", "two", "one"], ["s"]),
        helper.make_node("Reshape", ["s", "shape"], ["f"]),
        helper.make_node("Gemm", ["f", "v"], ["g"], transB=1),
        helper.make_node("Softmax", ["g"], ["y"]),
    ]
    held = {"w": numbers(4, 4, 3, 3), "b": np.abs(numbers(4)), "v": numbers(3, 64),
            "sizes": np.array([1, 4, 4, 8]), "zero": np.array([0]), "one": np.array([1]),
            "two": np.array([2]), "shape": np.array([1, -1])}  # fmt: skip
    return model_of(nodes, {"x": IMAGE}, {"y": np.float32}, held)


def recurrent() -> bytes:
    node = helper.make_node("LSTM", ["x", "w", "r"], ["y"], hidden_size=3)
    held = {"w": numbers(1, 12, 4), "r": numbers(1, 12, 3)}
    return model_of([node], {"x": numbers(2, 1, 4)}, {"y": np.float32}, held)


def damaged(data: bytes, rng: random.Random) -> bytes:
    out = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(out))
        out[at] = rng.choice((0, 1, 2, 127, 128, 255, out[at] ^ 1 << rng.randrange(8)))
    return bytes(out[: rng.randrange(len(out))] if rng.random() < 0.05 else out)


def ends_well(data: bytes, wanted: Wanted | None = None) -> bool:
    """Tell whether a file was made; what is raised otherwise is a ConvertError."""
    try:
        parse(translated(data, wanted).data)
    except ConvertError:
        return False
    return True


@pytest.mark.parametrize("source", [network, recurrent])
def test_damaged_models_end_well(source: Any) -> None:
    rng, data = random.Random(7), source()
    wanted = Wanted(ranges=dict.fromkeys((*"xanrpqsfgy", "cat"), (-1.0, 1.0)))
    made = [ends_well(damaged(data, rng), wanted if i % 2 else None) for i in range(400)]
    assert 20 < sum(made) < 380


@pytest.mark.slow
@pytest.mark.parametrize("source", [network, recurrent])
def test_many_damaged_models_end_well(source: Any) -> None:
    rng, data = random.Random(8), source()
    assert sum(ends_well(damaged(data, rng)) for _ in range(5000)) > 100


@pytest.mark.parametrize(
    ("op", "attributes", "held"),
    [
        ("ConstantOfShape", {}, np.array([1 << 20, 1 << 20])),
        ("Reshape", {}, np.array([1 << 40, -1])),
        ("Expand", {}, np.array([1 << 20, 4, 1 << 20, 8])),
        ("Tile", {}, np.array([1 << 30, 1, 1, 1])),
        ("Pad", {}, np.array([0, 0, 1 << 40, 0, 0, 0, 0, 0])),
        ("Pad", {}, np.array([1, 2, 3])),
        ("Slice", {}, np.array([1, 2, 3])),
        ("Unsqueeze", {}, np.array([40])),
        ("Transpose", {"perm": [0, 0, 1, 2]}, None),
        ("Concat", {"axis": 9}, None),
        ("MaxPool", {"kernel_shape": [1 << 40, 2]}, None),
        ("MaxPool", {"kernel_shape": [2, 2], "strides": [0, 1]}, None),
        ("MaxPool", {}, None),
        ("DepthToSpace", {"blocksize": 0}, None),
        ("DepthToSpace", {"blocksize": 3}, None),
        ("Softmax", {"axis": 7}, None),
    ],
)
def test_absurd_nodes_are_refused(op: str, attributes: dict[str, Any], held: Any) -> None:
    names = ["c"] if op == "ConstantOfShape" else ["x"] if held is None else ["x", "c"]
    node = helper.make_node(op, names, ["y"], "absurd", **attributes)
    starts = [helper.make_tensor_value_info("x", TensorProto.FLOAT, IMAGE.shape)]
    ends = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    tensors = [] if held is None else [onnx.numpy_helper.from_array(held, "c")]
    graph = helper.make_graph([node], "g", starts, ends, tensors)
    opsets = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    with pytest.raises(ConvertError):
        translated(model.SerializeToString())


def test_inputs_larger_than_any_file_are_refused() -> None:
    model, _ = one("Relu", {}, [IMAGE])
    proto = onnx.load_from_string(model)
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1 << 40
    with pytest.raises(ConvertError, match="too large for TFLite"):
        translated(proto.SerializeToString())
