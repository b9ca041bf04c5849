"""Small ONNX models made by hand, for the tests of this folder."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from dcformat.converters import onnx_data as data
from dcformat.converters import read_onnx, write_onnx
from dcformat.converters.onnx_wire import varint
from dcformat.ids import BITS, NUMPY, WIDTH, DType
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


TYPED = {
    DType.FLOAT: data.FLOAT_DATA,
    DType.COMPLEX64: data.FLOAT_DATA,
    DType.DOUBLE: data.DOUBLE_DATA,
    DType.COMPLEX128: data.DOUBLE_DATA,
    DType.INT64: data.INT64_DATA,
    DType.UINT32: data.UINT64_DATA,
    DType.UINT64: data.UINT64_DATA,
}
ENCODINGS = [(d, data.RAW_DATA) for d in DType] + [
    (d, TYPED.get(d, data.INT32_DATA)) for d in DType
]


def every_pattern(dtype: DType) -> Array:
    """Elements of `dtype`: all bit patterns of small types, many of large ones, NaNs included."""
    if dtype is DType.BOOL:
        return np.array([True, False, True, True, False])
    if BITS[dtype] < 8:
        patterns = np.arange(1 << BITS[dtype], dtype=np.uint8).repeat(2)[:-1]
        if NUMPY[dtype] == "i1":
            sign = 1 << (BITS[dtype] - 1)
            patterns = (patterns ^ np.uint8(sign)) - np.uint8(sign)
        return np.asarray(patterns).view(NUMPY[dtype])
    rng = np.random.default_rng(int(dtype))
    if WIDTH[dtype] <= 2:
        return np.arange(1 << 8 * WIDTH[dtype]).astype(f"<u{WIDTH[dtype]}").view(NUMPY[dtype])
    return np.frombuffer(rng.bytes(WIDTH[dtype] * 500), NUMPY[dtype])


def numbers(*shape: int) -> npt.NDArray[np.float32]:
    """Return float32 numbers that all differ."""
    size = int(np.prod(shape))
    return np.asarray(np.arange(size) / 7 - 3, np.float32).reshape(shape)


def tensor(name: str, elements: Array) -> Any:
    return numpy_helper.from_array(np.ascontiguousarray(elements), name)


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


def serialized(model: Model) -> bytes:
    """Return the bytes of the ONNX file for `model`."""
    with TemporaryDirectory() as folder:
        write_onnx.write(model, Path(folder) / "m.onnx")
        return (Path(folder) / "m.onnx").read_bytes()


def read_nodes(nodes: list[Any], initializers: list[Any], folder: Path) -> Model:
    return read_proto(model_of(graph(nodes, initializers)), folder)


def use_in(model: Model, name: str) -> tuple[str, int | None, tuple[int, ...] | None]:
    use: Use = model.uses[name]
    return use.role, use.out_axis, use.order


def raw_tensor(name: str, kind: int, dims: tuple[int, ...], **fields: Any) -> Any:
    """Return a TensorProto with exactly these data fields."""
    proto = onnx.TensorProto(name=name, data_type=kind, dims=dims)
    for key, content in fields.items():
        if key == "raw_data":
            proto.raw_data = content
        else:
            getattr(proto, key).extend(content)
    return proto


def constant(name: str, proto: Any) -> Any:
    return helper.make_node("Constant", [], [name], value=proto)


def identity(*names: str) -> list[Any]:
    return [helper.make_node("Identity", [name], [f"{name}_{i}"]) for i, name in enumerate(names)]


def write_large(path: Path, size: int, head: int = 0) -> None:
    """Write a model whose one tensor, `big` of UINT8, takes `size` bytes that are not on disk.

    `head` more bytes stand in its doc_string, so that a file may have any size.
    """
    model = model_of(onnx.GraphProto())
    model.ClearField("graph")
    model.doc_string = "d" * head
    node = helper.make_node("Identity", ["big"], ["y"])
    front = onnx.GraphProto(name="g", node=[node]).SerializeToString()
    main = raw_tensor("big", TensorProto.UINT8, (size,)).SerializeToString()
    main += varint(9 << 3 | 2) + varint(size)
    front += varint(5 << 3 | 2) + varint(len(main) + size) + main
    whole = model.SerializeToString() + varint(7 << 3 | 2) + varint(len(front) + size) + front
    with path.open("wb") as stream:
        stream.write(whole)
        stream.truncate(len(whole) + size)
