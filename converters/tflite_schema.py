"""What a .tflite file says, as plain values: buffers, tensors, operators.

Schema: tensorflow/lite/schema/schema.fbs, version 3, identifier TFL3; the numbers below are the
positions of fields and members of enums there. Sister: tflite_tables.py (FlatBuffers).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from dcformat.errors import ConvertError
from dcformat.ids import DType

from .tflite_operators import CUSTOM, OPERATORS, UNKNOWN
from .tflite_tables import Bytes, Source, Table

IDENTIFIER = b"TFL3"
_VERSION = 3
#: By TensorType; what is missing (STRING, RESOURCE, VARIANT) holds no numbers.
DTYPES = {
    0: DType.FLOAT,
    1: DType.FLOAT16,
    2: DType.INT32,
    3: DType.UINT8,
    4: DType.INT64,
    6: DType.BOOL,
    7: DType.INT16,
    8: DType.COMPLEX64,
    9: DType.INT8,
    10: DType.DOUBLE,
    11: DType.COMPLEX128,
    12: DType.UINT64,
    15: DType.UINT32,
    16: DType.UINT16,
    17: DType.INT4,
    18: DType.BFLOAT16,
    19: DType.INT2,
    20: DType.UINT4,
    21: DType.FLOAT8E4M3FN,
    22: DType.FLOAT8E5M2,
}
_CUSTOM = 32
#: Fields of a convolution's options where dilations begin, width first.
_DILATIONS = {"Conv2D": 4, "DepthwiseConv2D": 5}


@dataclass(frozen=True)
class Region:
    """Bytes of the file."""

    start: int
    size: int

    @property
    def end(self) -> int:
        return self.start + self.size


@dataclass(frozen=True, eq=False)
class Quantization:
    """What integers mean: scales and zero points, of one or of each index of `axis`."""

    scale: npt.NDArray[np.float32]
    zero_point: npt.NDArray[np.int64]
    axis: int


@dataclass(frozen=True, eq=False)
class TfTensor:
    """A tensor of a subgraph; `open` are the axes whose length the file leaves open."""

    name: str
    type: int
    shape: tuple[int, ...]
    buffer: int
    quantization: Quantization | None
    sparse: bool
    open: tuple[int, ...]


@dataclass(frozen=True)
class Strides:
    """How a convolution goes over its input, height first; `same`: padded to keep the size."""

    same: bool
    steps: tuple[int, int]
    dilations: tuple[int, int]


@dataclass(frozen=True)
class TfOperator:
    """An operator by name; -1 in `inputs` is one that is left out.

    `turned` are BatchMatMul's, `axis` is Gather's, `strides` are convolutions'.
    """

    op: str
    label: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    turned: tuple[bool, bool] = (False, False)
    axis: int = 0
    strides: Strides | None = None


@dataclass(frozen=True)
class Subgraph:
    """Tensors by index, and operators in the order in which they run."""

    name: str
    tensors: tuple[TfTensor, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    operators: tuple[TfOperator, ...]


@dataclass(frozen=True)
class TfModel:
    """All of a file but the numbers; `metadata` are buffers that are not (only) tensors'."""

    buffers: tuple[Region, ...]
    subgraphs: tuple[Subgraph, ...]
    metadata: frozenset[int] = field(default_factory=frozenset)


def parse(source: Source) -> TfModel:
    """Return what the file says. Raises ConvertError naming the table that is wrong."""
    file = Bytes(source)
    if file.take(4, 4, "the header") != IDENTIFIER:
        raise ConvertError("it has not the identifier TFL3")
    root = file.root("the model")
    version = root.scalar(0, 4)
    if version != _VERSION:
        raise ConvertError(f"schema version {version}, not {_VERSION}")
    names = [_operator_name(code) for code in root.tables(1, "operator code")]
    buffers = tuple(_buffer(table) for table in root.tables(4, "buffer"))
    subgraphs = tuple(
        _subgraph(table, number, names) for number, table in enumerate(root.tables(2, "subgraph"))
    )
    if not subgraphs:
        raise ConvertError("it has no graph")
    of_metadata = {table.scalar(1, 4) for table in root.tables(6, "metadata")}
    model = TfModel(buffers, subgraphs, frozenset(of_metadata | set(root.ints(5))))
    _check_indices(model)
    return model


