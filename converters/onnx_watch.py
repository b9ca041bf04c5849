"""An ONNX model that also gives its inner values: what follows each layer, to look at.

Sister file: tools/_activations.py (runs it). Watched are the float inputs, the results of
activations (Relu, Sigmoid …), and those of layers with weights that no activation follows; of the
main graph alone. The model is otherwise the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from onnx import helper

from dcformat.errors import ConvertError

from .onnx_compute_ops import rule_of
from .onnx_scopes import Node, program_of, resolve, text

_ACTIVATIONS = frozenset(
    """
    BiasGelu Celu Clip Elu FastGelu Gelu HardSigmoid HardSwish LeakyRelu LogSoftmax Mish PRelu
    QuickGelu Relu Selu Sigmoid Softmax Softplus Softsign Swish Tanh ThresholdedRelu
    """.split()  # noqa: SIM905
)
_BETWEEN = frozenset(
    """
    Add BatchNormalization Cast DequantizeLinear Identity Mul QuantizeLinear
    """.split()  # noqa: SIM905
)
_FLOATS = frozenset({1, 10, 11})  # FLOAT, FLOAT16, DOUBLE
_CHANNELS_LAST = frozenset({"MatMul", "Gemm", "MatMulInteger", "QLinearMatMul", "Attention"})
_MAX_HOPS = 8


@dataclass(frozen=True)
class Watched:
    """A value to look at: the label and operator of what gives it, and the axis of its channels."""

    name: str
    label: str
    op: str
    channel_axis: int


@dataclass(frozen=True)
class Watch:
    """The model with more outputs, as bytes; external data stays in the folder of the file."""

    model: bytes
    values: tuple[Watched, ...]
    notes: tuple[str, ...]


def watch(path: Path) -> Watch:
    """Return the model in the file `path`, ready to be looked at. Raises ConvertError."""
    model = _load(path)
    program = program_of(model)
    main = [node for node in program.nodes if not node.scope.depth]
    values = [*_inputs(model), *_results(main)]
    known = {value.name for value in (*model.graph.output, *model.graph.input)}
    model.graph.output.extend(
        helper.make_empty_tensor_value_info(v.name) for v in values if v.name not in known
    )
    inside = sum(n.known_op in _ACTIVATIONS for n in program.nodes if n.scope.depth)
    notes = (f"{inside} activations inside of subgraphs or functions are not seen",)
    return Watch(model.SerializeToString(), tuple(values), notes if inside else ())


def _load(path: Path) -> Any:
    try:
        return onnx.load(str(path), load_external_data=False)
    except OSError as error:
        raise ConvertError(f"cannot read: {error.strerror}", place=str(path)) from error
    except Exception as error:  # protobuf's DecodeError, whichever implementation raises it
        raise ConvertError("not an ONNX model", place=str(path)) from error


def _inputs(model: Any) -> Iterator[Watched]:
    given = {tensor.name for tensor in model.graph.initializer}
    for value in model.graph.input:
        if value.name not in given and value.type.tensor_type.elem_type in _FLOATS:
            yield Watched(text(value.name), text(value.name), "Input", 1)


def _results(nodes: list[Node]) -> Iterator[Watched]:
    taken: dict[str, list[Node]] = {}
    for node in nodes:
        for name in node.inputs:
            taken.setdefault(name, []).append(node)
    for node in nodes:
        name = text(node.proto.output[0]) if node.proto.output else ""
        followed = any(_is_followed(n, taken, _MAX_HOPS) for n in taken.get(name, ()))
        if name and (node.known_op in _ACTIVATIONS or (_has_weights(node) and not followed)):
            yield Watched(name, node.label, node.op, _channel_axis(node))


def _has_weights(node: Node) -> bool:
    return rule_of(node) is not None


def _is_followed(node: Node, taken: dict[str, list[Node]], hops: int) -> bool:
    """Tell whether a node is an activation, or leads to one through norms and biases alone."""
    if node.known_op in _ACTIVATIONS:
        return True
    if node.known_op not in _BETWEEN or not hops or not node.proto.output:
        return False
    following = taken.get(text(node.proto.output[0]), ())
    return any(_is_followed(n, taken, hops - 1) for n in following[:2])


def _channel_axis(node: Node) -> int:
    """Return the axis of the channels: the last after dense layers, 1 elsewhere."""
    for _ in range(_MAX_HOPS):
        if node.known_op in _CHANNELS_LAST:
            return -1
        found = resolve(node.scope, node.inputs[0]) if node.inputs else None
        passed = node.known_op in _ACTIVATIONS | _BETWEEN
        if not isinstance(found, Node) or not passed:
            return 1
        node = found
    return 1
