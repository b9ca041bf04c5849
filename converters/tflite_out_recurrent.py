"""LSTM and GRU, written out step by step: for short sequences.

Spec: https://onnx.ai/onnx/operators (LSTM, GRU). What the inputs add to the gates is one product
for all steps. Sister: tflite_out_dense.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .tflite_out_axes import split_up
from .tflite_out_layout import Value, reshaped
from .tflite_out_maker import Maker, Translation, given, narrowed
from .tflite_out_net import Array, Shape, Unsupported
from .tflite_out_onnx import SourceNode

_MOST_STEPS = 128
_GATES = {"LSTM": 4, "GRU": 3}
_DEFAULT = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"]}
_ONE = np.array(1.0, np.float32)


@dataclass
class _Cell:
    """One direction: weights by name, and the states so far."""

    maker: Maker
    node: SourceNode
    number: int
    size: int
    bias: tuple[Array, Array]
    hidden: Value
    memory: Value  #: an LSTM's

    def product(self, value: Value, place: int, rows: slice, bias: Array | None) -> Value:
        """Return what some rows of W or R make of a matrix."""
        net, name = self.maker.net, self.node.inputs[place]
        weight = self.maker.weight(name, lambda array: array[self.number, rows])
        tensor = self.maker.arranged(value, (0, 1))
        outputs = net.tensors[weight].shape[0]
        own = np.zeros(outputs, np.float32) if bias is None else bias
        inputs = [tensor, weight, net.constant(own)]
        shape = (net.tensors[tensor].shape[0], outputs)
        return Value(net.add("FullyConnected", inputs, shape), (0, 1))

    def sigmoid(self, value: Value) -> Value:
        return self.maker.like("Logistic", value)

    def tanh(self, value: Value) -> Value:
        return self.maker.like("Tanh", value)

    def parts(self, value: Value) -> list[Value]:
        count = self.maker.shape(value)[1] // self.size
        return split_up(self.maker, value, 1, [self.size] * count)


def recurrent(maker: Maker, node: SourceNode) -> Sequence[Value]:
    steps, batch, inputs = maker.stated(node.inputs[0])
    _check(maker, node, steps)
    flat = reshaped(maker.net, maker.raw(node.inputs[0]), (steps * batch, inputs))
    cells = _cells(maker, node, batch)
    rows: list[list[Value]] = []
    for cell in cells:
        given_rows = _gates_of_inputs(cell, flat, steps, batch)
        rows.append(_run(cell, given_rows, backwards=_is_backwards(node, cell.number)))
    return _results(maker, node, cells, rows, batch)


def _check(maker: Maker, node: SourceNode, steps: int) -> None:
    if steps > _MOST_STEPS:
        raise Unsupported(f"{steps} steps, more than the {_MOST_STEPS} that are written out")
    if node.attributes.get("layout", 0):
        raise Unsupported("layout 1")
    if node.attributes.get("clip") or node.attributes.get("input_forget", 0):
        raise Unsupported("clip or input_forget")
    names = [_text(name) for name in node.attributes.get("activations", [])]
    default = _DEFAULT[node.op]
    if names and names != default * (len(names) // len(default)):
        raise Unsupported("other activations than Sigmoid and Tanh")
    lengths = maker.optional(node, 4, "sequence lengths")
    if lengths is not None and np.any(lengths != steps):
        raise Unsupported("sequences of several lengths")
    if given(node, 7):
        raise Unsupported("peepholes")


def _text(name: str | bytes) -> str:
    return name if isinstance(name, str) else name.decode(errors="replace")


def _is_backwards(node: SourceNode, number: int) -> bool:
    return number == 1 or node.attributes.get("direction", "forward") == "reverse"


def _cells(maker: Maker, node: SourceNode, batch: int) -> list[_Cell]:
    weight, again = maker.constant(node, 1, "weight"), maker.constant(node, 2, "weight")
    directions, size = weight.shape[0], again.shape[2]
    wide = _GATES[node.op] * size
    bias = maker.optional(node, 3, "bias")
    bias = np.zeros((directions, 2 * wide), np.float32) if bias is None else narrowed(bias)
    places = (5, 6 if node.op == "LSTM" else 5)
    states = [_states(maker, node, place, (directions, batch, size)) for place in places]
    return [
        _Cell(maker, node, n, size, (bias[n, :wide], bias[n, wide:]), states[0][n],
              states[1][n])
        for n in range(directions)
    ]  # fmt: skip


def _states(maker: Maker, node: SourceNode, place: int, shape: tuple[int, int, int]) -> list[Value]:
    """Return the first state of each direction, zeros where it is not given."""
    directions, batch, size = shape
    if given(node, place):
        flat = reshaped(maker.net, maker.raw(node.inputs[place]), (directions * batch, size))
        return split_up(maker, flat, 0, [batch] * directions) if directions > 1 else [flat]
    zeros = maker.net.constant(np.zeros((batch, size), np.float32))
    return [Value(zeros, (0, 1))] * directions


def _gates_of_inputs(cell: _Cell, flat: Value, steps: int, batch: int) -> list[Value]:
    """Return what the inputs add to the gates, step by step."""
    made = cell.product(flat, 1, slice(None), cell.bias[0])
    return split_up(cell.maker, made, 0, [batch] * steps) if steps > 1 else [made]


def _run(cell: _Cell, inputs: list[Value], backwards: bool) -> list[Value]:
    step = _lstm if cell.node.op == "LSTM" else _gru
    found = []
    for value in inputs[::-1] if backwards else inputs:
        step(cell, value)
        found.append(cell.hidden)
    return found[::-1] if backwards else found


def _lstm(cell: _Cell, value: Value) -> None:
    """One step of the gates i, o, f and c."""
    maker = cell.maker
    again = cell.product(cell.hidden, 2, slice(None), cell.bias[1])
    i, o, f, c = cell.parts(maker.together("Add", value, again))
    kept = maker.together("Mul", cell.sigmoid(f), cell.memory)
    new = maker.together("Mul", cell.sigmoid(i), cell.tanh(c))
    cell.memory = maker.together("Add", kept, new)
    cell.hidden = maker.together("Mul", cell.sigmoid(o), cell.tanh(cell.memory))


def _gru(cell: _Cell, value: Value) -> None:
    """One step of the gates z, r and h."""
    maker, two = cell.maker, 2 * cell.size
    z_of, r_of, h_of = cell.parts(value)
    again = cell.product(cell.hidden, 2, slice(0, two), cell.bias[1][:two])
    z_again, r_again = cell.parts(again)
    z = cell.sigmoid(maker.together("Add", z_of, z_again))
    r = cell.sigmoid(maker.together("Add", r_of, r_again))
    rest, bias = slice(two, None), cell.bias[1][two:]
    if cell.node.attributes.get("linear_before_reset", 0):
        inner = maker.together("Mul", r, cell.product(cell.hidden, 2, rest, bias))
    else:
        inner = cell.product(maker.together("Mul", r, cell.hidden), 2, rest, bias)
    h = cell.tanh(maker.together("Add", h_of, inner))
    new = maker.together("Mul", maker.together("Sub", _ONE, z, dtype=maker.dtype(z)), h)
    cell.hidden = maker.together("Add", new, maker.together("Mul", z, cell.hidden))


def _results(
    maker: Maker, node: SourceNode, cells: list[_Cell], rows: list[list[Value]], batch: int
) -> list[Value]:
    """Return Y, Y_h and, of an LSTM, Y_c, as far as they are asked for."""
    size, count = cells[0].size, len(cells)
    ordered = [rows[n][step] for step in range(len(rows[0])) for n in range(count)]
    ends = [[cell.hidden for cell in cells]]
    if node.op == "LSTM":
        ends.append([cell.memory for cell in cells])
    wanted: list[tuple[list[Value], Shape]]
    wanted = [(ordered, (len(rows[0]), count, batch, size))]
    wanted += [(end, (count, batch, size)) for end in ends]
    return [
        reshaped(maker.net, _stacked(maker, values), shape)
        for values, shape in wanted[: len(node.outputs)]
    ]


def _stacked(maker: Maker, values: list[Value]) -> Value:
    """Return matrices one above the other."""
    if len(values) == 1:
        return values[0]
    tensors = [maker.arranged(value, (0, 1)) for value in values]
    rows, columns = maker.net.tensors[tensors[0]].shape
    shape = (rows * len(tensors), columns)
    return Value(maker.net.add("Concatenation", tensors, shape, axis=0), (0, 1))


TRANSLATIONS: dict[str, Translation] = {"LSTM": recurrent, "GRU": recurrent}
