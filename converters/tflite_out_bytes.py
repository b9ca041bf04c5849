"""The bytes of a TFLite file, of a graph that was made.

Schema: tensorflow/lite/schema/schema.fbs, version 3; the numbers below are members of its union
BuiltinOptions and positions of fields. Sisters: tflm_tree.py (FlatBuffers), tflite_out_net.py.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from dcformat.errors import ConvertError
from dcformat.ids import DType

from .tflite_operators import OPERATORS
from .tflite_out_net import Array, Net, Op, OutTensor, Scale
from .tflite_schema import DTYPES
from .tflm_tree import Node, Vector, bytes_of

_TYPES = {dtype: number for number, dtype in DTYPES.items()}
_CODES = {name: number for number, name in enumerate(OPERATORS)}
_LARGEST_OLD_CODE = 127
_BUFFER_ALIGN = 16
_MAX_BYTES = (1 << 31) - 1
#: Of each operator: which options, and field and form of each of them.
_OPTIONS: dict[str, tuple[int, dict[str, tuple[int, str]]]] = {
    "Conv2D": (1, {"padding": (0, "b"), "stride_w": (1, "i"), "stride_h": (2, "i"),
                   "activation": (3, "b"), "dilation_w": (4, "i"), "dilation_h": (5, "i")}),
    "DepthwiseConv2D": (2, {"padding": (0, "b"), "stride_w": (1, "i"), "stride_h": (2, "i"),
                            "multiplier": (3, "i"), "activation": (4, "b"),
                            "dilation_w": (5, "i"), "dilation_h": (6, "i")}),
    "FullyConnected": (8, {"activation": (0, "b"), "keep_dims": (2, "?")}),
    "Softmax": (9, {"beta": (0, "f")}),
    "Concatenation": (10, {"axis": (0, "i")}),
    "Add": (11, {"activation": (0, "b")}),
    "ResizeBilinear": (15, {"align_corners": (2, "?"), "half_pixel": (3, "?")}),
    "Reshape": (17, {"new_shape": (0, "ints")}),
    "SpaceToDepth": (19, {"block": (0, "i")}),
    "Mul": (21, {"activation": (0, "b")}),
    "Pad": (22, {}),
    "Gather": (23, {"axis": (0, "i")}),
    "Transpose": (26, {}),
    "Sub": (28, {"activation": (0, "b")}),
    "Div": (29, {"activation": (0, "b")}),
    "StridedSlice": (32, {"begin_mask": (0, "i"), "end_mask": (1, "i"), "shrink_mask": (4, "i")}),
    "LogSoftmax": (36, {}),
    "Cast": (37, {"source": (0, "type"), "target": (1, "type")}),
    "ArgMax": (40, {"output": (0, "type")}),
    "ArgMin": (57, {"output": (0, "type")}),
    "TransposeConv": (49, {"padding": (0, "b"), "stride_w": (1, "i"), "stride_h": (2, "i")}),
    "ResizeNearestNeighbor": (74, {"align_corners": (0, "?"), "half_pixel": (1, "?")}),
    "LeakyRelu": (75, {"alpha": (0, "f")}),
    "MirrorPad": (77, {"mode": (0, "b")}),
    "SplitV": (79, {"splits": (0, "i")}),
    "DepthToSpace": (94, {"block": (0, "i")}),
    "BatchMatMul": (101, {"adj_x": (0, "?"), "adj_y": (1, "?")}),
    "Cumsum": (102, {"exclusive": (0, "?"), "reverse": (1, "?")}),
    "Gelu": (116, {"approximate": (0, "?")}),
}  # fmt: skip
_POOL = {"padding": (0, "b"), "stride_w": (1, "i"), "stride_h": (2, "i"),
         "width": (3, "i"), "height": (4, "i"), "activation": (5, "b")}  # fmt: skip
_OPTIONS |= dict.fromkeys(("AveragePool2D", "MaxPool2D"), (5, _POOL))
_OPTIONS |= dict.fromkeys(
    ("Mean", "Sum", "ReduceMax", "ReduceMin", "ReduceProd"), (27, {"keep_dims": (0, "?")})
)
_ENUMS = {
    "SAME": 0, "VALID": 1, "NONE": 0, "RELU": 1, "RELU_N1_TO_1": 2, "RELU6": 3,
    "REFLECT": 0, "SYMMETRIC": 1,
}  # fmt: skip
#: The version of an operator with 8-bit numbers; 1 without.
_INT8_VERSIONS = {
    "Add": 2, "ArgMax": 2, "AveragePool2D": 2, "Concatenation": 2, "Conv2D": 3,
    "DepthwiseConv2D": 3, "Dequantize": 2, "FullyConnected": 4, "Gather": 2, "HardSwish": 1,
    "LeakyRelu": 2, "Logistic": 2, "LogSoftmax": 2, "MaxPool2D": 2, "Maximum": 2, "Mean": 2,
    "Minimum": 2, "Mul": 2, "Pad": 2, "Padv2": 2, "Prelu": 1, "Quantize": 1, "Relu": 2,
    "Relu6": 2, "ReduceMax": 2, "ReduceMin": 2, "ResizeBilinear": 2, "ResizeNearestNeighbor": 2,
    "Softmax": 2, "SpaceToDepth": 2, "DepthToSpace": 1, "SplitV": 2, "StridedSlice": 2, "Sub": 2,
    "Sum": 2, "Tanh": 2, "Transpose": 2, "TransposeConv": 2, "BatchMatMul": 2, "Tile": 2,
}  # fmt: skip


def file_of(net: Net, description: str) -> bytes:
    """Return the file. Raises ConvertError where it would not be one."""
    size = sum(t.data.nbytes for t in net.tensors if t.data is not None)
    if size > _MAX_BYTES:
        raise ConvertError(f"its numbers take {size:,} bytes, and a TFLite file ends at 2 GiB")
    codes = sorted({(_CODES[op.kind], _version(net, op)) for op in net.ops})
    root = Node()
    root.put(0, "I", 3)
    root.nodes(1).extend(_code(*code) for code in codes)
    buffers = _Buffers()
    root.nodes(2).append(_subgraph(net, codes, buffers))
    root.link(3, _text(description))
    root.nodes(4).extend(buffers.nodes)
    root.nodes(7).append(_signature(net))
    data = bytes_of(root)
    if len(data) > _MAX_BYTES:
        raise ConvertError(f"it takes {len(data):,} bytes, and a TFLite file ends at 2 GiB")
    return data


def _version(net: Net, op: Op) -> int:
    kinds = {net.tensors[index].dtype for index in (*op.inputs[:1], *op.outputs)}
    if kinds & {DType.INT8, DType.UINT8, DType.INT4} and len(op.inputs) < 4:
        return _INT8_VERSIONS.get(op.kind, 1)
    if op.kind == "FullyConnected" and op.options.get("keep_dims"):
        return 5
    if op.kind == "TransposeConv" and len(op.inputs) > 3:
        return 3
    return 2 if op.kind == "BroadcastTo" else 1


def _code(code: int, version: int) -> Node:
    node = Node()
    node.put(0, "b", min(code, _LARGEST_OLD_CODE))
    node.put(2, "i", version)
    node.put(3, "i", code)
    return node


class _Buffers:
    """The buffers of constants; equal numbers stand once, and the first is nobody's."""

    def __init__(self) -> None:
        self.nodes = [Node()]
        self._places: dict[bytes, int] = {}

    def add(self, raw: bytes) -> int:
        digest = hashlib.sha256(raw).digest()
        if digest not in self._places:
            node = Node()
            node.link(0, Vector(raw, 1, _BUFFER_ALIGN))
            self._places[digest] = len(self.nodes)
            self.nodes.append(node)
        return self._places[digest]


