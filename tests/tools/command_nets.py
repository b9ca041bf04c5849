"""The network that tests of commands convert."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper


def make_net(weight: str = "conv1.weight") -> Any:
    """Return a convolution and a dense layer with biases, 1,754 parameters, seeded."""
    random = np.random.default_rng(7)
    shapes = {weight: (16, 2, 3, 3), "conv1.bias": (16,), "fc.weight": (10, 144), "fc.bias": (10,)}
    constants = [
        numpy_helper.from_array(random.standard_normal(shape).astype(np.float32), name)
        for name, shape in shapes.items()
    ]
    nodes = [
        helper.make_node("Conv", ["x", weight, "conv1.bias"], ["a"], "conv1", kernel_shape=[3, 3]),
        helper.make_node("Relu", ["a"], ["b"], "relu"),
        helper.make_node("Flatten", ["b"], ["c"], "flatten"),
        helper.make_node("Gemm", ["c", "fc.weight", "fc.bias"], ["y"], "fc", transB=1),
    ]
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2, 5, 5])
    made = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 10])
    graph = helper.make_graph(nodes, "net", [given], [made], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
