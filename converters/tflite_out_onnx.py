"""An ONNX model as plain values: nodes, constants, shapes; what is constant is worked out.

Sisters: onnx_compute_shapes.py (shapes), tflite_out.py (who asks), tflite_out_norms.py (folding).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from dcformat.errors import ConvertError

from .onnx_compute_shapes import (
    Fact,
    facts_of,
    fix_inputs,
    infer,
    inlined,
    one_line,
    parse_shapes,
)
from .onnx_scopes import text

Array = npt.NDArray[Any]
_MOST = 1 << 26  #: elements that a constant may come to
_MOST_IN_TENSOR = (1 << 31) - 1  #: bytes
#: Operators that give no more numbers than they take.
_NEVER_GROW = frozenset(
    {"Cast", "Concat", "Identity", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"}
)
_DOMAINS = ("", "ai.onnx")
#: What looking at a node raises that has wrong inputs or attributes.
WRONG_NODE = (
    *(AttributeError, IndexError, KeyError, OverflowError),
    *(TypeError, ValueError, ZeroDivisionError),
)
_SHAPES = frozenset({"Shape", "Size"})
#: Not worked out: chance, and what holds graphs.
_KEPT = frozenset(
    {
        "Bernoulli",
        "If",
        "Loop",
        "Multinomial",
        "RandomNormal",
        "RandomNormalLike",
        "RandomUniform",
        "RandomUniformLike",
        "Scan",
    }
)


@dataclass(frozen=True, eq=False)
class Integers:
    """The integers that a constant's numbers are, and what they mean: by index of `axis`, or all.

    A number q means float32(q - zero_point) * scale.
    """

    numbers: Array
    scale: npt.NDArray[np.float32]
    zero_point: npt.NDArray[np.int64]
    axis: int | None


@dataclass(frozen=True)
class SourceNode:
    """A node of the model; `op` has its domain before it where that is not ONNX's own."""

    op: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def shown(self) -> str:
        return self.name or (self.outputs[0] if self.outputs else "")


@dataclass
class SourceGraph:
    """What a model says, its local functions in the place of their calls.

    `integers` are constants that stand for real numbers; `facts` are types and shapes by value;
    `notes` what was assumed.
    """

    nodes: list[SourceNode]
    constants: dict[str, Array]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    facts: dict[str, Fact]
    opset: int
    notes: tuple[str, ...]
    integers: dict[str, Integers] = field(default_factory=dict)


def source_of(
    proto: Any, batch: int, integers: Mapping[str, Integers], shape: Sequence[str] = ()
) -> SourceGraph:
    """Return the graph of a model; first dimensions that are open are `batch`.

    `integers` are what initializers are made of, `shape` texts like "input=1,3,224,224". Raises
    ConvertError where the model cannot be read so far.
    """
    proto = inlined(proto)
    if proto.graph.sparse_initializer:
        raise ConvertError("sparse initializers cannot be written as TFLite")
    shapes = parse_shapes(shape)
    _check_open(proto, shapes)
    notes = _fix_batch(proto, batch) + fix_inputs(proto, shapes)
    graph = _without_nodes(proto, integers, tuple(notes))
    _check_inputs(graph)
    for node in proto.graph.node:
        try:
            _take(graph, node)
        except WRONG_NODE as error:
            raise ConvertError(f"node {text(node.name)!r} {not_valid(error)}") from error
    return graph


def _without_nodes(
    proto: Any, integers: Mapping[str, Integers], notes: tuple[str, ...]
) -> SourceGraph:
    facts = facts_of(infer(proto).graph)
    opset = max((o.version for o in proto.opset_import if o.domain in _DOMAINS), default=1)
    constants = {text(t.name): _numbers(t) for t in proto.graph.initializer}
    inputs = tuple(text(v.name) for v in proto.graph.input if text(v.name) not in constants)
    outputs = tuple(text(v.name) for v in proto.graph.output)
    held = {name: own for name, own in integers.items() if _is_meant(own, constants.get(name))}
    return SourceGraph([], constants, inputs, outputs, facts, opset, notes, held)