def _subgraph(net: Net, codes: list[tuple[int, int]], buffers: _Buffers) -> Node:
    node = Node()
    node.nodes(0).extend(_tensor(tensor, buffers) for tensor in net.tensors)
    node.link(1, _ints(net.inputs))
    node.link(2, _ints(net.outputs))
    places = {code: place for place, code in enumerate(codes)}
    node.nodes(3).extend(_operator(net, op, places) for op in net.ops)
    node.link(4, _text("main"))
    return node


def _tensor(tensor: OutTensor, buffers: _Buffers) -> Node:
    node = Node()
    node.link(0, _ints(tensor.shape))
    node.put(1, "b", _TYPES[tensor.dtype])
    place = 0 if tensor.data is None else buffers.add(_raw(tensor.data, tensor.dtype))
    node.put(2, "I", place)
    node.link(3, _text(tensor.name))
    if tensor.scale is not None:
        node.link(4, _quantization(tensor.scale))
    node.put(8, "?", 1)
    return node


def _raw(numbers: Array, dtype: DType) -> bytes:
    if dtype is DType.INT4:
        return _halves(numbers)
    return np.ascontiguousarray(numbers, numbers.dtype.newbyteorder("<")).tobytes()


def _halves(numbers: Array) -> bytes:
    """Return pairs of 4-bit numbers, the first in the low half."""
    flat = numbers.astype(np.int8).view(np.uint8).reshape(-1) & 15
    if flat.size % 2:
        flat = np.append(flat, np.uint8(0))
    return (flat[::2] | flat[1::2] << 4).astype(np.uint8).tobytes()


def _quantization(scale: Scale) -> Node:
    node = Node()
    node.link(2, Vector(np.asarray(scale.scale, "<f4").tobytes()))
    node.link(3, Vector(np.asarray(scale.zero_point, "<i8").tobytes(), 8, 8))
    node.put(6, "i", scale.axis)
    return node


def _operator(net: Net, op: Op, places: dict[tuple[int, int], int]) -> Node:
    node = Node()
    node.put(0, "I", places[_CODES[op.kind], _version(net, op)])
    node.link(1, _ints(op.inputs))
    node.link(2, _ints(op.outputs))
    if op.kind in _OPTIONS:
        kind, fields = _OPTIONS[op.kind]
        node.put(3, "B", kind)
        options = Node()
        for name, value in sorted(op.options.items()):
            _put(options, fields[name], value)
        node.link(4, options)
    return node


def _put(node: Node, place: tuple[int, str], value: Any) -> None:
    field, form = place
    if form == "ints":
        node.link(field, _ints(value))
    elif form == "type":
        node.put(field, "b", _TYPES[value])
    else:
        node.put(field, form, _ENUMS[value] if isinstance(value, str) else value)


def _signature(net: Net) -> Node:
    """Return the names of inputs and outputs, by which LiteRT can be asked to run the model."""
    node = Node()
    for field, indices in ((0, net.inputs), (1, net.outputs)):
        for index in indices:
            entry = Node()
            entry.link(0, _text(net.tensors[index].name))
            entry.put(1, "I", index)
            node.nodes(field).append(entry)
    node.link(2, _text("serving_default"))
    node.put(4, "I", 0)
    return node


def _text(words: str) -> Vector:
    return Vector(words.encode(), 1, zero=True)


def _ints(numbers: Sequence[int]) -> Vector:
    return Vector(np.array(numbers, "<i4").tobytes())
