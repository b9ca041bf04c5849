"""Small .tflite files, written by hand: tables are dicts of fields, and nothing is checked.

A table is {field number: value}, a value (struct format, number), bytes (a vector of bytes), str,
a dict (a table), a list of those (a vector of offsets) or a NumPy array (a vector of numbers).
An object that stands in a list twice is written once. Parents stand before their children.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np

TYPES = {"f4": 0, "f2": 1, "i4": 2, "u1": 3, "i8": 4, "?": 6, "i2": 7, "i1": 9}  #: TensorType
CONV, DEPTHWISE, DEQUANTIZE, DENSE, GATHER, BATCH_MATMUL, DENSIFY = 3, 4, 6, 9, 36, 126, 124


@dataclass
class Builder:
    """The bytes so far; vectors of bytes begin at multiples of 16, as buffers must."""

    out: bytearray = field(default_factory=lambda: bytearray(b"\0\0\0\0TFL3"))

    def add(self, value: Any) -> int:
        """Write what a field points to; return where it begins."""
        if isinstance(value, dict):
            return self._table(value)
        if isinstance(value, str):
            return self._vector(value.encode() + b"\0", len(value.encode()), 4)
        if isinstance(value, bytes):
            return self._vector(value, len(value), 16)
        if isinstance(value, np.ndarray):
            return self._vector(value.tobytes(), value.size, max(4, value.itemsize))
        return self._list(value)

    def _pad(self, width: int, ahead: int = 0) -> None:
        self.out += bytes(-(len(self.out) + ahead) % width)

    def _vector(self, raw: bytes, count: int, width: int) -> int:
        self._pad(4)
        self._pad(width, 4)
        at = len(self.out)
        self.out += struct.pack("<I", count) + raw
        return at

    def _list(self, values: list[Any]) -> int:
        self._pad(4)
        at = len(self.out)
        self.out += struct.pack("<I", len(values)) + bytes(4 * len(values))
        places: dict[int, int] = {}
        for number, value in enumerate(values):
            if id(value) not in places:  # one object is one table
                places[id(value)] = self.add(value)
            self._point(at + 4 + 4 * number, places[id(value)])
        return at

    def _point(self, place: int, target: int) -> None:
        struct.pack_into("<I", self.out, place, target - place)

    def _table(self, fields: dict[int, Any]) -> int:
        self._pad(8)
        count = max(fields, default=-1) + 1
        offsets, body, later = [0] * count, bytearray(4), []
        for number, value in sorted(fields.items()):
            form, scalar = value if isinstance(value, tuple) else ("I", 0)
            body += bytes(-len(body) % struct.calcsize(form))
            offsets[number] = len(body)
            body += struct.pack(f"<{form}", scalar)
            later += [] if isinstance(value, tuple) else [(len(body) - 4, value)]
        vtable = len(self.out)
        self.out += struct.pack(f"<HH{count}H", 4 + 2 * count, len(body), *offsets)
        self._pad(8)
        at = len(self.out)
        struct.pack_into("<i", body, 0, at - vtable)
        self.out += body
        for place, value in later:
            self._point(at + place, self.add(value))
        return at


def file_of(model: dict[int, Any]) -> bytes:
    """Return a FlatBuffer whose root is `model`."""
    builder = Builder()
    root = builder.add(model)
    struct.pack_into("<I", builder.out, 0, root)
    return bytes(builder.out)


def tensor(
    name: str,
    shape: tuple[int, ...],
    buffer: int = 0,
    kind: int = 0,
    scale: list[float] | None = None,
    zero: list[int] | None = None,
    axis: int = 0,
    **more: Any,
) -> dict[int, Any]:
    """Return a Tensor; `kind` is a TensorType."""
    made: dict[int, Any] = {0: np.array(shape, "<i4"), 1: ("b", kind), 2: ("I", buffer), 3: name}
    if scale is not None:
        points = [0] * len(scale) if zero is None else zero
        made[4] = {2: np.array(scale, "<f4"), 3: np.array(points, "<i8"), 6: ("i", axis)}
    if more.get("sparse"):
        made[6] = {0: np.array([0, 1], "<i4")}
    return made


def operator(code: int, inputs: list[int], outputs: list[int], **more: Any) -> dict[int, Any]:
    """Return an Operator with the operator code of that index."""
    made = {0: ("I", code), 1: np.array(inputs, "<i4"), 2: np.array(outputs, "<i4")}
    return made | ({4: more["options"]} if "options" in more else {})


def subgraph(
    tensors: list[Any], operators: list[Any], inputs: list[int], outputs: list[int]
) -> dict[int, Any]:
    ends = {1: np.array(inputs, "<i4"), 2: np.array(outputs, "<i4")}
    return {0: tensors, **ends, 3: operators, 4: "main"}


def model(
    subgraphs: list[Any], codes: list[int], buffers: list[bytes], **more: Any
) -> dict[int, Any]:
    """Return a Model; `old` files have the codes in their first field only. Buffer 0 is empty."""
    place = ((0, "b"),) if more.get("old") else ((0, "b"), (3, "i"))
    names = [{number: (form, min(code, 127) if number == 0 else code) for number, form in place}
             for code in codes]  # fmt: skip
    made = {0: ("I", more.get("version", 3)), 1: names, 2: subgraphs, 3: "by hand"}
    made[4] = [{}, *({0: data} for data in buffers)]
    return made | ({6: more["metadata"]} if "metadata" in more else {})


def floats(*shape: int, seed: int = 0) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(seed).standard_normal(shape).astype("<f4")


def dense(old: bool = False) -> bytes:
    """A FullyConnected of 40 inputs and 16 outputs with a bias, in float32."""
    tensors = [tensor("x", (1, 40)), tensor("w", (16, 40), 1), tensor("b", (16,), 2),
               tensor("y", (1, 16))]  # fmt: skip
    graph = subgraph(tensors, [operator(0, [0, 1, 2], [3], options={})], [0], [3])
    buffers = [floats(16, 40).tobytes(), floats(16, seed=1).tobytes()]
    return file_of(model([graph], [DENSE], buffers, old=old))


def quantized() -> bytes:
    """A convolution per channel, a depthwise one, a table of uint8; int32 biases with scales."""
    rng = np.random.default_rng(3)
    conv, deep, table = (rng.integers(-127, 128, n).astype("i1") for n in (8 * 3 * 3 * 4, 72, 80))
    bias = rng.integers(-999, 999, 8).astype("<i4")
    scales = (2.0 ** rng.uniform(-9, -5, 8)).tolist()
    tensors = [
        tensor("x", (1, 6, 6, 4), 0, 9, [0.5], [3]),
        tensor("conv", (8, 3, 3, 4), 1, 9, scales),
        tensor("bias", (8,), 2, 2, scales),
        tensor("y", (1, 4, 4, 8), 0, 9, [0.25], [-3]),
        tensor("deep", (1, 3, 3, 8), 3, 9, scales[::-1], axis=3),
        tensor("z", (1, 2, 2, 8), 0, 9, [0.25], [-3]),
        tensor("table", (20, 4), 4, 3, [0.125], [128]),
        tensor("ids", (2,), 0, 2),
        tensor("rows", (2, 4), 0, 3, [0.125], [128]),
    ]
    operators = [operator(0, [0, 1, 2], [3]), operator(1, [3, 4, 2], [5]),
                 operator(2, [6, 7], [8], options={})]  # fmt: skip
    graph = subgraph(tensors, operators, [0, 7], [5, 8])
    buffers = [conv.tobytes(), bias.tobytes(), deep.tobytes(), table.view("u1").tobytes()]
    return file_of(model([graph], [CONV, DEPTHWISE, GATHER], buffers))


def every_kind() -> bytes:
    """Two subgraphs, a shared buffer, a sparse one, int4, halves behind Dequantize, metadata."""
    tensors = [tensor("x", (1, 40)), tensor("w", (16, 40), 1), tensor("tie", (16, 40), 1),
               tensor("y", (1, 16)), tensor("thin", (16, 40), 2, sparse=True),
               tensor("thick", (16, 40)), tensor("z", (1, 16)), tensor("half", (16, 40), 3, 1),
               tensor("full", (16, 40)), tensor("v", (1, 16)),
               tensor("four", (16, 40), 4, 17, [0.5] * 16), tensor("u", (1, 16))]  # fmt: skip
    operators = [
        operator(0, [0, 1, -1], [3]),
        operator(2, [4], [5]),
        operator(0, [0, 5], [6]),
        operator(1, [7], [8]),
        operator(0, [0, 8], [9]),
        operator(0, [0, 10], [11]),
    ]
    other = subgraph([tensor("x", (1, 40)), tensor("w", (16, 40), 1), tensor("y", (1, 16))],
                     [operator(0, [0, 1], [2])], [0], [2])  # fmt: skip
    graph = subgraph(tensors, operators, [0], [3, 6, 9, 11])
    buffers = [floats(16, 40).tobytes(), floats(99).tobytes(),
               floats(16, 40, seed=2).astype("<f2").tobytes(), bytes(range(160)) * 2,
               b"1.14.0" + bytes(10)]  # fmt: skip
    metadata = [{0: "min_runtime_version", 1: ("I", 5)}]
    codes = [DENSE, DEQUANTIZE, DENSIFY]
    return file_of(model([graph, other], codes, buffers, metadata=metadata))


def int8_weights(kind: str, *shape: int) -> np.ndarray[Any, np.dtype[np.int8]]:
    """Return int8 numbers: "few" distinct ones, many "zeros", or "skewed" counts."""
    rng = np.random.default_rng(11)
    if kind == "few":
        return rng.choice([-90, -33, -7, 3, 20, 57, 81, 100], shape).astype("i1")
    if kind == "zeros":
        return (rng.integers(-127, 128, shape) * (rng.random(shape) < 0.1)).astype("i1")
    return np.clip(np.round(rng.laplace(0, 2.5, shape)) + rng.integers(-1, 2, shape) * 64
                   * (rng.random(shape) < 0.03), -127, 127).astype("i1")  # fmt: skip


def layers(kind: str, conv: np.ndarray[Any, np.dtype[np.int8]] | None = None) -> bytes:
    """A convolution, a depthwise one and two dense layers that share a weight, all int8.

    The weights are as int8_weights has them, with a scale per channel; it runs anywhere.
    """
    conv = int8_weights(kind, 32, 3, 3, 16) if conv is None else conv
    deep = int8_weights(kind, 1, 9, 9, 32)
    fully = int8_weights(kind, 32, 32)
    scales = (2.0 ** np.random.default_rng(4).uniform(-9, -7, 32)).tolist()
    act = {"kind": 9, "scale": [0.1], "zero": [1]}
    bias = np.arange(32, dtype="<i4") * 9 - 99
    sums = [0.1 * s for s in scales]
    tensors = [
        tensor("x", (1, 4, 4, conv.shape[3]), **act),
        tensor("conv", conv.shape, 1, 9, scales),
        tensor("bias", (32,), 2, 2, sums),
        tensor("a", (1, 4, 4, 32), **act),
        tensor("deep", (1, 9, 9, 32), 3, 9, scales, axis=3),
        tensor("b", (1, 4, 4, 32), **act),
        tensor("flat", (16, 32), **act),
        tensor("to", (2,), 4, 2),
        tensor("fully", (32, 32), 5, 9, [0.01]),
        tensor("one bias", (32,), 2, 2, [0.001]),
        tensor("c", (16, 32), **act),
        tensor("d", (16, 32), **act),
    ]
    same = {1: ("i", 1), 2: ("i", 1)}  # strides; padding is SAME
    operators = [
        operator(0, [0, 1, 2], [3], options=same) | {3: ("b", 1)},
        operator(1, [3, 4, 2], [5], options={**same, 3: ("i", 1)}) | {3: ("b", 2)},
        operator(2, [5, 7], [6]),
        operator(3, [6, 8, 9], [10], options={}) | {3: ("b", 8)},
        operator(3, [10, 8, 9], [11], options={}) | {3: ("b", 8)},
    ]
    graph = subgraph(tensors, operators, [0], [11])
    buffers = [conv.tobytes(), bias.tobytes(), deep.tobytes(),
               np.array([16, 32], "<i4").tobytes(), fully.tobytes()]  # fmt: skip
    return file_of(model([graph], [CONV, DEPTHWISE, 22, DENSE], buffers))


def behind_scales(zero: int = 0, second: int = DENSE, kind: str = "skewed") -> bytes:
    """A dense layer with int8 weights of a scale each channel, behind DEQUANTIZE.

    `zero` is the zero point of all; another operator may take the weights, too.
    """
    weights = int8_weights(kind, 32, 64)
    scales = (2.0 ** np.random.default_rng(7).uniform(-9, -3, 32)).tolist()
    tensors = [tensor("x", (1, 64)), tensor("w", (32, 64), 1, 9, scales, [zero] * 32),
               tensor("real", (32, 64)), tensor("y", (1, 32)), tensor("z", (32, 64))]  # fmt: skip
    operators = [operator(1, [1], [2]), operator(0, [0, 2], [3], options={}) | {3: ("b", 8)}]
    operators += [operator(2, [1], [4])] if second != DENSE else []
    graph = subgraph(tensors, operators, [0], [3])
    return file_of(model([graph], [DENSE, DEQUANTIZE, second], [weights.tobytes()]))
