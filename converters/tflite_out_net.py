"""A TFLite graph while it is made: tensors, operators, and what is left of them at the end.

Sisters: tflite_out_layout.py (axes), tflite_out_bytes.py (the file), tflite_out.py (who asks).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from dcformat.errors import ConvertError
from dcformat.ids import DType

Array = npt.NDArray[Any]
Shape = tuple[int, ...]
DTYPES = {
    "float32": DType.FLOAT,
    "float16": DType.FLOAT16,
    "int8": DType.INT8,
    "uint8": DType.UINT8,
    "int16": DType.INT16,
    "int32": DType.INT32,
    "int64": DType.INT64,
    "bool": DType.BOOL,
}


class Unsupported(Exception):  # noqa: N818 - an answer, which ends up in one error with others
    """A node that cannot be said in TFLite; the message is the reason."""


@dataclass(frozen=True, eq=False)
class Scale:
    """What integers of a tensor mean: one scale and zero point, or one for each index of `axis`."""

    scale: npt.NDArray[np.float32]
    zero_point: npt.NDArray[np.int64]
    axis: int = 0


@dataclass(frozen=True, eq=False)
class OutTensor:
    """A tensor; `data` are the numbers of a constant, `value` what ONNX calls what is in it."""

    name: str
    dtype: DType
    shape: Shape
    data: Array | None = None
    scale: Scale | None = None
    value: str = ""

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))


@dataclass(frozen=True)
class Op:
    """An operator by its name in tflite_operators.py; -1 is an input that is left out."""

    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Net:
    """The graph so far. `label` begins the names of what is added."""

    tensors: list[OutTensor] = field(default_factory=list)
    ops: list[Op] = field(default_factory=list)
    inputs: list[int] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)
    label: str = ""
    made: dict[Any, int] = field(default_factory=dict)  #: what need not be made twice

    def tensor(self, tensor: OutTensor) -> int:
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def constant(self, numbers: Any, name: str = "") -> int:
        """Return a constant; equal ones are one."""
        array = np.asarray(numbers)
        if array.dtype.name not in DTYPES:
            raise Unsupported(f"a constant of type {array.dtype.name}")
        digest = hashlib.sha256(np.ascontiguousarray(array).data).digest()
        key = "constant", name, array.dtype.name, array.shape, digest
        if key not in self.made:
            label = name or f"{self.label}/constant_{len(self.tensors)}"
            dtype = DTYPES[array.dtype.name]
            self.made[key] = self.tensor(OutTensor(label, dtype, array.shape, array))
        return self.made[key]

    def ints(self, numbers: Iterable[int]) -> int:
        """Return a constant of INT32, as parameters of operators are."""
        return self.constant(np.array(list(numbers), np.int32))

    def add(
        self,
        kind: str,
        inputs: Sequence[int],
        shape: Shape,
        dtype: DType | None = None,
        **options: Any,
    ) -> int:
        """Add an operator of one output, of the first input's type if none is given; return it."""
        kept = self.tensors[inputs[0]].dtype if dtype is None else dtype
        return self.add_many(kind, inputs, [shape], kept, **options)[0]

    def add_many(
        self,
        kind: str,
        inputs: Sequence[int],
        shapes: Sequence[Shape],
        dtype: DType,
        **options: Any,
    ) -> list[int]:
        made = []
        first = self.tensors[inputs[0]]
        scale = first.scale if first.dtype is dtype else None  # integers that only move
        for shape in shapes:
            label = f"{self.label}/{kind}_{len(self.tensors)}"
            made.append(self.tensor(OutTensor(label, dtype, tuple(map(int, shape)), scale=scale)))
        self.ops.append(Op(kind, tuple(inputs), tuple(made), options))
        return made

    def reshape(self, tensor: int, shape: Shape) -> int:
        """Return `tensor` in another shape, or itself where it has that shape."""
        shape = tuple(int(n) for n in shape)
        own = self.tensors[tensor]
        if own.shape == shape:
            return tensor
        if own.data is not None and own.scale is None:
            return self.constant(own.data.reshape(shape))
        key = "reshape", tensor, shape
        if key not in self.made:
            self.made[key] = self.add("Reshape", [tensor, self.ints(shape)], shape, new_shape=shape)
        return self.made[key]

    def bind(self, tensor: int, value: str) -> None:
        """Note that `tensor` holds the ONNX value `value`, the first of which is its name."""
        own = self.tensors[tensor]
        if own.data is None and not own.value:
            self.tensors[tensor] = replace(own, name=value, value=value)

    def rename(self, tensor: int, name: str) -> None:
        self.tensors[tensor] = replace(self.tensors[tensor], name=name)


_FUSED = {"Relu": "RELU", "Relu6": "RELU6", "ReluN1To1": "RELU_N1_TO_1"}
_FUSES = frozenset(
    {
        "Add",
        "AveragePool2D",
        "Conv2D",
        "DepthwiseConv2D",
        "Div",
        "FullyConnected",
        "MaxPool2D",
        "Mul",
        "Sub",
    }
)


def fuse_activations(net: Net) -> None:
    """Let operators apply the activation themselves that is all that follows them."""
    uses = Counter(index for op in net.ops for index in op.inputs) + Counter(net.outputs)
    makers = {index: place for place, op in enumerate(net.ops) for index in op.outputs}
    for place, op in enumerate(net.ops):
        before = makers.get(op.inputs[0]) if op.kind in _FUSED else None
        if before is None or uses[op.inputs[0]] > 1:
            continue
        own = net.ops[before]
        if own.kind in _FUSES and "activation" not in own.options and _is_real(net, own):
            options = {**own.options, "activation": _FUSED[op.kind]}
            net.ops[before] = replace(own, outputs=op.outputs, options=options)
            net.ops[place] = replace(op, kind="")
            makers[op.outputs[0]] = before
    net.ops = [op for op in net.ops if op.kind]


def _is_real(net: Net, op: Op) -> bool:
    return net.tensors[op.outputs[0]].dtype is DType.FLOAT


def prune(net: Net) -> None:
    """Take away what no output needs, and number the tensors that are left anew."""
    wanted = set(net.outputs)
    kept: list[Op] = []
    for op in reversed(net.ops):
        if wanted & set(op.outputs):
            kept.append(op)
            wanted |= set(op.inputs)
    wanted |= {*net.inputs, *(index for op in kept for index in op.outputs)}
    order = sorted(wanted - {-1})
    places = {-1: -1, **{old: new for new, old in enumerate(order)}}
    net.tensors = [net.tensors[old] for old in order]
    net.ops = [_renumbered(op, places) for op in reversed(kept)]
    net.inputs = [places[index] for index in net.inputs]
    net.outputs = [places[index] for index in net.outputs]
    net.made.clear()


def _renumbered(op: Op, places: Mapping[int, int]) -> Op:
    inputs = tuple(places[index] for index in op.inputs)
    return replace(op, inputs=inputs, outputs=tuple(places[index] for index in op.outputs))


def check_names(net: Net) -> None:
    """Raise ConvertError where a name cannot be written."""
    for tensor in net.tensors:
        try:
            tensor.name.encode()
        except UnicodeEncodeError as error:
            raise ConvertError("a tensor's name is not UTF-8") from error
