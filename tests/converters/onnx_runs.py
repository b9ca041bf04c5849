"""Models that are run before and after they were read and written, for the tests of this folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx.reference import ReferenceEvaluator
from onnx_models import (
    graph,
    identity,
    model_of,
    numbers,
    read_proto,
    serialized,
    tensor,
    value,
)

from dcformat.converters import read_onnx
from dcformat.converters.write_onnx import WRITER
from dcformat.model import Array, Model

OPSET = [helper.make_opsetid("", 19)]


def net(
    nodes: list[Any],
    initializers: list[Any],
    functions: list[Any] | None = None,
    shape: tuple[int, ...] = (2, 20),
) -> Any:
    """Return a model that makes `y` of `x`, both of floats in `shape`."""
    main = graph(nodes, initializers, "g", [value("x", *shape)], [value("y")])
    main.output[0].type.tensor_type.ClearField("shape")
    model = model_of(main, functions)
    model.ir_version = 9
    return model


def run(path: Path, shape: tuple[int, ...] = (2, 20)) -> list[Array]:
    """Return what onnxruntime makes of one input."""
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return [np.asarray(y) for y in session.run(None, {"x": numbers(*shape)})]


def refer(path: Path, shape: tuple[int, ...] = (2, 20)) -> list[Array]:
    """Return what onnx's own evaluator makes of one input."""
    return [
        np.asarray(y) for y in ReferenceEvaluator(onnx.load(path)).run(None, {"x": numbers(*shape)})
    ]


def kept(proto: Any, folder: Path, *runs: Callable[[Path], list[Array]]) -> Model:
    """Read a model, check that it comes back in one file and runs the same in two; return it."""
    model = read_proto(proto, folder)
    path, outside = folder / "m.onnx", folder / "outside.onnx"
    assert serialized(model) == path.read_bytes()
    WRITER.write(model, outside, external=True)
    assert serialized(read_onnx.read(outside)) == path.read_bytes()
    for once in runs:
        before, after = once(path), once(outside)
        assert [y.dtype for y in before] == [y.dtype for y in after]
        assert [y.tobytes() for y in before] == [y.tobytes() for y in after]
    return model


def names(model: Model) -> list[str]:
    return [t.name for t in model.tensors]


def two(folder: Path) -> Model:
    """A model of a large tensor, one of a page, and a small one."""
    tensors = [
        tensor("w", numbers(160, 130)),
        tensor("m", numbers(32, 32)),
        tensor("s", numbers(9)),
    ]
    nodes = [helper.make_node("Gemm", ["x", "w", "b"], ["y"]), *identity("m", "s")]
    return read_proto(model_of(graph(nodes, [*tensors, tensor("b", numbers(130))])), folder)


def written(model: Model, folder: Path) -> Path:
    path = folder / "out.onnx"
    WRITER.write(model, path, external=True)
    return path
