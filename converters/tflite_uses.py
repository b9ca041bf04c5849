"""What the tensors of a .tflite are for: weights, biases, norms, indices.

Sisters: tflite_roles.py (the table of operators), dcformat/model.py (Use).
"""

from __future__ import annotations

from collections.abc import Iterator

from dcformat.axes import UNKNOWN
from dcformat.compress.reals import REALS
from dcformat.model import Use

from .tflite_roles import Slot, slots_of
from .tflite_schema import DTYPES, Subgraph, TfModel, TfOperator

Key = tuple[int, int]  #: a subgraph and a tensor of it

#: Which of several uses counts.
RANKS = {"weight": 3, "bias": 2, "norm": 2, "index": 1, "other": 0}
#: Operators behind which a parameter is still the same numbers.
_THROUGH = frozenset({"Dequantize", "Densify"})
_INTEGERS = frozenset({2, 4})  # TensorType


def uses_of(model: TfModel) -> dict[Key, Use]:
    """Return the use of each tensor that some operator takes.

    Where several take it, a weight goes before all other roles, and then the first counts.
    """
    uses: dict[Key, Use] = {}
    for number, graph in enumerate(model.subgraphs):
        given = {index: one for one in graph.operators for index in one.outputs}
        for operator in graph.operators:
            for index, use in _uses(graph, operator, given):
                known = uses.get((number, index))
                if known is None or RANKS[known.role] < RANKS[use.role]:
                    uses[number, index] = use
    return uses


def _uses(
    graph: Subgraph, operator: TfOperator, given: dict[int, TfOperator]
) -> Iterator[tuple[int, Use]]:
    slots = {slot.index: slot for slot in slots_of(operator)}
    for place, index in enumerate(operator.inputs):
        if index < 0:
            continue
        slot = slots.get(place)
        if slot is None or not _applies(graph, operator, index):
            whole = graph.tensors[index].type in _INTEGERS
            yield index, Use(operator.label, operator.op, "index" if whole else "other")
        else:
            yield source_of(index, given), _use(graph, operator, slot, index)


def _applies(graph: Subgraph, operator: TfOperator, index: int) -> bool:
    tensor = graph.tensors[index]
    real = tensor.quantization is not None or DTYPES.get(tensor.type) in REALS
    return operator.op != "Gather" or (len(tensor.shape) == 2 and real)


def _use(graph: Subgraph, operator: TfOperator, slot: Slot, index: int) -> Use:
    rank = len(graph.tensors[index].shape)
    axis, order = slot.rule(operator, rank) if slot.role == "weight" else UNKNOWN
    return Use(operator.label, operator.op, slot.role, axis, order)


def source_of(index: int, given: dict[int, TfOperator]) -> int:
    """Return the tensor whose numbers `index` has: through what only says them otherwise."""
    for _ in range(len(_THROUGH)):  # first a Densify, then a Dequantize
        operator = given.get(index)
        if operator is None or operator.op not in _THROUGH or not operator.inputs:
            break
        if operator.inputs[0] < 0:
            break
        index = operator.inputs[0]
    return index
