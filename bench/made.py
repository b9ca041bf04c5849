"""A network made for measuring: dense layers of random weights, in any size, without any data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

FLOAT = onnx.TensorProto.FLOAT
SIDE = 512  #: of a layer's square matrix, 1 MiB of float32


def write_network(path: Path, layers: int, external: bool = False) -> int:
    """Write an ONNX model of `layers` dense layers with biases; return its number of weights."""
    rng = np.random.default_rng(0)
    nodes, constants = [], []
    for i in range(layers):
        weights = rng.laplace(0, 0.05, (SIDE, SIDE)).astype(np.float32)
        bias = rng.normal(0, 0.1, SIDE).astype(np.float32)
        names = [f"layer{i}.weight", f"layer{i}.bias"]
        arrays = (weights, bias)
        constants += [numpy_helper.from_array(a, n) for a, n in zip(arrays, names, strict=True)]
        nodes.append(helper.make_node("Gemm", [f"y{i}", *names], [f"y{i + 1}"]))
    ends = [helper.make_tensor_value_info(f"y{i}", FLOAT, ["N", SIDE]) for i in (0, layers)]
    graph = helper.make_graph(nodes, "made", ends[:1], ends[1:], constants)
    model = helper.make_model(graph)
    onnx.save(model, path, save_as_external_data=external, location=f"{path.stem}.bin")
    return layers * (SIDE * SIDE + SIDE)
