"""Numbers that shapes are made of, worked out as far as they are known.

Sister file: onnx_compute_shapes.py (asks). Exporters write a Reshape's target as Shape, Gather,
Concat and some arithmetic; with the shapes of the inputs these are small known numbers. Only
tensors of at most SMALL elements are worked on; what is not known here stays in the graph.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from math import prod
from typing import Any, Union

import numpy as np
import numpy.typing as npt
from onnx import helper, numpy_helper

from .onnx_scopes import Node, Scope, text
from .onnx_trace import is_quantizer

Array = npt.NDArray[Any]
Values = dict[str, Array]
Rule = Callable[..., Array]
ShapesOf = Callable[[Any], dict[str, Union[tuple[int, ...], None]]]
SMALL = 256  # elements of a tensor whose numbers may say a shape
_MAX_INPUTS = 64
_DEFAULT_DOMAINS = ("", "ai.onnx")
#: What a rule raises where a node has wrong inputs or attributes.
_WRONG_NODE = (
    *(ValueError, TypeError, IndexError, KeyError, AttributeError),
    *(ZeroDivisionError, OverflowError),
)
_NOWHERE = Scope("", (), 0)


@dataclass(frozen=True)
class Known:
    """Shapes and small numbers by name."""

    shapes: dict[str, tuple[int, ...] | None] = field(default_factory=dict)
    values: Values = field(default_factory=dict)


#: Operators of onnxruntime whose first output has the shape and type of their first input.
_SAME_SHAPE = frozenset(
    {
        "BiasGelu",
        "FastGelu",
        "Gelu",
        "QuickGelu",
        "SkipLayerNormalization",
        "SkipSimplifiedLayerNormalization",
    }
)
_SAME_AS = {"FusedConv": "Conv", "FusedGemm": "Gemm"}  # with an activation more


def stand_in(graph: Any) -> None:
    """Replace fused operators, in place, by standard ones that give results of the same shape.

    Subgraphs stay as they are.
    """
    dims = {t.name: tuple(t.dims) for t in graph.initializer}
    for index, node in enumerate(graph.node):
        inputs = _same_shape(node, index, dims)
        if inputs and node.output and not _is_odd(*inputs, node.output[0]):
            op = "Gather" if len(inputs) == 2 else "Identity"
            node.CopyFrom(helper.make_node(op, inputs, node.output[:1]))
        elif node.domain == "com.microsoft" and node.op_type in _SAME_AS:
            node.domain, node.op_type = "", _SAME_AS[node.op_type]


def _is_odd(*names: str | bytes) -> bool:
    """Tell whether a name is not UTF-8: protobuf gives it as bytes, and takes it from nobody."""
    return any(isinstance(name, bytes) for name in names)


def _same_shape(node: Any, index: int, dims: Mapping[str, tuple[int, ...]]) -> list[str]:
    """Return the input whose shape an unknown operator keeps, or data and indices of a Gather."""
    if node.domain in _DEFAULT_DOMAINS or not node.input:
        return []
    first = list(node.input[:1])
    if node.domain != "com.microsoft":
        return first if is_quantizer(Node(node, index, (), _NOWHERE)) else []
    if node.op_type == "EmbedLayerNormalization" and len(node.input) > 2:
        return [node.input[2], node.input[0]]
    if node.op_type == "Attention" and len(node.input) > 1:
        rows, columns = (*dims.get(node.input[1], ()), 0, 0)[:2]
        return first if 3 * rows == columns else []
    return first if node.op_type in _SAME_SHAPE else []


def _given(graph: Any) -> Values:
    """Return the numbers of small tensors of a graph by name."""
    values: Values = {}
    for tensor in graph.initializer:
        _note(values, text(tensor.name), tensor)
    for node in graph.node:
        if node.op_type == "Constant" and node.domain in _DEFAULT_DOMAINS and len(node.output) == 1:
            for attribute in node.attribute:
                _note_constant(values, text(node.output[0]), attribute)
    return values


def _note_constant(values: Values, name: str, attribute: Any) -> None:
    if attribute.name == "value":
        _note(values, name, attribute.t)
    elif attribute.name in ("value_int", "value_ints"):
        numbers = helper.get_attribute_value(attribute)
        if attribute.name == "value_int" or len(numbers) <= SMALL:
            values[name] = np.array(numbers, np.int64)


def _note(values: Values, name: str, tensor: Any) -> None:
    if tensor.data_location or min(tensor.dims, default=0) < 0 or prod(tensor.dims) > SMALL:
        return
    try:
        values[name] = np.asarray(numpy_helper.to_array(tensor))
    except (ValueError, TypeError, KeyError):  # its numbers are not here, or of no known type
        return


def work_out(graph: Any, found: Any, shapes_of: ShapesOf, around: Known) -> bool:
    """Replace, in place, nodes that give small known numbers by constants; True if any was.

    `found` is the same graph with inferred shapes, `around` what is known outside of it.
    """
    known = Known({**around.shapes, **shapes_of(found)}, {**around.values, **_given(graph)})
    changed = False
    for node, same in zip(graph.node, found.node, strict=True):
        for inner, other in zip(held(node), held(same), strict=True):
            changed |= work_out(inner, other, shapes_of, known)
        if len(node.output) != 1 or node.op_type == "Constant" or _is_odd(node.output[0]):
            continue
        result = _worked_out(node, known)
        if result is not None and result.size <= SMALL and result.dtype.kind in "biuf":
            known.values[text(node.output[0])] = result
            tensor = numpy_helper.from_array(result)
            node.CopyFrom(helper.make_node("Constant", [], [node.output[0]], value=tensor))
            changed = True
    return changed


def held(node: Any) -> list[Any]:
    """Return the graphs that a node holds."""
    found = []
    for attribute in node.attribute:
        found += [attribute.g] * attribute.HasField("g") + list(attribute.graphs)
    return found


def _worked_out(node: Any, known: Known) -> Array | None:
    if node.domain not in _DEFAULT_DOMAINS or len(node.input) > _MAX_INPUTS:
        return None
    names = [text(name) for name in node.input]
    if node.op_type in ("Shape", "Size"):
        return _shape(node, known.shapes.get(names[0]) if names else None)
    rule = _RULES.get(node.op_type)
    if rule is None or any(name and name not in known.values for name in names):
        return None
    attributes = {text(a.name): helper.get_attribute_value(a) for a in node.attribute}
    try:
        with np.errstate(all="ignore"):
            return np.asarray(rule(attributes, *(known.values[n] if n else None for n in names)))
    except _WRONG_NODE:
        return None  # its shape stays unknown


def _shape(node: Any, shape: tuple[int, ...] | None) -> Array | None:
    if shape is None:
        return None
    if node.op_type == "Size":
        return np.array(prod(shape), np.int64) if prod(shape) < 1 << 63 else None
    bounds = {text(a.name): a.i for a in node.attribute}
    return np.array(shape[bounds.get("start", 0) : bounds.get("end", len(shape))], np.int64)


def _constant(attributes: Mapping[str, Any], shape: Array) -> Array:
    if not 0 <= prod(shape.tolist()) <= SMALL:
        raise ValueError
    value = attributes.get("value")
    filling = np.zeros(1, np.float32) if value is None else numpy_helper.to_array(value)
    return np.full(shape.tolist(), filling.reshape(()), filling.dtype)


def _cast(attributes: Mapping[str, Any], data: Array) -> Array:
    return data.astype(helper.tensor_dtype_to_np_dtype(attributes["to"]))


def _gather(attributes: Mapping[str, Any], data: Array, indices: Array) -> Array:
    return np.take(data, indices, axis=attributes.get("axis", 0))


def _concat(attributes: Mapping[str, Any], *parts: Array) -> Array:
    return np.concatenate(parts, axis=attributes["axis"])


def _slice(attributes: Mapping[str, Any], data: Array, *given: Array | None) -> Array:
    lists = {k: attributes.get(k) for k in ("starts", "ends", "axes", "steps")}
    lists |= {k: v.tolist() for k, v in zip(lists, given, strict=False) if v is not None}
    starts, ends = lists["starts"] or [], lists["ends"] or []
    axes = lists["axes"] or list(range(len(starts)))
    parts = [slice(None)] * data.ndim
    for start, end, axis, step in zip(
        starts, ends, axes, lists["steps"] or [1] * len(axes), strict=True
    ):
        last = None if step < 0 and end < -data.shape[axis] else end
        parts[axis] = slice(start, last, step)
    return data[tuple(parts)]


def _transpose(attributes: Mapping[str, Any], data: Array) -> Array:
    return np.transpose(data, attributes.get("perm"))


def _axes(attributes: Mapping[str, Any], given: Array | None) -> tuple[int, ...] | None:
    found = attributes.get("axes") if given is None else given.reshape(-1).tolist()
    return None if found is None else tuple(found)


def _squeeze(attributes: Mapping[str, Any], data: Array, axes: Array | None = None) -> Array:
    return np.squeeze(data, _axes(attributes, axes))


def _unsqueeze(attributes: Mapping[str, Any], data: Array, axes: Array | None = None) -> Array:
    return np.expand_dims(data, _axes(attributes, axes) or ())


def _reshape(attributes: Mapping[str, Any], data: Array, shape: Array) -> Array:
    sizes = [data.shape[i] if n == 0 else n for i, n in enumerate(shape.tolist())]
    return data.reshape(sizes)


def _reduce(
    function: Callable[..., Array],
    attributes: Mapping[str, Any],
    data: Array,
    axes: Array | None = None,
) -> Array:
    keep = bool(attributes.get("keepdims", 1))
    return np.asarray(function(data, axis=_axes(attributes, axes), keepdims=keep))


def _divide(attributes: Mapping[str, Any], a: Array, b: Array) -> Array:
    """Integers are divided towards zero."""
    if a.dtype.kind not in "iu":
        return np.asarray(a / b, a.dtype)
    if not b.all():
        raise ZeroDivisionError
    return np.asarray(np.sign(a) * np.sign(b) * (np.abs(a) // np.abs(b)), a.dtype)


def _modulo(attributes: Mapping[str, Any], a: Array, b: Array) -> Array:
    if not b.all():
        raise ZeroDivisionError
    return np.asarray(np.fmod(a, b) if attributes.get("fmod") else np.mod(a, b))


def _plain(function: Callable[..., Any]) -> Rule:
    """Return a rule for an elementwise function; too large results are not even begun."""

    def rule(attributes: Mapping[str, Any], *inputs: Array) -> Array:
        if prod(np.broadcast_shapes(*(i.shape for i in inputs))) > SMALL:
            raise ValueError
        return np.asarray(function(*inputs))

    return rule


def _each(function: Callable[[Any, Any], Any]) -> Rule:
    """Return a rule that puts any number of inputs together, two by two."""

    def rule(attributes: Mapping[str, Any], first: Array, *others: Array) -> Array:
        for other in others:
            first = _plain(function)(attributes, first, other)
        return first

    return rule


_RULES: dict[str, Rule] = {
    "Identity": _plain(lambda x: x),
    "Cast": _cast,
    "Gather": _gather,
    "Concat": _concat,
    "ConstantOfShape": _constant,
    "Slice": _slice,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
    "Reshape": _reshape,
    "Div": _divide,
    "Mod": _modulo,
    "Max": _each(np.maximum),
    "Min": _each(np.minimum),
    "ReduceMax": partial(_reduce, np.max),
    "ReduceMin": partial(_reduce, np.min),
    "ReduceProd": partial(_reduce, np.prod),
    "ReduceSum": partial(_reduce, np.sum),
    "Abs": _plain(np.abs),
    "Add": _plain(np.add),
    "And": _plain(np.logical_and),
    "Ceil": _plain(np.ceil),
    "Equal": _plain(np.equal),
    "Floor": _plain(np.floor),
    "Greater": _plain(np.greater),
    "Less": _plain(np.less),
    "Mul": _plain(np.multiply),
    "Neg": _plain(np.negative),
    "Not": _plain(np.logical_not),
    "Or": _plain(np.logical_or),
    "Sub": _plain(np.subtract),
    "Where": _plain(np.where),
}
