"""The header and the source around a compressed model: macros, tensors, checks.

Spec: spec/DCF.md.    Sisters: write_c.py, c_facts.py, c_text.py, c_decoder.py
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from dcformat.coded import Affine, Codebook, Fixed, Raw
from dcformat.ids import WIDTH

from . import c_decoder
from .c_facts import Firmware, TensorFacts, numbers_in_words
from .c_names import quoted
from .c_text import define, integer, remark, single, unsigned

#: What each tensor's word is followed by; names are chosen so that no two symbols are equal.
SUFFIXES = (
    "ROWS", "COLUMNS", "BITS", "FRACTION", "SCALE", "ZERO_POINT",
    "STORED_BYTES", "DECODED_BYTES", "ROW_BYTES", "SCRATCH_BYTES",
)  # fmt: skip
TOTALS = (
    "TENSORS", "DATA_BYTES", "DATA_CRC", "FLASH_BYTES",
    "SCRATCH_BYTES", "ROW_BYTES", "TENSOR_BYTES",
)  # fmt: skip


@dataclass(frozen=True)
class Style:
    """The prefix of symbols, and the line that says who made the file."""

    prefix: str
    maker: str

    @property
    def upper(self) -> str:
        return self.prefix.upper()

    def macro(self, *words: str) -> str:
        return "_".join((self.upper, *(word.upper() for word in words)))

    def symbol(self, *words: str) -> str:
        return "_".join((self.prefix, *words))


def symbols_of(style: Style, word: str) -> Iterator[str]:
    """Yield every symbol that is made of a tensor's word."""
    yield style.macro("T", word)
    yield from (style.macro(word, suffix) for suffix in SUFFIXES)


def own_symbols(style: Style) -> set[str]:
    """Return the symbols that belong to the model as a whole."""
    macros = {style.macro(total) for total in TOTALS}
    guards = {style.macro("H"), style.macro("DATA_HAS_ITS_SIZE")}
    return macros | guards | {style.symbol("data"), style.symbol("tensor")}


def opening(style: Style, stem: str, title: str, lines: Sequence[str]) -> list[str]:
    """Return the comment at the top of a file."""
    return [f"/* {stem}: {title}", f" * {style.maker}; do not edit.", " *",
            *(f" * {line}" for line in lines), " */"]  # fmt: skip


def header(style: Style, file_name: str, firmware: Firmware, more: Sequence[str] = ()) -> list[str]:
    """Return the lines of the header; `more` stands before its end."""
    guard = style.macro("H")
    return [
        *opening(style, file_name, "a neural network's numbers, compressed.", _story(firmware)),
        f"#ifndef {guard}",
        f"#define {guard}",
        "",
        "#include <stdint.h>",
        "",
        *c_decoder.includes(firmware.opened, file_name),
        "",
        *_totals(style, firmware),
        "",
        *_enum(style, firmware.tensors),
        "",
        "#ifdef __cplusplus",
        'extern "C" {',
        "#endif",
        "",
        f"extern const uint8_t {style.symbol('data')}[{style.macro('DATA_BYTES')}];",
        *more,
        "",
        "#ifdef __cplusplus",
        "}",
        "#endif",
        "",
        *(line for facts in firmware.tensors for line in _tensor(style, facts)),
        "#endif",
    ]


def _story(firmware: Firmware) -> list[str]:
    elements = sum(facts.tensor.size for facts in firmware.tensors)
    plain = sum(facts.decoded for facts in firmware.tensors)
    bits = 8 * len(firmware.data) / elements if elements else 0
    what = f"{len(firmware.tensors)} tensors, {elements} numbers of {plain} bytes"
    return [f"{what}, in {len(firmware.data)} bytes of flash: {bits:.2f} bits a number."]


