"""Take channels out of an ONNX model, and note what became of each tensor.

Sisters: onnx_shrink_flow.py (which channels go), onnx_shrink.py.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from onnx import NodeProto, TensorProto, helper, numpy_helper

from .onnx_shrink_flow import Cut, Flow, Numbers, Taken, input_of

Keep = npt.NDArray[np.bool_]
_SEPARATE = 4  # the version of the format in which initializers need not be inputs, too


@dataclass(eq=False)
class Edits:
    """What tensors are made of: parts of others, by name, or new numbers.

    `parts` has the name of another tensor and, one after the other, what is kept along an axis.
    """

    parts: dict[str, tuple[str, list[tuple[int, Keep]]]] = field(default_factory=dict)
    numbers: dict[str, Numbers] = field(default_factory=dict)

    def origin(self, name: str) -> tuple[str, list[tuple[int, Keep]]]:
        return self.parts.get(name, (name, []))


def apply(flow: Flow, gone: Keep, edits: Edits) -> None:
    """Change the model of `flow` so that it is without the channels that are gone."""
    for taken in flow.taken:
        _fold(flow, taken, gone, edits)
    for cut in flow.cuts:
        if len(cut.node.input) > cut.place and cut.node.input[cut.place] and gone[cut.ids].any():
            _cut(flow, cut, ~gone[cut.ids], edits)
    for node, ids in flow.groups:
        _set(node, "group", int((~gone[ids]).sum()))
    for node, ids in flow.flats:
        _reshape(flow, node, int((~gone[ids]).sum()))
    del flow.model.graph.value_info[:]
    for value in flow.model.graph.input:  # of old files, which list initializers as inputs
        if value.name in flow.initializers:
            dims = flow.initializers[value.name].dims
            shape = helper.make_tensor_value_info(value.name, 1, list(dims)).type.tensor_type.shape
            value.type.tensor_type.shape.CopyFrom(shape)


def _fold(flow: Flow, taken: Taken, gone: Keep, edits: Edits) -> None:
    """Let a layer's bias have what came from channels that are gone, and were the same number."""
    channels = taken.channels
    steady = gone[channels.ids] & np.isfinite(channels.constant)
    more = channels.constant[steady] @ taken.each[steady]
    if not more.any():
        return
    node, place = taken.node, taken.place
    if not input_of(node, place):
        kind = numpy_helper.to_array(flow.initializers[node.input[1]]).dtype
        bias = _added(flow, f"{node.input[1]}_bias", np.zeros(more.size, kind))
        _put(node, place, bias)
    else:
        _own(flow, node, place, edits)
    proto = flow.initializers[node.input[place]]
    numbers = numpy_helper.to_array(proto)
    whole = (numbers.astype(np.float64) + more.reshape(numbers.shape)).astype(numbers.dtype)
    _write(proto, whole)
    edits.parts.pop(proto.name, None)
    edits.numbers[proto.name] = whole


def _cut(flow: Flow, cut: Cut, keep: Keep, edits: Edits) -> None:
    _own(flow, cut.node, cut.place, edits)
    proto = flow.initializers[cut.node.input[cut.place]]
    numbers = numpy_helper.to_array(proto)
    axis = cut.axis % numbers.ndim
    left = np.compress(keep, numbers, axis)
    _write(proto, left)
    if proto.name in edits.numbers:
        edits.numbers[proto.name] = left
    else:
        name, steps = edits.origin(proto.name)
        edits.parts[proto.name] = (name, [*steps, (axis, keep)])


def _own(flow: Flow, node: NodeProto, place: int, edits: Edits) -> None:
    """Give a node its own copy of an initializer that others take too."""
    name = node.input[place]
    if flow.users[name] == 1:
        return
    flow.users[name] -= 1
    numbers = numpy_helper.to_array(flow.initializers[name])
    node.input[place] = _added(flow, f"{name}_{node.name or node.output[0]}", numbers)
    if name in edits.numbers:
        edits.numbers[node.input[place]] = edits.numbers[name]
    else:
        edits.parts[node.input[place]] = edits.origin(name)


def _added(flow: Flow, name: str, numbers: Numbers) -> str:
    """Return the name of a new initializer."""
    taken = {*flow.users, *flow.initializers, *(o for n in flow.model.graph.node for o in n.output)}
    free = name
    while free in taken:
        free += "_"
    flow.model.graph.initializer.append(numpy_helper.from_array(numbers, free))
    flow.initializers[free] = flow.model.graph.initializer[-1]
    flow.users[free] = 1
    if flow.model.ir_version < _SEPARATE:
        flow.model.graph.input.append(helper.make_tensor_value_info(free, 1, None))
        kind = flow.initializers[free].data_type
        flow.model.graph.input[-1].type.tensor_type.elem_type = kind
    return free


def _put(node: NodeProto, place: int, name: str) -> None:
    while len(node.input) <= place:
        node.input.append("")
    node.input[place] = name


def _write(proto: TensorProto, numbers: Numbers) -> None:
    proto.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(numbers), proto.name))


def _set(node: NodeProto, name: str, value: int) -> None:
    for one in node.attribute:
        if one.name == name:
            one.i = value


def _reshape(flow: Flow, node: NodeProto, count: int) -> None:
    """Let a Reshape to two axes have the second one's new length."""
    first, second = flow.integers(node.input[1]) or (0, -1)
    if second == -1:
        return
    old = node.input[1]
    node.input[1] = _added(flow, f"{old}_{node.output[0]}", np.array([first, count], np.int64))
    flow.users[old] -= 1
    if not flow.users[old] and old in flow.initializers:
        flow.model.graph.initializer.remove(flow.initializers.pop(old))
        for value in [one for one in flow.model.graph.input if one.name == old]:
            flow.model.graph.input.remove(value)