def not_valid(error: Exception) -> str:
    """Say that a node is not what ONNX allows."""
    return f"is not valid: {type(error).__name__}: {one_line(error)}"


def _check_open(proto: Any, given: Collection[str]) -> None:
    """Raise ConvertError where inputs of no given shape leave other dimensions open than the first.

    TFLite wants them all fixed, and nobody can tell how large a picture is meant to be.
    """
    held = {tensor.name for tensor in proto.graph.initializer}
    for value in proto.graph.input:
        dims = value.type.tensor_type.shape.dim
        open_ = [n for n, dim in enumerate(dims) if n and not dim.HasField("dim_value")]
        if open_ and value.name not in held and value.name not in given:
            name = text(value.name)
            sizes = ",".join(str(d.dim_value) if d.dim_value else "?" for d in dims)
            raise ConvertError(
                f"input {name!r} leaves dimensions {open_} open, and TFLite wants them fixed: "
                f"--shape {name}={sizes}"
            )


def _fix_batch(proto: Any, batch: int) -> list[str]:
    """Give the open first dimension of inputs the size `batch`, in place."""
    if batch == 1:
        return []
    given = {tensor.name for tensor in proto.graph.initializer}
    names = []
    for value in proto.graph.input:
        dims = value.type.tensor_type.shape.dim
        if value.name not in given and dims and not dims[0].HasField("dim_value"):
            dims[0].dim_value = batch
            names.append(value.name)
    if not names:
        raise ConvertError("no input has an open first dimension, for which a batch could be set")
    _forget_shapes(proto)
    return [f"input {name!r}: dimension 0 taken as {batch}" for name in names]


def _forget_shapes(proto: Any) -> None:
    """Take away what the file says of inner shapes: they are for other inputs."""
    del proto.graph.value_info[:]
    for value in proto.graph.output:
        value.type.tensor_type.ClearField("shape")


def _check_inputs(graph: SourceGraph) -> None:
    for name in graph.inputs:
        fact = graph.facts[name]
        if fact.shape is None:
            raise ConvertError(f"input {name!r} has no shape, and TFLite wants one")
    for name, fact in graph.facts.items():
        if (fact.size or 0) > _MOST_IN_TENSOR or max(fact.shape or (), default=0) > _MOST_IN_TENSOR:
            raise ConvertError(f"value {name!r} of shape {fact.shape} is too large for TFLite")
    if not graph.outputs:
        raise ConvertError("the model has no outputs")


def _numbers(tensor: Any) -> Array:
    try:
        return np.asarray(numpy_helper.to_array(tensor))
    except Exception as error:  # the library raises what it likes
        raise ConvertError(f"tensor {text(tensor.name)!r}: {one_line(error)}") from error


def _take(graph: SourceGraph, proto: Any) -> None:
    """Add a node to `graph`, or its outputs to the constants where they can be worked out."""
    name = _operator(proto)
    outputs = tuple(text(one) for one in proto.output)
    found = _worked_out(graph, proto, name)
    if found is not None:
        graph.constants.update(zip(outputs, found, strict=False))
        return
    attributes = {text(a.name): _attribute(a) for a in proto.attribute}
    inputs = tuple(text(one) for one in proto.input)
    graph.nodes.append(SourceNode(name, text(proto.name), inputs, outputs, attributes))


def _operator(proto: Any) -> str:
    kind = str(text(proto.op_type))
    return kind if proto.domain in _DOMAINS else f"{text(proto.domain)}.{kind}"


def _attribute(attribute: Any) -> Any:
    value = helper.get_attribute_value(attribute)
    if isinstance(value, TensorProto):
        return _numbers(value)
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _worked_out(graph: SourceGraph, proto: Any, name: str) -> list[Array] | None:
    """Return the outputs of a node whose inputs are constants, or that asks for a shape."""
    if proto.domain not in _DOMAINS or name in _KEPT:
        return None
    inputs = [text(one) for one in proto.input]
    if name in _SHAPES:
        return _shape(proto, name, graph.facts.get(inputs[0]))
    if any(one and one not in graph.constants for one in inputs):
        return None
    if not _is_small(graph, proto):
        return None
    return (_dequantized if name == "DequantizeLinear" else _evaluated)(graph, proto)


