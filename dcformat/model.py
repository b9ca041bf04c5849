"""A trained network as dense numbers plus an opaque graph: what readers give and writers take."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from .ids import DType, Meta

Array = npt.NDArray[np.generic]
PIECE = 1 << 18  #: elements that are worked on at once, where a tensor can be cut
LARGE = 6 << 20  #: elements of a window where one call into C does all there is to do with it
Window = tuple[slice, ...]  #: a slice of each of the first axes


def windows(
    shape: tuple[int, ...], axis: int | None = None, most: int | None = None
) -> Iterator[Window]:
    """Yield windows of about `most` elements (PIECE) that make up a tensor of `shape`.

    They are cut along `axis`; without it, in row-major order and by the outer axes first.
    """
    most = PIECE if most is None else most
    if not shape:
        yield ()
        return
    if axis is None and math.prod(shape) <= most:
        if shape[0]:
            yield (slice(0, shape[0]),)
        return
    if axis is None:
        cut = next((a for a in range(len(shape)) if math.prod(shape[a + 1 :]) <= most), 0)
    else:
        cut = axis
    outer = shape[:cut] if axis is None else ()
    around = shape[cut + 1 :] if axis is None else shape[:cut] + shape[cut + 1 :]
    step = max(1, most // max(1, math.prod(around)))
    whole = () if axis is None else (slice(None),) * cut
    for index in np.ndindex(*outer):
        first = tuple(slice(i, i + 1) for i in index) + whole
        for start in range(0, shape[cut], step):
            yield (*first, slice(start, min(start + step, shape[cut])))


@dataclass(frozen=True, eq=False)
class Tensor:
    """A named constant of the network.

    `data` has the logical shape and the NumPy type `ids.NUMPY[dtype]`: native where NumPy has
    the type, bit patterns where not (bfloat16, float8), and one element a byte for 4- and 2-bit
    types. Its bits are those of the source: NaN payloads and -0.0 are kept.
    """

    name: str
    dtype: DType
    data: Array

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(int(n) for n in self.data.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    def piece(self, window: Window) -> Array:
        """Return `data[window]`."""
        return np.asarray(self.data[window])


class LazyTensor(Tensor):
    """A tensor whose numbers are read where they lie, again each time they are asked for.

    `read(window)` returns `data[window]` as a new array; `read(())` returns all of it. Models
    larger than memory are made of such tensors.
    """

    def __init__(
        self, name: str, dtype: DType, shape: tuple[int, ...], read: Callable[[Window], Array]
    ) -> None:
        for key, value in (("name", name), ("dtype", dtype), ("_shape", shape), ("_read", read)):
            object.__setattr__(self, key, value)

    @property
    def shape(self) -> tuple[int, ...]:
        shape: tuple[int, ...] = vars(self)["_shape"]
        return shape

    @property
    def data(self) -> Array:
        return self.piece(())

    def piece(self, window: Window) -> Array:
        read: Callable[[Window], Array] = vars(self)["_read"]
        return read(window)

    def __repr__(self) -> str:
        return f"LazyTensor({self.name!r}, {self.dtype.name}, {self.shape})"


@dataclass(frozen=True, eq=False)
class Scales:
    """What integers mean: a number q stands for float32(q - zero_point) * scale.

    Without `axis` both have shape (), with it (shape[axis],); `scale` is float32, finite and
    positive, `zero_point` int32 and in the range of the integers.
    """

    scale: npt.NDArray[np.float32]
    zero_point: npt.NDArray[np.int32]
    axis: int | None = None


@dataclass(frozen=True)
class Use:
    """How the graph uses a tensor; what the compressor needs to know of it.

    `role` is "weight" (quantized by the lossy presets), "bias", "norm", "index" (an integer
    that shapes or addresses something) or "other". `out_axis` is the axis of the output
    channels. `order` is the axis order in which kernels walk the tensor, output channel first
    (OHWI for convolutions, [out, in] for dense layers); None where it is the logical one. `layer`
    is the node whose output a bias is added to, where that is another one.
    """

    node: str
    op: str
    role: str
    out_axis: int | None = None
    order: tuple[int, ...] | None = None
    layer: str = ""


@dataclass(frozen=True)
class Feed:
    """A layer whose output goes to one other layer and nowhere else, channel by channel.

    What is between the two keeps positive factors of channels, as a ReLU does. `first` and `second`
    name the weights, `bias` the first layer's bias, None if it has none; `out_axis` of `first` and
    `in_axis` of `second` count the channels between them.
    """

    first: str
    bias: str | None
    second: str
    out_axis: int
    in_axis: int


@dataclass(frozen=True)
class Graph:
    """The source's graph with its weights cut out; `data` is the content of section GRAPH."""

    format: int
    data: bytes


@dataclass(frozen=True)
class LayerFormat:
    """Fixed-point formats of one layer (spec/DCF.md, section FIXED).

    Fractions are the n of Qm.n; `shift` is what an accumulator is shifted right by to give the
    output, `bias_shift` what a bias is shifted left by to fit the accumulator.
    """

    name: str
    weight: str | None
    bias: str | None
    input_fraction: int
    input_bits: int
    weight_fraction: int
    weight_bits: int
    bias_fraction: int
    bias_bits: int
    output_fraction: int
    output_bits: int
    rounding: int = 0

    @property
    def shift(self) -> int:
        return self.input_fraction + self.weight_fraction - self.output_fraction

    @property
    def bias_shift(self) -> int:
        return self.input_fraction + self.weight_fraction - self.bias_fraction


@dataclass(frozen=True)
class Source:
    """Where a model was read from: sizes and digest, never a path."""

    format: str = ""
    file_bytes: int = 0
    sha256: bytes = b""


@dataclass(frozen=True, eq=False)
class Model:
    """Tensors in the source's order, the graph they were cut from, and how it uses them.

    `files` are those beside the source in which some of its numbers are; no output may be one.
    `ties` are names that are other names of an earlier tensor, each with that tensor's name.
    `scales` are those of tensors of integers that stand for real numbers.
    `feeds` are the pairs of layers between which factors of channels can be moved, in the order of
    the graph.
    """

    tensors: tuple[Tensor, ...] = ()
    graph: Graph | None = None
    uses: Mapping[str, Use] = field(default_factory=dict)
    source: Source = field(default_factory=Source)
    metadata: Mapping[Meta, bytes] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()
    ties: Mapping[str, str] = field(default_factory=dict)
    scales: Mapping[str, Scales] = field(default_factory=dict)
    feeds: tuple[Feed, ...] = ()

    def __getitem__(self, name: str) -> Tensor:
        for tensor in self.tensors:
            if tensor.name == name:
                return tensor
        raise KeyError(name)
