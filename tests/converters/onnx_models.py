"""Small ONNX models made by hand, for the tests of this folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from dcformat.converters import read_onnx
from dcformat.model import Array, Model, Use

REAL_MODELS = (
    "all_dtypes",
    "cct2_32_opset20_untrained",
    "dtln_1",
    "espcn_qonnx_customdomain",
    "fastestdet",
    "fp16_loop",
    "genre_mlp_velardo",
    "light_shufflenet",
    "lstm_1layer",
    "micro_kws_m_fp32",
    "micro_kws_m_qdq",
    "mnist_14x14_atmega",
    "mnist_cnn_bn_burn",
    "mnist_cntk",
    "mnist_int8_dynamic",
    "mnist_mlp_bn_pytorch",
    "scan_lstm",
    "silero_vad_v6",
    "super_resolution",
    "super_resolution_prepost_customops",
    "tiny_random_gpt2_fp16",
    "tiny_random_gpt2_fp32",
    "tree_ensemble",
    "ultraface_rfb320",
    "yunet_n_320",
)
EXTERNAL_MODELS = ("conv_qdq_external_ini", "external_data_offset")


def numbers(*shape: int) -> Array:
    """Return float32 numbers that all differ."""
    size = int(np.prod(shape))
    return (np.arange(size, dtype=np.float32) / 7 - 3).reshape(shape)


def tensor(name: str, data: Array) -> Any:
    return numpy_helper.from_array(np.ascontiguousarray(data), name)


def value(name: str, *shape: int | str, kind: int = TensorProto.FLOAT) -> Any:
    return helper.make_tensor_value_info(name, kind, list(shape))


def graph(
    nodes: list[Any],
    initializers: list[Any],
    name: str = "g",
    inputs: list[Any] | None = None,
    outputs: list[Any] | None = None,
) -> Any:
    return helper.make_graph(
        nodes, name, [value("x", "N")] if inputs is None else inputs, outputs or [], initializers
    )


def model_of(main: Any, functions: list[Any] | None = None) -> Any:
    opsets = [helper.make_opsetid("", 19), helper.make_opsetid("com.microsoft", 1)]
    if functions:
        opsets.append(helper.make_opsetid("local", 1))
    return helper.make_model(main, opset_imports=opsets, functions=functions or [])


def read_proto(model: Any, folder: Path) -> Model:
    path = folder / "m.onnx"
    path.write_bytes(model.SerializeToString())
    return read_onnx.read(path)


def read_nodes(nodes: list[Any], initializers: list[Any], folder: Path) -> Model:
    return read_proto(model_of(graph(nodes, initializers)), folder)


def use_in(model: Model, name: str) -> tuple[str, int | None, tuple[int, ...] | None]:
    use: Use = model.uses[name]
    return use.role, use.out_axis, use.order


def raw_tensor(name: str, kind: int, dims: tuple[int, ...], **fields: Any) -> Any:
    """Return a TensorProto with exactly these data fields."""
    proto = onnx.TensorProto(name=name, data_type=kind, dims=dims)
    for key, data in fields.items():
        if key == "raw_data":
            proto.raw_data = data
        else:
            getattr(proto, key).extend(data)
    return proto
