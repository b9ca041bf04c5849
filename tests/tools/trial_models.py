"""Small models and data, for the tests of trials."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import TensorProto, helper, numpy_helper

Array = npt.NDArray[Any]


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def dense(batch: int | str = "N", columns: int = 6) -> bytes:
    nodes = [helper.make_node("Gemm", ["x", "w"], ["y"], "fc", transB=1)]
    return built(nodes, [batch, columns], w=normal(4, columns, seed=1))


def built(nodes: list[Any], shape: list[Any], functions: Any = (), **weights: Array) -> bytes:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    y = helper.make_empty_tensor_value_info("y")
    held = [numpy_helper.from_array(w, n) for n, w in weights.items()]
    graph = helper.make_graph(nodes, "g", [x], [y], held)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8, functions=[*functions])
    return bytes(model.SerializeToString())


def saved(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


def few(folder: Path) -> Path:
    return saved(folder / "c.npz", x=normal(5, 6))
