"""The form in which every tensor is a typed array: no decoder, and no compression.

Spec: C99 7.18 (stdint.h).    Sisters: c_header.py, c_layers.py, c_text.py, write_c.py

Layout `ohwi` is the order in which kernels walk: [C_OUT, H, W, C_IN] for a convolution,
[1, H, W, C_OUT] for a depthwise one, [out, in] for a dense layer, as CMSIS-NN takes them;
`oihw` is the source's order.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dcformat.coded import Affine, Codebook, CodedTensor, Fixed, Pow2, Raw
from dcformat.errors import ConvertError
from dcformat.ids import NUMPY, WIDTH, DType
from dcformat.model import Array
from dcformat.stored import row_axes_of

from .c_facts import Firmware, TensorFacts
from .c_header import bits_of, header, meaning, sums, tensor_block
from .c_layers import Layer, layer_declarations, layer_definitions, layer_macros
from .c_selftest import Checked, dense_declaration
from .c_style import PLACING, PLACING_STORY, Style, opening, placed, same_run, text_of
from .c_text import filled_rows, literals, unsigned

Files = dict[str, bytes]
LAYOUTS = ("ohwi", "oihw")
_TYPES = {
    "i1": "int8_t", "u1": "uint8_t", "?": "uint8_t", "<i2": "int16_t", "<u2": "uint16_t",
    "<i4": "int32_t", "<u4": "uint32_t", "<i8": "int64_t", "<u8": "uint64_t",
    "<f4": "float", "<f8": "double", "<f2": "uint16_t",
}  # fmt: skip
_NIBBLES = (-8, 7)
_WIDE = 4  #: bytes: the least alignment of an array, so that kernels may load words


@dataclass(frozen=True)
class Dense:
    """An array of C: `numbers` in the order of `axes`, two in a byte where `packed`.

    `parts` are arrays of parameters by their endings, with their types.
    """

    facts: TensorFacts
    axes: tuple[int, ...]
    packed: bool = False

    @property
    def kind(self) -> str:
        return "uint8_t" if self.packed else _TYPES[NUMPY[self.facts.number]]

    def numbers(self) -> Array:
        """Return the numbers as they stand in the array, flat."""
        tensor = self.facts.tensor
        numbers = np.transpose(tensor.numbers(), self.axes).reshape(-1)
        if self.packed:
            return _nibbles(numbers)
        if self.facts.number in (DType.FLOAT16, DType.BOOL):  # C has no such type
            return np.ascontiguousarray(numbers).view(f"<u{numbers.itemsize}")
        return np.ascontiguousarray(numbers)

    @property
    def count(self) -> int:
        size = self.facts.tensor.size
        return (size + 1) // 2 if self.packed else size

    @property
    def stored(self) -> int:
        """Bytes of flash, parameters included."""
        own = self.count * (1 if self.packed else WIDTH[self.facts.number])
        return own + sum(part.numbers.nbytes for part in self.parts())

    def parts(self) -> list[Part]:
        """Return the parameters that are not one for the whole tensor."""
        values = self.facts.values
        if isinstance(values, Raw) or values.axis is None:
            return []
        if isinstance(values, Fixed | Pow2):
            return [Part("fraction", "int8_t", values.fraction.astype(np.int8))]
        if isinstance(values, Codebook):
            return [Part("scale", "float", _floats(values.scale))]
        return _affine_parts(values)


@dataclass(frozen=True)
class Part:
    """An array of parameters: by channel, or by block in row-major order of the source."""

    ending: str
    kind: str
    numbers: npt.NDArray[Any]


def _affine_parts(values: Affine) -> list[Part]:
    parts = [Part("scale", "float", _floats(values.scale))]
    if np.any(values.zero_point):
        parts.append(Part("zero_point", "int32_t", values.zero_point.astype("<i4").reshape(-1)))
    return parts


def _floats(scale: Any) -> npt.NDArray[np.float32]:
    return np.asarray(scale, "<f4").reshape(-1)


def _nibbles(numbers: Array) -> Array:
    """Return pairs of 4-bit numbers in a byte, the first in the low half."""
    halves = numbers.astype(np.int16).astype(np.uint8) & 15
    if halves.size % 2:
        halves = np.append(halves, np.uint8(0))
    return halves[::2] | halves[1::2] << 4


def arrays_of(
    firmware: Firmware, layout: str, pack_int4: bool, depthwise: Collection[str]
) -> list[Dense]:
    """Return an array for each tensor that is not the same as an earlier one."""
    if layout not in LAYOUTS:
        raise ConvertError(f"unknown layout {layout!r}; known: {', '.join(LAYOUTS)}")
    own = [facts for facts in firmware.tensors if facts.tied is None]
    return [_array(facts, layout, pack_int4, depthwise) for facts in own]


def _array(facts: TensorFacts, layout: str, pack_int4: bool, depthwise: Collection[str]) -> Dense:
    if facts.number in (DType.COMPLEX64, DType.COMPLEX128):
        raise ConvertError("complex numbers have no dense form in C", place=facts.name)
    axes = _axes(facts.tensor, layout, facts.name in depthwise)
    return Dense(facts, axes, pack_int4 and _fits_nibbles(facts))


def _axes(tensor: CodedTensor, layout: str, depthwise: bool) -> tuple[int, ...]:
    rank = len(tensor.shape)
    if layout == "oihw" or not tensor.order:
        return tuple(range(rank))
    if depthwise and tensor.order == (0, *range(2, rank), 1) and tensor.shape[1] == 1:
        return (1, *range(2, rank), 0)
    return tensor.order


def _fits_nibbles(facts: TensorFacts) -> bool:
    """Tell whether a tensor's numbers are signed and of 4 bits."""
    spread = facts.spread
    signed = facts.number in (DType.INT8, DType.INT4, DType.INT2)
    return signed and spread is not None and _NIBBLES[0] <= spread.low <= spread.high <= _NIBBLES[1]


