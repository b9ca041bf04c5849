"""The lossless line: what stands here is written and read back exactly.

Everything before a `CodedModel` chose numbers and is judged by accuracy; everything after it
writes numbers and is judged by equality: `decode(encode(coded)) == coded`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar, Union

import numpy as np
import numpy.typing as npt

from .ids import NUMPY, DType, Meta
from .model import Array, Graph, LayerFormat, Model, Source, Tensor, Window

F32 = npt.NDArray[np.float32]
I32 = npt.NDArray[np.int32]
_Numbers = TypeVar("_Numbers", F32, I32)


@dataclass(frozen=True)
class Raw:
    """A symbol is the element itself (spec/encodings/values_raw.md)."""


@dataclass(frozen=True, eq=False)
class Fixed:
    """Qm.n: a symbol q means q * 2**-n (spec/encodings/values_fixed.md).

    `number` is INT8 or INT16; `fraction` is int32 of shape () or, with `axis`, (dims[axis],).
    """

    number: DType
    fraction: I32
    axis: int | None = None


@dataclass(frozen=True, eq=False)
class Pow2:
    """A symbol q means 0, or sign(q) * 2**(abs(q) - 1 - n) (spec/encodings/values_pow2.md).

    `fraction` n is int32 of shape () or, with `axis`, (dims[axis],). Numbers are INT8.
    """

    fraction: I32
    axis: int | None = None

    @property
    def number(self) -> DType:
        return DType.INT8


@dataclass(frozen=True, eq=False)
class Affine:
    """A symbol q means float32(q - zero_point) * scale (spec/encodings/values_affine.md).

    `number` is INT8, UINT8, INT16 or UINT16. Without `axis`, `scale` and `zero_point` have
    shape (); with it (dims[axis],); with `block` > 0 they have the tensor's shape, where
    dims[axis] is replaced by ceil(dims[axis] / block).
    """

    number: DType
    scale: F32
    zero_point: I32
    axis: int | None = None
    block: int = 0


@dataclass(frozen=True, eq=False)
class Codebook:
    """A symbol is an index into `levels` (spec/encodings/values_codebook.md).

    `levels` has 1 to 256 entries of NumPy type NUMPY[level]. With neither `scale` nor
    `fraction` the level is the element, and `level` is the tensor's dtype. With `scale`
    (float32, shape () or, with `axis`, (dims[axis],)) or `fraction` the levels are INT8 or
    INT16 numbers q that mean q * scale or q * 2**-fraction.
    """

    level: DType
    levels: Array
    scale: F32 | None = None
    axis: int | None = None
    fraction: int | None = None


Values = Union[Raw, Fixed, Affine, Codebook, Pow2]


@dataclass(frozen=True, eq=False)
class CodedTensor:
    """One tensor as symbols and the table of what they mean.

    `symbols` has the logical shape: NUMPY[dtype] for Raw, NUMPY[number] for Fixed, Affine and Pow2,
    uint8 indices for Codebook. `order` is the axis order that kernels want, a hint for the
    encoder that is not part of the value. `exact` says that no number was changed.
    """

    name: str
    dtype: DType
    symbols: Array
    values: Values
    order: tuple[int, ...] | None = None
    exact: bool = True

    @property
    def shape(self) -> tuple[int, ...]:
        return self.symbols.shape

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    def piece(self, window: Window) -> Array:
        """Return `symbols[window]`."""
        return np.asarray(self.symbols[window])

    def numbers(self, window: Window = ()) -> Array:
        """Return the decoded numbers, or those in `window`: what stands before any scale."""
        return numbers_of(self.piece(window), self.values)

    def number_type(self) -> DType:
        """Return the type of `numbers()`."""
        if isinstance(self.values, Raw):
            return self.dtype
        if isinstance(self.values, Codebook):
            return self.values.level
        return self.values.number

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, CodedTensor):
            return NotImplemented
        return (
            (self.name, self.dtype, self.shape) == (other.name, other.dtype, other.shape)
            and same_bits(self.symbols, other.symbols)
            and same_values(self.values, other.values)
        )

    __hash__ = None  # type: ignore[assignment]


class LazyCoded(CodedTensor):
    """A coded tensor whose symbols are found again each time they are asked for.

    `read(window)` returns `symbols[window]` as a new array; `read(())` returns all of it.
    """

    def __init__(
        self,
        name: str,
        dtype: DType,
        shape: tuple[int, ...],
        read: Callable[[Window], Array],
        values: Values,
        order: tuple[int, ...] | None = None,
        exact: bool = True,
    ) -> None:
        own = {"name": name, "dtype": dtype, "values": values, "order": order, "exact": exact}
        for key, value in {**own, "_shape": shape, "_read": read}.items():
            object.__setattr__(self, key, value)

    @property
    def shape(self) -> tuple[int, ...]:
        shape: tuple[int, ...] = vars(self)["_shape"]
        return shape

    @property
    def symbols(self) -> Array:
        return self.piece(())

    def piece(self, window: Window) -> Array:
        read: Callable[[Window], Array] = vars(self)["_read"]
        return read(window)

    def __repr__(self) -> str:
        return f"LazyCoded({self.name!r}, {self.dtype.name}, {self.shape})"


@dataclass(frozen=True, eq=False)
class CodedModel:
    """Coded tensors in the source's order, and what travels with them; `files` as in Model."""

    tensors: tuple[CodedTensor, ...] = ()
    graph: Graph | None = None
    layers: tuple[LayerFormat, ...] = ()
    metadata: Mapping[Meta, bytes] = field(default_factory=dict)
    source: Source = field(default_factory=Source)
    files: tuple[Path, ...] = ()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, CodedModel):
            return NotImplemented
        return (
            self.tensors == other.tensors
            and self.graph == other.graph
            and self.layers == other.layers
        )

    __hash__ = None  # type: ignore[assignment]


