"""ONNX models in onnxruntime and, as .tflite, in LiteRT: with its own kernels and with XNNPACK."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from dcformat.converters.tflite_out import Written, translated

Array = npt.NDArray[Any]
_KINDS = {"float32": TensorProto.FLOAT, "int64": TensorProto.INT64, "int32": TensorProto.INT32,
          "bool": TensorProto.BOOL}  # fmt: skip


def model_of(
    nodes: Sequence[Any],
    inputs: Mapping[str, Array],
    outputs: Mapping[str, Any],
    held: Mapping[str, Array] | None = None,
    opset: int = 17,
) -> bytes:
    """Return a serialized model; `outputs` are element types by name, shapes are inferred."""
    starts = [
        helper.make_tensor_value_info(n, _KINDS[a.dtype.name], a.shape) for n, a in inputs.items()
    ]
    ends = [
        helper.make_tensor_value_info(n, _KINDS[np.dtype(kind).name], None)
        for n, kind in outputs.items()
    ]
    tensors = [numpy_helper.from_array(a, n) for n, a in (held or {}).items()]
    graph = helper.make_graph(nodes, "test", starts, ends, tensors)
    opsets = [helper.make_opsetid("", opset)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    return bytes(onnx.shape_inference.infer_shapes(model).SerializeToString())


def in_onnxruntime(model: bytes, feeds: Mapping[str, Array]) -> dict[str, Array]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options)
    names = [one.name for one in session.get_outputs()]
    return dict(zip(names, session.run(None, dict(feeds)), strict=True))


class Lite:
    """A .tflite in LiteRT; inputs and outputs go by the names they have in the ONNX model."""

    def __init__(self, data: bytes, own_kernels: bool = False) -> None:
        runtime = pytest.importorskip("ai_edge_litert.interpreter", reason="extra [tflite]")
        kinds = runtime.OpResolverType
        kind = kinds.BUILTIN_WITHOUT_DEFAULT_DELEGATES if own_kernels else kinds.AUTO
        self._made = runtime.Interpreter(
            model_content=data, experimental_op_resolver_type=kind, num_threads=1
        )
        self._made.allocate_tensors()

    def in_integers(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Return what a model of int8 gives, all of it as the real numbers that it stands for."""
        for one in self._made.get_input_details():
            scale, point = one["quantization"]
            numbers = np.rint(feeds[one["name"]] / np.float32(scale)) + point
            self._made.set_tensor(one["index"], np.clip(numbers, -128, 127).astype(np.int8))
        self._made.invoke()
        return {one["name"]: self._real(one) for one in self._made.get_output_details()}

    def _real(self, details: Mapping[str, Any]) -> Array:
        found: Array = self._made.get_tensor(details["index"]).copy()
        scale, point = details["quantization"]
        return (found.astype(np.float32) - point) * np.float32(scale) if scale else found

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        for one in self._made.get_input_details():
            self._made.set_tensor(one["index"], np.ascontiguousarray(feeds[one["name"]]))
        self._made.invoke()
        outputs = self._made.get_output_details()
        return {one["name"]: self._made.get_tensor(one["index"]).copy() for one in outputs}


def agree(
    model: bytes, feeds: Mapping[str, Array], written: Written | None = None, within: float = 1e-4
) -> Written:
    """Check that both runtimes give the same, relative to each output's largest number."""
    written = translated(model) if written is None else written
    wanted = in_onnxruntime(model, feeds)
    for own_kernels in (False, True):
        found = Lite(written.data, own_kernels).run(feeds)
        assert found.keys() == wanted.keys()
        for name, numbers in wanted.items():
            check(name, found[name], numbers, within)
    return written


def check(name: str, found: Array, wanted: Array, within: float = 1e-4) -> None:
    assert (found.shape, found.dtype) == (wanted.shape, wanted.dtype), name
    if wanted.dtype.kind != "f":
        assert np.array_equal(found, wanted), name
        return
    # onnxruntime's own sigmoid is wrong by a few times 1e-7, whatever its size.
    most = within * float(np.abs(wanted).max(initial=0)) + 5e-7
    assert float(np.abs(found - wanted).max(initial=0)) <= most, name


def numbers(*shape: int, seed: int = 1, low: float = -2.0, high: float = 2.0) -> Array:
    return np.random.default_rng(seed).uniform(low, high, shape).astype(np.float32)


def one(
    op: str,
    attributes: dict[str, Any],
    inputs: list[Array],
    constants: int = 0,
    kind: Any = np.float32,
    opset: int = 17,
) -> tuple[bytes, dict[str, Array]]:
    """Return a model of one node; its last `constants` inputs are constants, empty ones not."""
    names = [f"in{i}" if array.size else "" for i, array in enumerate(inputs)]
    cut = len(inputs) - constants
    feeds = {n: a for n, a in zip(names[:cut], inputs, strict=False) if n}
    held = {n: a for n, a in zip(names[cut:], inputs[cut:], strict=True) if n}
    node = helper.make_node(op, names, ["out"], "the node", **attributes)
    return model_of([node], feeds, {"out": kind}, held, opset), feeds