def _totals(style: Style, firmware: Firmware) -> list[str]:
    tensors = firmware.tensors
    scratch = c_decoder.scratch(*max(tensors, key=lambda f: f.scratch).tables)
    values = {
        "TENSORS": (unsigned(len(tensors)), ""),
        "DATA_BYTES": (unsigned(len(firmware.data)), ""),
        "DATA_CRC": (f"0x{zlib.crc32(firmware.data):08x}U", "CRC-32 of the data"),
        "FLASH_BYTES": (style.macro("DATA_BYTES"), "without the decoder"),
        "SCRATCH_BYTES": (scratch, "the most for a tensor"),
        "ROW_BYTES": (unsigned(max(f.row_bytes for f in tensors)), "the longest decoded row"),
        "TENSOR_BYTES": (unsigned(max(f.decoded for f in tensors)), "the largest, decoded"),
    }
    return [define(style.macro(name), value, note) for name, (value, note) in values.items()]


def _enum(style: Style, tensors: Sequence[TensorFacts]) -> list[str]:
    entries = [f"    {style.macro('T', facts.word)} = {facts.index}" for facts in tensors]
    last = entries.pop()
    return [
        f"enum {style.symbol('tensor')} {{",
        *(f"{entry}," for entry in entries),
        last,
        "};",
    ]


def _tensor(style: Style, facts: TensorFacts) -> Iterator[str]:
    """Yield what is known of one tensor."""
    yield from remark(_described(facts))
    values = {
        "ROWS": unsigned(facts.rows),
        "COLUMNS": unsigned(facts.columns),
        "BITS": unsigned(8 * WIDTH[facts.number]),
        **meaning(facts),
        "STORED_BYTES": unsigned(facts.stored),
        "DECODED_BYTES": unsigned(facts.decoded),
        "ROW_BYTES": unsigned(facts.row_bytes),
        "SCRATCH_BYTES": c_decoder.scratch(*facts.tables),
    }
    for suffix, value in values.items():
        yield define(style.macro(facts.word, suffix), value)
    yield ""


def meaning(facts: TensorFacts) -> dict[str, str]:
    """Return the parameters of a tensor that are one for all of it."""
    values = facts.values
    if isinstance(values, Raw) or values.axis is not None:
        return {}
    if isinstance(values, Fixed):
        return {"FRACTION": integer(int(values.fraction))}
    if isinstance(values, Affine):
        point = {"ZERO_POINT": integer(int(values.zero_point))}
        return {"SCALE": single(float(values.scale)), **point}
    return _book(values)


def _book(values: Codebook) -> dict[str, str]:
    if values.fraction is not None:
        return {"FRACTION": integer(values.fraction)}
    return {} if values.scale is None else {"SCALE": single(float(values.scale))}


def _described(facts: TensorFacts) -> str:
    """Return one line on a tensor: name, type, shape, numbers, range, zeros, bits a weight."""
    tensor = facts.tensor
    shape = "x".join(map(str, tensor.shape)) or "scalar"
    parts = [f"{facts.index}: {quoted(facts.name)}, {tensor.dtype.name.lower()} {shape}"]
    if facts.record.head.order:
        parts.append(f"stored as {'x'.join(map(str, facts.record.head.stored_shape))}")
    parts.append(numbers_in_words(facts))
    if facts.spread:
        low, high = (_number(end) for end in (facts.spread.low, facts.spread.high))
        parts.append(f"{low} to {high}, {facts.spread.zeros} zeros")
    if facts.tied is not None:
        parts.append(f"the same as tensor {facts.tied}")
    elif tensor.size:
        parts.append(f"{8 * facts.stored / tensor.size:.2f} bits a number")
    return ", ".join(parts)


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{np.float64(value):.6g}"


def source_checks(style: Style, header_name: str, crc: int) -> list[str]:
    """Return the lines by which a source refuses a header of another run."""
    return [
        f'#include "{header_name}"',
        "",
        f"#if {style.macro('DATA_CRC')} != 0x{crc:08x}U",
        f'#error "{header_name} was made in another run: take both files of one run"',
        "#endif",
    ]


def assert_that(style: Style, what: str, condition: str) -> str:
    """Return a check that compilers of C99 and C++ make: an array of negative size if false."""
    return f"typedef char {style.symbol(what)}[({condition}) ? 1 : -1];"
