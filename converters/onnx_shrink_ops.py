"""What each operator does to channels: lets them through, moves them, or joins them.

Sisters: onnx_shrink_layers.py (those with weights), onnx_shrink_flow.py (what is kept of it).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from graphlib import CycleError, TopologicalSorter
from math import prod
from typing import Any

import numpy as np
from onnx import GraphProto, NodeProto, helper
from onnx.reference import ReferenceEvaluator

from dcformat.errors import ConvertError

from .onnx_shrink_flow import (
    MOST,
    Channels,
    Flow,
    Numbers,
    attribute,
    input_of,
    known_op,
    misfit,
    rows,
)
from .onnx_shrink_layers import conv, gemm, matmul, norm, padded

#: Gives why what goes into an operator stays, "" if it need not.
Rule = Callable[[Flow, NodeProto], str]

_LAST = "it is an output of the model"


def follow(flow: Flow) -> None:
    """Go through all nodes, and hold back what leaves the graph."""
    for node in _in_order(flow.model.graph):
        op = known_op(node)
        why = _RULES[op](flow, node) if op in _RULES else f"it goes into {node.op_type}"
        if why:
            flow.hold_inputs(node, why)
        for name in _inner(node):
            if name in flow.values:
                flow.hold(flow.values[name].ids, f"it goes into {node.op_type}")
    for value in flow.model.graph.output:
        if value.name in flow.values:
            flow.hold(flow.values[value.name].ids, _LAST)


def _in_order(graph: GraphProto) -> Iterator[NodeProto]:
    """Yield nodes behind those that they take something of: runtimes take them in any order."""
    makers = {name: n for n, node in enumerate(graph.node) for name in node.output if name}
    needs = {
        n: {makers[name] for name in (*node.input, *_inner(node)) if name in makers}
        for n, node in enumerate(graph.node)
    }
    try:
        order = list(TopologicalSorter(needs).static_order())
    except CycleError as error:
        raise ConvertError("its nodes wait for each other") from error
    return (graph.node[n] for n in order)


def _inner(node: NodeProto) -> Iterator[str]:
    """Yield what graphs inside of a node take."""
    for one in node.attribute:
        for graph in [one.g] if one.HasField("g") else one.graphs:
            for inner in graph.node:
                yield from (*inner.input, *_inner(inner))
            yield from (value.name for value in graph.output)


def _each(flow: Flow, node: NodeProto) -> str:
    """Of an operator that works on each number by itself, with constants or another value."""
    tracked = [name for name in node.input if name in flow.values]
    if not tracked:
        return ""
    rank = flow.rank(tracked[0])
    if any(flow.rank(name) != rank for name in tracked) or rank is None:
        return "its shape is not known"
    first = flow.values[tracked[0]]
    count = first.ids.size
    given: list[Numbers | None] = []
    cuts: list[tuple[int, int]] = []
    for place, name in enumerate(node.input):
        other = flow.values.get(name)
        if other is not None and (other.axis, other.ids.size) != (first.axis, count):
            return "it meets a value of another shape"
        if not name:
            given.append(None)
        elif other is not None:
            given.append(other.constant)
        else:
            row = _row(flow, name, (rank, rank - first.axis), count)
            if row is None:
                return f"{node.op_type} joins it with what is not known"
            if row.size == count > 1:
                dims = flow.initializers[name].dims
                cuts.append((place, len(dims) - rank + first.axis))
            given.append(row)
    for name in tracked[1:]:
        flow.join(first.ids, flow.values[name].ids)
    constant = _worked_out(flow, node, given, count)
    flow.values[node.output[0]] = Channels(first.ids, constant, first.axis)
    for place, axis in cuts:
        flow.cut(node, place, axis, first.ids)
    return ""


def _row(flow: Flow, name: str, place: tuple[int, int], count: int) -> Numbers | None:
    """Return a constant as a number for each channel; NaN where it has more than one for it.

    `place` is the rank of what it meets, and how far from the end of that shape channels stand.
    """
    found, (rank, behind) = flow.array(name), place
    if found is None or found.ndim > rank:
        return None
    axis = found.ndim - behind
    if axis < 0 or found.shape[axis] == 1:
        return found.reshape(-1) if found.size == 1 else np.full(1, np.nan)
    if found.shape[axis] != count or name not in flow.initializers:
        return None
    each = rows(found, axis)
    row: Numbers = each[:, 0] if each.shape[1] == 1 else np.full(count, np.nan)
    return row


def _worked_out(flow: Flow, node: NodeProto, given: list[Numbers | None], count: int) -> Numbers:
    """Return what the operator makes of numbers; NaN where one of them is not known."""
    wide = [np.broadcast_to(one, count) for one in given if one is not None]
    steady = ~np.isnan(np.sum(wide, axis=0))
    out = np.full(count, np.nan)
    if steady.any():
        known = [None if r is None else np.broadcast_to(r, count)[steady] for r in given]
        out[steady] = _run(flow, node, known)
    if node.op_type == "Mul":  # whatever it is multiplied with
        out[np.any([one == 0 for one in wide], axis=0)] = 0
    return np.where(np.isfinite(out), out, np.nan)


def _run(flow: Flow, node: NodeProto, rows: list[Any]) -> Numbers:
    """Run one operator on rows of numbers."""
    kind = 1  # float: what the runtime would have, nearly
    inner = NodeProto()
    inner.CopyFrom(node)
    names = [f"x{n}" if row is not None else "" for n, row in enumerate(rows)]
    del inner.input[:]
    inner.input.extend(names)
    del inner.output[1:]
    inner.output[0] = "y"
    feed = {n: row.astype(np.float32) for n, row in zip(names, rows, strict=True) if n}
    scalars = {n: row[0] for n, row in feed.items() if node.op_type == "Clip" and n != "x0"}
    entries = [helper.make_tensor_value_info(n, kind, None) for n in feed]
    exits = [helper.make_tensor_value_info("y", kind, None)]
    graph = helper.make_graph([inner], "one", entries, exits)
    model = helper.make_model(graph, opset_imports=flow.model.opset_import)
    try:
        (found,) = ReferenceEvaluator(model).run(None, {**feed, **scalars})
        return np.broadcast_to(np.asarray(found, np.float64), np.shape(next(iter(feed.values()))))
    except Exception:
        return np.full(1, np.nan)


def _keep(flow: Flow, node: NodeProto) -> str:
    """Of an operator that leaves a number that is the same everywhere as it is."""
    channels = flow.values.get(input_of(node, 0))
    if channels is not None:
        if channels.axis != 1:
            return "it stands along another axis"
        flow.values[node.output[0]] = channels
    return ""


def _average(flow: Flow, node: NodeProto) -> str:
    why = _keep(flow, node)
    channels = flow.values.get(node.output[0])
    edges = padded(node) and attribute(node, "count_include_pad", 0)
    if channels is not None and (edges or attribute(node, "ceil_mode", 0)):
        zero = np.where(channels.constant == 0, 0.0, np.nan)
        flow.values[node.output[0]] = Channels(channels.ids, zero, channels.axis)
    return why


def _mean(flow: Flow, node: NodeProto) -> str:
    """Of a mean or maximum over all axes behind the channels."""
    channels = flow.values.get(input_of(node, 0))
    if channels is None:
        return ""
    rank, axes = flow.rank(input_of(node, 0)), _axes(flow, node)
    if not rank or axes is None or channels.axis != 1:
        return "its shape is not known"
    if sorted(axis % rank for axis in axes) != list(range(2, rank)):
        return f"{node.op_type} is over its axis"
    flow.values[node.output[0]] = channels
    return ""


def _resize(flow: Flow, node: NodeProto) -> str:
    scales = flow.array(input_of(node, 2 if node.op_type == "Resize" else 1))
    mode = attribute(node, "mode", b"nearest")
    crops = attribute(node, "coordinate_transformation_mode", b"") == b"tf_crop_and_resize"
    known = scales is not None and scales.size > 2 and scales[1] == 1 and not input_of(node, 3)
    if not known or crops or mode not in (b"nearest", b"linear", b"bilinear"):
        return f"it goes into {node.op_type}"
    return _keep(flow, node)


def _axes(flow: Flow, node: NodeProto) -> list[int] | None:
    """Return the axes that an attribute or the second input states."""
    stated = attribute(node, "axes", None)
    return flow.integers(input_of(node, 1)) if stated is None else list(stated)


def _concat(flow: Flow, node: NodeProto) -> str:
    rank, axis = flow.rank(input_of(node, 0)), attribute(node, "axis", 1)
    if not rank:
        return "its shape is not known"
    parts = [_part(flow, name, axis % rank) for name in node.input]
    found = [one for one in parts if one is not None]
    if len(found) < len(parts):
        return "Concat joins it with what is not known"
    if sum(one.ids.size for one in found) > MOST:
        return "it is one of too many"
    ids = np.concatenate([one.ids for one in found])
    constant = np.concatenate([one.constant for one in found])
    flow.values[node.output[0]] = Channels(ids, constant, axis % rank)
    return ""


def _part(flow: Flow, name: str, axis: int) -> Channels | None:
    """Return the channels of what is joined along `axis`; None where it has others."""
    known, dims = flow.values.get(name), flow.shapes.get(name, ())
    if known is not None:
        return known if known.axis == axis else None
    count = dims[axis] if len(dims) > axis else None
    if count is None or not 0 <= count <= MOST:
        return None
    return Channels(flow.foreign(count), np.full(count, np.nan), axis)


def _transpose(flow: Flow, node: NodeProto) -> str:
    channels, perm = flow.values.get(input_of(node, 0)), attribute(node, "perm", None)
    if channels is None:
        return ""
    if perm is None:
        return "it goes into Transpose"
    if channels.axis not in perm:
        raise misfit(node)
    axis = perm.index(channels.axis)
    flow.values[node.output[0]] = Channels(channels.ids, channels.constant, axis)
    return ""


def _flat(flow: Flow, node: NodeProto) -> str:
    """Of what puts all axes but the first one behind each other, channels where they stood."""
    channels = flow.values.get(input_of(node, 0))
    before, after = (flow.shapes.get(name) for name in (input_of(node, 0), node.output[0]))
    if channels is None:
        return ""
    before, after = before or [], after or []
    if not 0 < channels.axis < len(before) or len(after) != 2:
        return "its shape is not known"
    inner = [one for one in before[1:] if one is not None]
    stated = node.op_type != "Reshape" or len(flow.integers(input_of(node, 1)) or ()) == 2
    if len(inner) < len(before) - 1 or after[1] is None or not stated:
        return "its shape is not known"
    if after[1] != prod(inner) or inner[channels.axis - 1] != channels.ids.size:
        return f"{node.op_type} mixes it with others"
    if not 0 < after[1] <= MOST:
        return "it is one of too many"
    if node.op_type == "Reshape":
        flow.flats.append((node, _spread(channels.ids, inner, channels.axis - 1)))
    ids, constant = (
        _spread(one, inner, channels.axis - 1) for one in (channels.ids, channels.constant)
    )
    flow.values[node.output[0]] = Channels(ids, constant, 1)
    return ""


def _spread(row: Numbers, shape: list[int], axis: int) -> Numbers:
    """Return `row`, that is along `axis` of `shape`, for each element of that in its order."""
    along = row.reshape([-1 if n == axis else 1 for n in range(len(shape))])
    return np.broadcast_to(along, shape).reshape(-1)


def _squeeze(flow: Flow, node: NodeProto) -> str:
    """Of axes of length 1 behind the channels, which come or go."""
    rank, axes = flow.rank(node.output[0]), _axes(flow, node)
    if node.op_type == "Squeeze":
        rank = flow.rank(input_of(node, 0))
    if not rank or axes is None or any(axis % rank < 2 for axis in axes):
        return f"it goes into {node.op_type}"
    return _keep(flow, node)


_ALONE = (
    "Relu", "LeakyRelu", "Sigmoid", "HardSigmoid", "HardSwish", "Tanh", "Clip", "Elu", "Selu",
    "Celu", "Softplus", "Softsign", "ThresholdedRelu", "Gelu", "Mish", "Erf", "Abs", "Neg", "Exp",
    "Sqrt", "Identity", "Dropout", "Add", "Sub", "Mul", "Div", "Min", "Max", "Pow", "PRelu", "Sum",
)  # fmt: skip
_RULES: dict[str, Rule] = {
    "Conv": conv,
    "Gemm": gemm,
    "MatMul": matmul,
    "BatchNormalization": norm,
    "MaxPool": _keep,
    "GlobalAveragePool": _keep,
    "GlobalMaxPool": _keep,
    "AveragePool": _average,
    "ReduceMean": _mean,
    "ReduceMax": _mean,
    "Resize": _resize,
    "Upsample": _resize,
    "Concat": _concat,
    "Transpose": _transpose,
    "Flatten": _flat,
    "Reshape": _flat,
    "Squeeze": _squeeze,
    "Unsqueeze": _squeeze,
    **dict.fromkeys(_ALONE, _each),
}