def compose_dense(
    firmware: Firmware,
    arrays: Sequence[Dense],
    layers: Sequence[Layer],
    path: Path,
    style: Style,
    selftest: bool,
) -> Files:
    """Return model.h, and model.c with an array for each tensor."""
    crc = zlib.crc32(firmware.data)
    source = [
        *opening(style, path.name, "the numbers of a neural network.", PLACING_STORY),
        *same_run(style, f"{path.stem}.h", crc),
        *("", *PLACING, ""),
        *(line for array in arrays for line in _definitions(style, array)),
        *layer_definitions(style, layers),
    ]
    lines = _header(style, f"{path.stem}.h", firmware, arrays, layers, selftest)
    if any(_is_infinite(array) for array in arrays):
        source.insert(source.index(f'#include "{path.stem}.h"'), "#include <math.h>")
    return {f"{path.stem}.h": text_of(lines), path.name: text_of(source)}


def _is_infinite(array: Dense) -> bool:
    numbers = array.numbers()
    return numbers.dtype.kind == "f" and bool(np.any(np.isinf(numbers)))


def _definitions(style: Style, array: Dense) -> Iterator[str]:
    """Yield the arrays of one tensor; an empty one has none, as C has no empty arrays."""
    if not array.count:
        return
    word = array.facts.word
    symbol, count = style.symbol(word), style.macro(word, "ELEMENTS")
    if array.packed:
        count = f"({count} + 1U) / 2U"
    numbers = array.numbers()
    align = max(_WIDE, numbers.itemsize)
    yield from _definition(array.facts.name, array.kind, symbol, count, align, numbers)
    for part in array.parts():
        name, size = style.symbol(word, part.ending), unsigned(part.numbers.size)
        yield from _definition(array.facts.name, part.kind, name, size, _WIDE, part.numbers)


def _definition(
    name: str, kind: str, symbol: str, count: str, align: int, numbers: Array
) -> Iterator[str]:
    yield placed(kind, symbol, count, align)
    try:
        yield from filled_rows(literals(numbers))
    except ConvertError as error:
        raise error.at(name) from None
    yield from ("};", "")