def _is_small(graph: SourceGraph, proto: Any) -> bool:
    """Tell whether it is known that a node does not make too many numbers of its constants."""
    results = [graph.facts.get(text(one)) for one in proto.output if one]
    sizes = [None if fact is None else fact.elements for fact in results]
    if any(size is None for size in sizes):
        taken = [graph.constants[text(one)] for one in proto.input if one]
        return proto.op_type in _NEVER_GROW and sum(one.size for one in taken) <= _MOST
    return all(size <= _MOST for size in sizes if size is not None)


def _shape(proto: Any, name: str, fact: Fact | None) -> list[Array] | None:
    if fact is None or fact.shape is None:
        return None
    if name == "Size":
        return [np.array(prod(fact.shape), np.int64)]
    bounds = {text(a.name): a.i for a in proto.attribute}
    part = slice(bounds.get("start", 0), bounds.get("end", len(fact.shape)))
    return [np.array(fact.shape[part], np.int64)]


def _evaluated(graph: SourceGraph, proto: Any) -> list[Array] | None:
    """Return what the node's definition makes of its constants; None where it has none."""
    wanted = [name for name in proto.output if name]
    feed = {name: graph.constants[text(name)] for name in proto.input if name}
    ends = [helper.make_empty_tensor_value_info(name) for name in (*feed, *wanted)]
    inner = helper.make_graph([proto], "one", ends[: len(feed)], ends[len(feed) :])
    opsets = [helper.make_opsetid("", graph.opset)]
    model = helper.make_model(inner, opset_imports=opsets)
    try:
        results = ReferenceEvaluator(model).run(None, feed)
    except Exception:  # what it does not know stays a node, and is named if TFLite has it not
        return None
    by_name = dict(zip(wanted, results, strict=True))
    found = [by_name.get(name) for name in proto.output]
    return [np.asarray(one) for one in found] if all(one is not None for one in found) else None


def _dequantized(graph: SourceGraph, proto: Any) -> list[Array] | None:
    """Return what the integers of a constant mean; int8 is noted as such."""
    numbers, scale = (graph.constants[text(one)] for one in proto.input[:2])
    attributes = {text(a.name): a.i for a in proto.attribute}
    if attributes.get("block_size", 0) or scale.ndim > 1 or scale.dtype != np.float32:
        return None
    points = graph.constants[text(proto.input[2])] if len(proto.input) > 2 else np.zeros(1)
    wide = np.array(np.broadcast_to(points.astype(np.int64).reshape(-1), (scale.size,)))
    axis = attributes.get("axis", 1) % max(1, numbers.ndim) if scale.size > 1 else None
    own = Integers(numbers, scale.reshape(-1), wide, axis)
    if numbers.dtype == np.int8:
        graph.integers[text(proto.output[0])] = own
    return [meant(own)]


def _is_meant(own: Integers, array: Array | None) -> bool:
    """Tell whether integers mean a constant: other parts of a model may have its name."""
    return array is not None and array.dtype == np.float32 and np.array_equal(meant(own), array)


def meant(own: Integers) -> Array:
    """Return what integers mean."""
    shape = [-1 if axis == own.axis else 1 for axis in range(own.numbers.ndim)]
    points, scale = own.zero_point.reshape(shape), own.scale.reshape(shape)
    return np.asarray((own.numbers.astype(np.int64) - points).astype(np.float32) * scale)


def load_proto(data: bytes) -> Any:
    """Return a ModelProto of its bytes."""
    try:
        return ModelProto.FromString(data)
    except Exception as error:  # protobuf's DecodeError, whichever implementation raises it
        raise ConvertError("not an ONNX model") from error


def users_of(nodes: Iterable[SourceNode]) -> dict[str, list[SourceNode]]:
    """Return the nodes that take each value."""
    found: dict[str, list[SourceNode]] = {}
    for node in nodes:
        for name in dict.fromkeys(node.inputs):
            found.setdefault(name, []).append(node)
    return found