def _operator_name(table: Table) -> str:
    # Files of before 2020 have the old field only; those of today have both, or the new one.
    code = max(table.scalar(0, 1), table.scalar(3, 4))
    if code == _CUSTOM:
        return f"{CUSTOM} {table.text(1)}"
    return OPERATORS[code] if 0 <= code < len(OPERATORS) else f"{UNKNOWN} {code}"


def _buffer(table: Table) -> Region:
    """Return where the data is: in a vector, or behind the FlatBuffer in files above 2 GiB."""
    span = table.vector(0, 1)
    start, size = table.scalar(1, 8), table.scalar(2, 8)
    if span is not None and span.count:
        return Region(span.start, span.count)
    if start <= 1 or not size:  # 1 stands for an offset that is not known yet
        return Region(0, 0)
    table.file.need(start, size, table.what)
    return Region(start, size)


def _subgraph(table: Table, number: int, names: list[str]) -> Subgraph:
    prefix = f"subgraph{number}/" if number else ""
    operators = table.tables(3, "operator")
    return Subgraph(
        table.text(4),
        tuple(_tensor(tensor) for tensor in table.tables(0, "tensor")),
        table.ints(1),
        table.ints(2),
        tuple(_operator(one, prefix, index, names) for index, one in enumerate(operators)),
    )


def _tensor(table: Table) -> TfTensor:
    quantization = table.table(4, "quantization")
    signature = table.ints(7)
    return TfTensor(
        table.text(3),
        table.scalar(1, 1),
        table.ints(0),
        table.scalar(2, 4) & 0xFFFFFFFF,
        None if quantization is None else _quantization(quantization),
        table.table(6, "sparsity") is not None,
        tuple(axis for axis, length in enumerate(signature) if length < 0),
    )


def _quantization(table: Table) -> Quantization | None:
    scale, points = table.numbers(2, "<f4"), table.numbers(3, "<i8")
    if scale is None or not scale.size:
        return None
    if points is None or not points.size:
        points = np.zeros(scale.size, "<i8")
    return Quantization(scale.astype(np.float32), points.astype(np.int64), table.scalar(6, 4))


def _operator(table: Table, prefix: str, index: int, names: list[str]) -> TfOperator:
    code = table.scalar(0, 4)
    if not 0 <= code < len(names):
        raise ConvertError(f"{table.what}: there is no operator code {code}")
    name = names[code]
    turned, axis = (False, False), 0
    if name in ("BatchMatMul", "Gather"):
        options = table.table(4, "options")
        if options is not None and name == "Gather":
            axis = options.scalar(0, 4)
        elif options is not None:
            turned = bool(options.scalar(0, 1)), bool(options.scalar(1, 1))
    label = f"{prefix}{name}_{index}"
    return TfOperator(
        name, label, table.ints(1), table.ints(2), turned, axis, _strides(table, name)
    )


def _strides(table: Table, name: str) -> Strides | None:
    """Return the strides of a convolution of two axes, None of what has none."""
    first = _DILATIONS.get(name)
    options = table.table(4, "options") if first is not None else None
    if options is None or first is None:
        return None
    steps = options.scalar(2, 4), options.scalar(1, 4)
    dilations = options.scalar(first + 1, 4) or 1, options.scalar(first, 4) or 1
    if min(steps + dilations) < 1:
        return None
    return Strides(options.scalar(0, 1) == 0, steps, dilations)


def _check_indices(model: TfModel) -> None:
    for number, graph in enumerate(model.subgraphs):
        for place, indices in _indices(graph):
            if any(not -1 <= index < len(graph.tensors) for index in indices):
                raise ConvertError(f"subgraph {number} / {place}: a tensor that is not there")
        for index, tensor in enumerate(graph.tensors):
            if tensor.buffer >= len(model.buffers):
                place = f"subgraph {number} / tensor {index}"
                raise ConvertError(f"{place}: there is no buffer {tensor.buffer}")


def _indices(graph: Subgraph) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield "inputs", graph.inputs
    yield "outputs", graph.outputs
    for operator in graph.operators:
        yield operator.label, (*operator.inputs, *operator.outputs)
