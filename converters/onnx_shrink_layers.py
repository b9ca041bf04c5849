"""What operators with weights do to channels: they make some, and take others.

Sisters: onnx_shrink_ops.py (all other operators), onnx_shrink_flow.py (what is kept of it).
"""

from __future__ import annotations

import numpy as np
from onnx import NodeProto

from .onnx_shrink_flow import (
    Channels,
    Flow,
    Numbers,
    Taken,
    attribute,
    input_of,
    known_op,
    misfit,
    rows,
)

_BORDER = "padding meets a number that is not zero"
_VARIES = "it is not the same everywhere"
_NO_BIAS = "its number has no bias to go to"


def _take(flow: Flow, node: NodeProto, weight: Numbers, axis: int, why: str) -> None:
    """Let a layer take what its first input has: hold back what it would miss.

    `weight` has the layer's inputs along `axis`, its outputs along the other; `why` is why a number
    other than zero cannot go into the bias, "" if it can.
    """
    channels = flow.values[node.input[0]]
    flow.cut(node, 1, axis, channels.ids)
    used = rows(weight, axis).any(axis=1)
    steady = np.isfinite(channels.constant)
    zero = channels.constant == 0
    flow.hold(channels.ids[used & ~steady], _VARIES)
    if why:
        flow.hold(channels.ids[used & steady & ~zero], why)


def _make(
    flow: Flow, node: NodeProto, weight: Numbers, place: tuple[int, int], bias: Numbers
) -> None:
    """Give a layer's outputs ids; `place` is their axis in `weight` and in the result."""
    axis, where = place
    zero = np.logical_not(rows(weight, axis).any(axis=1))
    ids = flow.new(node, zero)
    constant = np.where(zero, bias, np.nan)
    flow.values[node.output[0]] = Channels(ids, constant, where)
    flow.cut(node, 1, axis, ids)
    flow.cut(node, 2, -1, ids)


def _bias(flow: Flow, node: NodeProto, count: int) -> Numbers | None:
    """Return the bias of each output; None where it is no row of constants."""
    name = input_of(node, 2)
    if not name:
        return np.zeros(count)
    found = flow.parameter(name)
    if found is None or found.size != count or found.shape[-1:] != (count,):
        return None
    return found.reshape(-1).astype(np.float64)


def conv(flow: Flow, node: NodeProto) -> str:
    weight, group = flow.weight(input_of(node, 1)), attribute(node, "group", 1)
    if weight is None:
        return "its weight is no finite constant of one layer"
    if weight.ndim < 3:
        raise misfit(node)
    bias = _bias(flow, node, weight.shape[0])
    if bias is None:
        return "its bias is no constant"
    channels = flow.values.get(input_of(node, 0))
    if group > 1 and channels is not None and group == channels.ids.size and channels.axis == 1:
        return _depthwise(flow, node, weight, bias)
    if group > 1:
        return "it goes into groups"
    if channels is not None and channels.axis != 1:
        return "it stands along another axis"
    if channels is not None:
        _take(flow, node, weight, 1, _BORDER if padded(node) else "")
        sums = weight.astype(np.float64).sum(axis=tuple(range(2, weight.ndim)))
        flow.taken.append(Taken(node, channels, sums.T))
    _make(flow, node, weight, (0, 1), bias)
    return ""


def _depthwise(flow: Flow, node: NodeProto, weight: Numbers, bias: Numbers) -> str:
    channels = flow.values[node.input[0]]
    times, rest = divmod(weight.shape[0], channels.ids.size)
    if rest:
        raise misfit(node)
    ids, constant = channels.ids.repeat(times), channels.constant.repeat(times)
    sums = rows(weight, 0).astype(np.float64).sum(axis=1)
    zero = ~rows(weight, 0).any(axis=1)
    edge = np.where(constant == 0, 0.0, np.nan) if padded(node) else constant
    found = np.where(zero, 0.0, edge * sums) + bias
    flow.values[node.output[0]] = Channels(ids, found, 1)
    flow.cut(node, 1, 0, ids)
    flow.cut(node, 2, -1, ids)
    flow.groups.append((node, channels.ids))
    return ""


def padded(node: NodeProto) -> bool:
    auto = attribute(node, "auto_pad", b"NOTSET")
    return any(attribute(node, "pads", [])) or auto not in (b"NOTSET", b"VALID", b"")


def gemm(flow: Flow, node: NodeProto) -> str:
    weight, right = flow.weight(input_of(node, 1)), attribute(node, "transB", 0)
    if weight is None or weight.ndim != 2 or attribute(node, "transA", 0):
        return "its weight is no finite constant of one layer"
    bias = _bias(flow, node, weight.shape[0 if right else 1])
    if bias is None:
        return "its bias is no row of constants"
    plain = attribute(node, "alpha", 1.0) == 1 and attribute(node, "beta", 1.0) == 1
    if not plain:
        return "its layer has factors"
    channels = flow.values.get(input_of(node, 0))
    inner, outer = (1, 0) if right else (0, 1)
    if channels is not None and channels.axis != 1:
        return "it stands along another axis"
    if channels is not None:
        _take(flow, node, weight, inner, "")
        each = weight.astype(np.float64)
        flow.taken.append(Taken(node, channels, each.T if right else each))
    _make(flow, node, weight, (outer, 1), bias)
    return ""


def matmul(flow: Flow, node: NodeProto) -> str:
    weight, rank = flow.weight(input_of(node, 1)), flow.rank(input_of(node, 0))
    if weight is None or weight.ndim != 2:
        return "its weight is no finite constant of one layer"
    if rank is None or rank < 2:
        return "its shape is not known"
    channels = flow.values.get(input_of(node, 0))
    if channels is not None and channels.axis != rank - 1:
        return "it stands along another axis"
    if channels is not None:
        bias = _added(flow, node, weight.shape[1])
        _take(flow, node, weight, 0, "" if bias else _NO_BIAS)
        if bias:
            flow.taken.append(Taken(bias[0], channels, weight.astype(np.float64), bias[1]))
    _make(flow, node, weight, (1, rank - 1), np.zeros(weight.shape[1]))
    return ""


def _added(flow: Flow, node: NodeProto, count: int) -> tuple[NodeProto, int] | None:
    """Return the Add that alone takes what a node gives, and its input that is a row of numbers."""
    taker = flow.takers.get(node.output[0])
    if taker is None or flow.users[node.output[0]] != 1 or known_op(taker) != "Add":
        return None
    place = 1 - list(taker.input).index(node.output[0])
    found = flow.parameter(input_of(taker, place))
    if found is None or found.size != count or found.shape[-1:] != (count,):
        return None
    return taker, place


def norm(flow: Flow, node: NodeProto) -> str:
    channels = flow.values.get(input_of(node, 0))
    if channels is None:
        return ""
    found = [flow.parameter(name) for name in node.input[1:5]]
    if channels.axis != 1 or len(found) != 4 or attribute(node, "training_mode", 0):
        return "it goes into a norm of another kind"
    if any(one is None or one.shape != channels.ids.shape for one in found):
        return "its norm is not constant"
    scale, bias, mean, spread = (one.astype(np.float64) for one in found if one is not None)
    root = np.sqrt(spread + attribute(node, "epsilon", 1e-5))
    constant = np.where(scale == 0, bias, (channels.constant - mean) * scale / root + bias)
    flow.values[node.output[0]] = Channels(channels.ids, constant, 1)
    for place in range(1, 5):
        flow.cut(node, place, 0, channels.ids)
    return ""
