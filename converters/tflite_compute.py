"""What a TFLite graph costs to run: multiplications, bytes, memory, operator by operator.

Sisters: onnx_compute.py, which defines the words and has the same for ONNX; tflite_schema.py. All
shapes are stated in the file; an axis that it leaves open has the length that the file states for
now, mostly 1. Of subgraphs beside the main one the operators are listed, and not in the totals.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from math import prod

from dcformat.ids import BITS, DType

from .onnx_compute import COUNTED, FREE, NOT_COUNTED, UNKNOWN, Compute, Cost
from .onnx_compute_memory import Peak
from .onnx_compute_shapes import Shape
from .tflite_holes import Opened, open_graph
from .tflite_lift import names_of
from .tflite_operators import CUSTOM
from .tflite_operators import UNKNOWN as UNKNOWN_OP
from .tflite_schema import DTYPES, Subgraph, TfOperator, TfTensor
from .tflite_uses import Key, uses_of

_SHOWN = 16
#: Operators that multiply, or run others, and are not counted; others of TFLite's make no MACs.
_OPAQUE = frozenset(
    {
        "LSTM", "RNN", "SVDF", "UnidirectionalSequenceLSTM", "UnidirectionalSequenceRNN",
        "BidirectionalSequenceLSTM", "BidirectionalSequenceRNN", "Call", "CallOnce", "Delegate",
        "If", "While", "RFFT2D", "Conv3DTranspose", "EmbeddingLookupSparse",
    }
)  # fmt: skip
_FOREIGN = (f"{CUSTOM} ", f"{UNKNOWN_OP} ", "Stablehlo")


@dataclass(frozen=True)
class _At:
    """An operator with its shapes: None of an input that is left out, and of what is no shape."""

    operator: TfOperator
    inputs: tuple[Shape | None, ...]
    outputs: tuple[Shape | None, ...]

    def input(self, index: int, rank: int) -> Shape:
        shape = self.inputs[index] if index < len(self.inputs) else None
        if shape is None or len(shape) < rank:
            raise LookupError
        return shape

    @property
    def elements(self) -> int:
        shape = self.outputs[0] if self.outputs else None
        if shape is None:
            raise LookupError
        return prod(shape)


def _conv(at: _At) -> int:
    """OHWI: with groups I counts the channels of one group."""
    return at.elements * prod(at.input(1, 4)[1:])


def _depthwise(at: _At) -> int:
    """[1, H, W, out]: each output has one channel of input."""
    return at.elements * prod(at.input(1, 4)[1:3])


def _dense(at: _At) -> int:
    return at.elements * at.input(1, 2)[-1]


def _transpose_conv(at: _At) -> int:
    """OHWI, and each input is multiplied with all of its channel: inputs are shape, weight, x."""
    weight = at.input(1, 4)
    return prod(at.input(2, 4)) * prod(weight[:3])


def _matmul(at: _At) -> int:
    return at.elements * at.input(0, 2)[-2 if at.operator.turned[0] else -1]


def _conv3d(at: _At) -> int:
    """DHWIO."""
    return at.elements * prod(at.input(1, 5)[:4])


_RULES: dict[str, Callable[[_At], int]] = {
    "Conv2D": _conv,
    "DepthwiseConv2D": _depthwise,
    "FullyConnected": _dense,
    "TransposeConv": _transpose_conv,
    "BatchMatMul": _matmul,
    "Conv3D": _conv3d,
}
#: Inputs that are multiplied.
_OPERANDS = {"BatchMatMul": (0, 1)}


def compute_of_tflite(
    data: bytes, elements: Sequence[int], names: Sequence[str], zeros: Mapping[str, int]
) -> Compute:
    """Return what the graph of a section GRAPH costs (dcformat.model.Graph.data).

    `elements` and `names` are those of the file's tensors; `zeros` are the zeros of some by name.
    Raises DcfError where it is no TFLite graph.
    """
    walk = _Walk.of(open_graph(data, elements), names, zeros)
    rows = [row for number in range(len(walk.opened.model.subgraphs)) for row in walk.rows(number)]
    parameters = set(walk.parameters(0))
    return Compute(
        layers=tuple(rows),
        parameters=sum(walk.elements(key) for key in parameters),
        parameter_bytes=sum(walk.bytes(key) for key in parameters),
        peak=walk.peak(),
        separable=(),
        assumed=tuple(walk.assumed()),
        notes=tuple(_notes(rows)),
    )


@dataclass(frozen=True)
class _Walk:
    """A model, its constants that are no indices, and what the file calls those it holds."""

    opened: Opened
    constants: frozenset[Key]
    indices: frozenset[Key]
    stored: Mapping[Key, str]
    zeros: Mapping[str, int]

    @staticmethod
    def of(opened: Opened, names: Sequence[str], zeros: Mapping[str, int]) -> _Walk:
        model, uses = opened.model, uses_of(opened.model)
        regions = {
            gap.region: names[hole.tensor]
            for hole, gap in zip(opened.holes, opened.gaps, strict=True)
        }
        constants = frozenset(names_of(model))
        shapes = frozenset(k for k in constants if k in uses and uses[k].role == "index")
        stored = {}
        for number, index in constants:
            region = model.buffers[model.subgraphs[number].tensors[index].buffer]
            if region in regions:
                stored[number, index] = regions[region]
        return _Walk(opened, constants, shapes, stored, zeros)

    def tensor(self, key: Key) -> TfTensor:
        return self.opened.model.subgraphs[key[0]].tensors[key[1]]

    def elements(self, key: Key) -> int:
        tensor = self.tensor(key)
        if tensor.sparse:
            region = self.opened.model.buffers[tensor.buffer]
            return region.size * 8 // BITS[DTYPES.get(tensor.type, DType.UINT8)]
        return prod(max(n, 0) for n in tensor.shape)

    def bytes(self, key: Key) -> int:
        if key in self.constants:
            return self.opened.model.buffers[self.tensor(key).buffer].size
        bits = BITS[DTYPES.get(self.tensor(key).type, DType.UINT8)]
        return -(-self.elements(key) * bits // 8)

    def parameters(self, number: int) -> Iterator[Key]:
        """Yield constants that operators of a subgraph take, but shapes and indices."""
        for operator in self.opened.model.subgraphs[number].operators:
            for index in operator.inputs:
                key = number, index
                if key in self.constants and key not in self.indices:
                    yield key

    def rows(self, number: int) -> Iterator[Cost]:
        graph = self.opened.model.subgraphs[number]
        for operator in graph.operators:
            if not self._once(number, operator):
                yield self._cost(number, graph, operator)

    def _once(self, number: int, operator: TfOperator) -> bool:
        """Tell whether an operator computes with constants only: that is done once, before."""
        taken = [index for index in operator.inputs if index >= 0]
        return bool(taken) and all((number, index) in self.constants for index in taken)

    def _cost(self, number: int, graph: Subgraph, operator: TfOperator) -> Cost:
        at = _At(
            operator,
            tuple(_shape(graph, index) for index in operator.inputs),
            tuple(_shape(graph, index) for index in operator.outputs if index >= 0),
        )
        status, macs = _macs(at)
        own = {(number, i): None for i in (*operator.inputs, *operator.outputs) if i >= 0}
        parameters = [k for k in own if k in self.constants and k not in self.indices]
        weights = self._weights(number, operator) if macs else []
        return Cost(
            name=operator.label,
            op=operator.op,
            where=f"subgraph {number} {graph.name!r}" if number else "",
            status=status,
            inputs=at.inputs,
            outputs=at.outputs,
            weights=tuple(dict.fromkeys(self.stored[key] for key in weights)),
            macs=macs,
            skipped=None if macs is None else sum(self._skipped(key, macs) for key in weights),
            parameters=sum(self.elements(key) for key in parameters),
            parameter_bytes=sum(self.bytes(key) for key in parameters),
            activation_bytes=sum(self.bytes(k) for k in own if k not in self.constants),
            in_total=number == 0,
        )

    def _weights(self, number: int, operator: TfOperator) -> list[Key]:
        places = _OPERANDS.get(operator.op, (1,))
        keys = [(number, operator.inputs[i]) for i in places if i < len(operator.inputs)]
        return [key for key in keys if key in self.stored]

    def _skipped(self, key: Key, macs: int) -> int:
        """Return the MACs in which a zero of a weight takes part."""
        count = self.elements(key)
        known = min(self.zeros.get(self.stored[key], 0), count)
        return macs * known // count if count else 0

    def peak(self) -> Peak:
        """Return the most bytes that the main graph's activations take at once."""
        graph = self.opened.model.subgraphs[0]
        complete = not any(operator.op in _OPAQUE for operator in graph.operators)
        totals = [total for total, _ in self._states(graph)]
        if not totals:
            return Peak(complete=complete)
        at = max(range(len(totals)), key=lambda number: totals[number])
        alive = next(islice(self._states(graph), at, None))[1]
        return Peak(totals[at], graph.operators[at].label, self._shown(alive), complete)

    def _states(self, graph: Subgraph) -> Iterator[tuple[int, set[int]]]:
        """Yield the bytes and the tensors that are in memory while each operator runs."""
        last = self._last_uses(graph)
        alive = {i for i in graph.inputs if i in last}
        total = sum(self.bytes((0, i)) for i in alive)
        for number, operator in enumerate(graph.operators):
            new = {i for i in operator.outputs if i in last} - alive
            alive |= new
            total += sum(self.bytes((0, i)) for i in new)
            yield total, alive
            ended = {i for i in (*operator.inputs, *operator.outputs) if last.get(i, -1) <= number}
            total -= sum(self.bytes((0, i)) for i in ended & alive)
            alive -= ended

    def _last_uses(self, graph: Subgraph) -> dict[int, int]:
        """Return the number of the last operator that takes each activation."""
        last = {
            index: number
            for number, operator in enumerate(graph.operators)
            for index in operator.inputs
            if index >= 0 and (0, index) not in self.constants
        }
        return last | dict.fromkeys((i for i in graph.outputs if i >= 0), len(graph.operators))

    def _shown(self, alive: set[int]) -> tuple[tuple[str, Shape, int], ...]:
        rows = [(self.tensor((0, i)), self.bytes((0, i))) for i in alive]
        shown = [(tensor.name, tensor.shape, size) for tensor, size in rows]
        return tuple(sorted(shown, key=lambda row: (-row[2], row[0]))[:_SHOWN])

    def assumed(self) -> Iterator[str]:
        graph = self.opened.model.subgraphs[0]
        for index in graph.inputs:
            if index >= 0 and graph.tensors[index].open:
                tensor = graph.tensors[index]
                shape = "x".join(map(str, tensor.shape))
                yield f"input {tensor.name}: axes that the file leaves open taken as in {shape}"


def _shape(graph: Subgraph, index: int) -> Shape | None:
    """Return the shape of a tensor; None where there is none, or a length is negative."""
    shape = graph.tensors[index].shape if index >= 0 else (-1,)
    return None if min(shape, default=0) < 0 else shape


def _macs(at: _At) -> tuple[str, int | None]:
    op = at.operator.op
    if op in _RULES:
        try:
            return COUNTED, _RULES[op](at)
        except LookupError:
            return UNKNOWN, None
    if op in _OPAQUE or op.startswith(_FOREIGN):
        return NOT_COUNTED, None
    return FREE, 0


def _notes(rows: Sequence[Cost]) -> Iterator[str]:
    counts = Counter(row.op for row in rows if row.status == NOT_COUNTED)
    for op, times in counts.items():
        yield f"{op}: not counted ({times} operators)"
    aside = sum(not row.in_total for row in rows)
    if aside:
        yield f"{aside} operators of other subgraphs are not in the totals"