def _header(
    style: Style,
    file_name: str,
    firmware: Firmware,
    arrays: Sequence[Dense],
    layers: Sequence[Layer],
    selftest: bool,
) -> list[str]:
    numbers, _ = sums(firmware)
    size = flash_of(arrays, layers)
    what = f"{len(firmware.tensors)} tensors, {numbers} numbers in {size} bytes of flash"
    story = [f"{what}; compressed they would take {len(firmware.data)} and a decoder."]
    totals = {
        "TENSORS": (unsigned(len(firmware.tensors)), ""),
        "DATA_CRC": (f"0x{zlib.crc32(firmware.data):08x}U", "of the compressed numbers"),
        "FLASH_BYTES": (unsigned(size), "without what alignment takes: 3 bytes an array or less"),
    }
    by_index = {array.facts.index: array for array in arrays}
    declared = [line for array in arrays for line in _declarations(style, array)]
    blocks: list[str] = []
    for facts in firmware.tensors:
        array = by_index[facts.index if facts.tied is None else facts.tied]
        macros = _macros(facts, array) | layer_macros(layers, facts.name)
        blocks += _block(style, facts, array, macros)
    return header(
        style,
        file_name,
        "a neural network's numbers as arrays.",
        story,
        (),
        totals,
        firmware.tensors,
        [
            *declared,
            *layer_declarations(style, layers),
            *(dense_declaration(style) if selftest else ()),
        ],
        blocks,
    )


def flash_of(arrays: Sequence[Dense], layers: Sequence[Layer]) -> int:
    """Return the bytes of flash of all arrays."""
    return sum(array.stored for array in arrays) + sum(layer.stored for layer in layers)


def _declarations(style: Style, array: Dense) -> list[str]:
    if not array.count:
        return []
    word = array.facts.word
    count = style.macro(word, "ELEMENTS")
    size = f"({count} + 1U) / 2U" if array.packed else count
    own = f"extern const {array.kind} {style.symbol(word)}[{size}];"
    return [own] + [
        f"extern const {part.kind} {style.symbol(word, part.ending)}[{part.numbers.size}U];"
        for part in array.parts()
    ]


def _macros(facts: TensorFacts, array: Dense) -> dict[str, str]:
    shape = tuple(facts.tensor.shape[axis] for axis in array.axes)
    axes = row_axes_of(shape)
    return {
        "ELEMENTS": unsigned(facts.tensor.size),
        "ROWS": unsigned(math.prod(shape[:axes])),
        "COLUMNS": unsigned(math.prod(shape[axes:])),
        "BITS": unsigned(4 if array.packed else bits_of(facts)),
        **meaning(facts),
    }


def _block(
    style: Style, facts: TensorFacts, array: Dense, macros: Mapping[str, str]
) -> Iterator[str]:
    """Yield what there is of one tensor; one that equals an earlier one is another name of it."""
    note = ", two in a byte, the first in the low half" if array.packed else ""
    *lines, last = tensor_block(style, facts, macros, array.axes, note)
    yield from lines
    if facts.tied is not None and array.count:
        endings = [(), *((part.ending,) for part in array.parts())]
        for ending in endings:
            mine = style.symbol(facts.word, *ending)
            yield f"#define {mine} {style.symbol(array.facts.word, *ending)}"
    yield last


def checked_of(style: Style, arrays: Sequence[Dense], layers: Sequence[Layer]) -> list[Checked]:
    """Return what a self-test is to know of the arrays."""
    found = []
    for array in arrays:
        word = array.facts.word
        parts = [(style.symbol(word, part.ending), part.numbers) for part in array.parts()]
        own = [(style.symbol(word), array.numbers()), *parts] if array.count else []
        found += [Checked(style.entry(word), name, numbers) for name, numbers in own]
    for layer in layers:
        for ending, (_, values) in layer.arrays.items():
            symbol = style.symbol(layer.word, ending)
            found.append(Checked(style.entry(layer.word), symbol, values.astype("<i4")))
    return found
