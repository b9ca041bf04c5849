"""Batch norms and biases put into the layer before them, as far as that is exact.

Spec: https://onnx.ai/onnx/operators (BatchNormalization). Sister: tflite_out_onnx.py. What cannot
be put into a layer becomes an operator of its own.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .tflite_out_onnx import Array, Integers, SourceGraph, SourceNode, meant, users_of

#: What multiplies each channel by a number and adds one.
CHANNELS = "BatchNormalization, worked out"
_CONVS = ("Conv", "ConvTranspose")
_LAYERS = (*_CONVS, "Gemm", "MatMul")


def fold_layers(graph: SourceGraph) -> None:
    """Put biases and norms into layers, in place; norms that are left become CHANNELS."""
    for _ in range(2):  # a bias may stand before a norm or behind it
        _fold(graph, ("Add",))
        _fold(graph, ("BatchNormalization",))
    graph.nodes = [_written_out(graph, node) for node in graph.nodes]


def _fold(graph: SourceGraph, kinds: tuple[str, ...]) -> None:
    users = users_of(graph.nodes)
    makers = {name: place for place, node in enumerate(graph.nodes) for name in node.outputs}
    gone: set[int] = set()
    for place, node in enumerate(graph.nodes):
        if node.op not in kinds:
            continue
        found = _layer_before(graph, node, makers, users)
        if found is None:
            continue
        at, value = found
        merged = _merged(graph, graph.nodes[at], node, value)
        if merged is not None:
            graph.nodes[at] = replace(merged, outputs=node.outputs)
            makers[node.outputs[0]] = at
            gone.add(place)
    graph.nodes = [node for place, node in enumerate(graph.nodes) if place not in gone]


def _layer_before(
    graph: SourceGraph, node: SourceNode, makers: dict[str, int], users: dict[str, list[SourceNode]]
) -> tuple[int, str] | None:
    """Return the place of the layer whose output goes to `node` alone, and that output."""
    for name in node.inputs[: 2 if node.op == "Add" else 1]:
        at = makers.get(name)
        if at is None or graph.nodes[at].op not in _LAYERS or name in graph.outputs:
            continue
        if len(users.get(name, ())) == 1 and _has_constants(graph, graph.nodes[at]):
            return at, name
    return None


def _has_constants(graph: SourceGraph, layer: SourceNode) -> bool:
    names = [name for name in layer.inputs[1:] if name]
    plain = layer.op != "Gemm" or _attribute(layer, "beta", 1.0) == 1.0
    if not plain or not all(name in graph.constants for name in names):
        return False
    return len(names) < 2 or graph.constants[names[1]].size in (1, _channels(graph, layer))


def _attribute(node: SourceNode, name: str, default: float) -> float:
    return float(node.attributes.get(name, default))


def _merged(
    graph: SourceGraph, layer: SourceNode, node: SourceNode, value: str
) -> SourceNode | None:
    if node.op == "Add":
        return _with_bias(graph, layer, node, value)
    return _with_norm(graph, layer, node)


def _with_bias(
    graph: SourceGraph, layer: SourceNode, node: SourceNode, value: str
) -> SourceNode | None:
    other = node.inputs[1] if node.inputs[0] == value else node.inputs[0]
    numbers, channels = graph.constants.get(other), _channels(graph, layer)
    fact = graph.facts.get(value)
    if numbers is None or channels is None or fact is None or fact.shape is None:
        return None
    bias = _by_channel(numbers, layer, channels, len(fact.shape))
    if bias is None:
        return None
    return _put(graph, layer, node, {2: bias + _bias(graph, layer, channels)})


def _by_channel(numbers: Array, layer: SourceNode, channels: int, rank: int) -> Array | None:
    """Return what is added as one number a channel, or None where it is not that."""
    if numbers.dtype != np.float32 or numbers.ndim > rank:
        return None
    full = numbers.reshape((1,) * (rank - numbers.ndim) + numbers.shape)
    axis = 1 if layer.op in _CONVS else rank - 1
    if full.size != full.shape[axis] or full.shape[axis] not in (1, channels):
        return None
    return np.array(np.broadcast_to(full.reshape(-1), (channels,)))


def _with_norm(graph: SourceGraph, layer: SourceNode, node: SourceNode) -> SourceNode | None:
    found, channels = _factor_and_shift(graph, node), _channels(graph, layer)
    if found is None or channels is None or found[0].size != channels:
        return None
    fact = graph.facts.get(layer.outputs[0])
    if layer.op not in _CONVS and (fact is None or fact.shape is None or len(fact.shape) != 2):
        return None  # the norm's channels are then not the layer's
    factor, shift = found
    bias = _bias(graph, layer, channels).astype(np.float64) * factor + shift
    held = graph.integers.get(layer.inputs[1])
    if held is not None:
        return _with_scales(graph, layer, node, held, (factor, bias))
    weight = graph.constants[layer.inputs[1]].astype(np.float64)
    if layer.op == "ConvTranspose":
        spread = _spread_groups(factor, weight, int(layer.attributes.get("group", 1)))
    else:
        axis = _out_axis(layer)
        spread = factor.reshape([-1 if i == axis else 1 for i in range(weight.ndim)])
    return _put(graph, layer, node, {1: weight * spread, 2: bias})


def _with_scales(
    graph: SourceGraph,
    layer: SourceNode,
    node: SourceNode,
    held: Integers,
    parts: tuple[Array, Array],
) -> SourceNode | None:
    """Return a layer of the same integers with other scales, where factors are scales."""
    factor, bias = parts
    axis = _out_axis(layer)
    own = (
        np.broadcast_to(held.scale, factor.shape) * factor
        if held.axis in (axis, None)
        else factor * 0
    )
    scale = np.asarray(own, np.float32)
    if layer.op == "ConvTranspose" or not np.all((scale > 0) & np.isfinite(scale)):
        return None
    points = np.array(np.broadcast_to(held.zero_point, factor.shape))
    moved = Integers(held.numbers, scale, points, axis)
    made = _put(graph, layer, node, {1: meant(moved), 2: bias})
    graph.integers[made.inputs[1]] = moved
    return made


def _spread_groups(factor: Array, weight: Array, groups: int) -> Array:
    """Return the factors of (inputs, outputs of a group, …) by output channel."""
    shape = (groups, 1, -1) + (1,) * (weight.ndim - 2)
    inner = weight.shape[0] // groups
    wide = np.broadcast_to(factor.reshape(shape), (groups, inner, *weight.shape[1:2], *shape[3:]))
    return np.asarray(wide.reshape(weight.shape[0], weight.shape[1], *shape[3:]))


def _put(
    graph: SourceGraph, layer: SourceNode, node: SourceNode, numbers: dict[int, Array]
) -> SourceNode:
    """Return `layer` with other constants, of new names."""
    inputs = [*layer.inputs, "", ""][:3]
    for place, array in numbers.items():
        name = f"{inputs[place] or layer.shown}/with/{node.shown}/{place}"
        graph.constants[name] = array.astype(np.float32)
        inputs[place] = name
    return replace(layer, inputs=tuple(inputs))


def _channels(graph: SourceGraph, layer: SourceNode) -> int | None:
    shape = graph.constants[layer.inputs[1]].shape
    if layer.op == "ConvTranspose":
        return int(shape[1]) * int(layer.attributes.get("group", 1))
    axis = _out_axis(layer)
    if layer.op == "MatMul" and len(shape) != 2:
        return None
    return int(shape[axis])


def _out_axis(layer: SourceNode) -> int:
    if layer.op == "Conv":
        return 0
    return 0 if layer.op == "Gemm" and layer.attributes.get("transB", 0) else 1


def _bias(graph: SourceGraph, layer: SourceNode, channels: int) -> Array:
    name = layer.inputs[2] if len(layer.inputs) > 2 else ""
    bias = graph.constants[name].astype(np.float32) if name else np.zeros(channels, np.float32)
    return np.broadcast_to(bias.reshape(-1), (channels,))


def _factor_and_shift(graph: SourceGraph, node: SourceNode) -> tuple[Array, Array] | None:
    """Return what a norm multiplies by and adds, in double; None where it is not known now."""
    if len([name for name in node.outputs if name]) > 1 or node.attributes.get("training_mode", 0):
        return None
    if any(name not in graph.constants for name in node.inputs[1:5]) or len(node.inputs) < 5:
        return None
    scale, shift, mean, variance = (
        graph.constants[name].astype(np.float64) for name in node.inputs[1:5]
    )
    factor = scale / np.sqrt(variance + node.attributes.get("epsilon", 1e-5))
    return factor, shift - mean * factor


def _written_out(graph: SourceGraph, node: SourceNode) -> SourceNode:
    """Return a norm that is left with what it multiplies by and adds, other nodes as they are."""
    found = _factor_and_shift(graph, node) if node.op == "BatchNormalization" else None
    if found is None:
        return node
    names = f"{node.shown}/factor", f"{node.shown}/shift"
    for name, numbers in zip(names, found, strict=True):
        graph.constants[name] = numbers.astype(np.float32)
    return SourceNode(CHANNELS, node.name, (node.inputs[0], *names), node.outputs[:1])