def numbers_of(symbols: Array, values: Values) -> Array:
    """Return what stands before any scale: levels of a codebook, else the symbols themselves."""
    if isinstance(values, Codebook):
        return np.asarray(values.levels[symbols])
    return symbols


def same_bits(a: Array, b: Array) -> bool:
    """Tell whether two arrays have one type, one shape and the same bits (NaN included)."""
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def same_values(a: Values, b: Values) -> bool:
    """Tell whether two values descriptions are the same to the bit."""
    if type(a) is not type(b):
        return False
    for key, mine in vars(a).items():
        theirs = getattr(b, key)
        if isinstance(mine, np.ndarray) and isinstance(theirs, np.ndarray):
            if not same_bits(mine, theirs):
                return False
        elif mine is not theirs and mine != theirs:
            return False
    return True


def expand_tensor(tensor: CodedTensor, window: Window = ()) -> Array:
    """Return the elements of `tensor`, or those in `window`: scaled, in its logical dtype.

    Dequantization is one float32 operation (spec/DCF.md, "Dequantization"), then one conversion
    to the logical type, so that every decoder gives the same bits.
    """
    return expand_numbers(tensor.numbers(window), tensor.values, tensor.dtype, tensor.shape, window)


def expand_numbers(
    numbers: Array, values: Values, dtype: DType, shape: tuple[int, ...], window: Window = ()
) -> Array:
    """Return what `numbers` mean, which are those in `window` of a tensor of `shape`."""
    if isinstance(values, Raw):
        return numbers
    if isinstance(values, Codebook) and values.scale is None and values.fraction is None:
        return numbers
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):  # as the page has it
        spread = _Spread(shape, window, values.axis)
        return _from_float32(_scaled(numbers, values, spread), dtype)


def _scaled(numbers: Array, values: Fixed | Affine | Codebook | Pow2, spread: _Spread) -> F32:
    """Return what `numbers` mean in float32."""
    if isinstance(values, Pow2):
        shifts = np.abs(numbers.astype(np.int32)) - 1 - spread.over(values.fraction)
        return np.asarray(np.ldexp(np.sign(numbers.astype(np.float32)), shifts), np.float32)
    real: F32 = numbers.astype(np.float32)
    if isinstance(values, Affine):
        real -= spread.over(values.zero_point.astype(np.float32), values.block)
        real *= spread.over(values.scale, values.block)
        return real
    if values.fraction is not None:
        lengths = spread.over(-np.asarray(values.fraction, np.int32))
        return np.asarray(np.ldexp(real, lengths), np.float32)
    if isinstance(values, Codebook) and values.scale is not None:
        real *= spread.over(values.scale)
    return real


@dataclass(frozen=True)
class _Spread:
    """How parameters of a tensor of `shape` lie over a window of it."""

    shape: tuple[int, ...]
    window: Window
    axis: int | None

    def over(self, param: _Numbers, block: int = 0) -> _Numbers:
        """Return `param` in a shape that broadcasts over the window."""
        if self.axis is None:
            return param
        if not block:
            shape = [-1 if i == self.axis else 1 for i in range(len(self.shape))]
            spread = param.reshape(shape)
            return spread[tuple(cut if i == self.axis else slice(None) for i, cut in self._cuts)]
        index = np.arange(self.shape[self.axis]) // block
        return param.take(index, axis=self.axis)[self.window]

    @property
    def _cuts(self) -> list[tuple[int, slice]]:
        return list(enumerate(self.window))


def _from_float32(real: F32, dtype: DType) -> Array:
    """Round float32 to `dtype`, to nearest, ties to even."""
    if dtype is DType.BFLOAT16:
        bits = real.view(np.uint32).astype(np.uint64)
        rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
        return np.where(np.isnan(real), 0x7FC0, rounded).astype("<u2")
    return real.astype(NUMPY[dtype])


def expand(coded: CodedModel) -> Model:
    """Return `coded` as dense numbers in the logical types, with its graph.

    Tensors that hold the same symbols share the numbers.
    """
    arrays: dict[tuple[int, int, int], Array] = {}
    tensors = []
    for tensor in coded.tensors:
        if isinstance(tensor, LazyCoded):  # its symbols are made anew each time
            tensors.append(Tensor(tensor.name, tensor.dtype, expand_tensor(tensor)))
            continue
        key = id(tensor.symbols), id(tensor.values), int(tensor.dtype)
        if key not in arrays:
            arrays[key] = expand_tensor(tensor)
        tensors.append(Tensor(tensor.name, tensor.dtype, arrays[key]))
    return Model(tuple(tensors), coded.graph, source=coded.source, metadata=dict(coded.metadata))
