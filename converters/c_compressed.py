"""The forms in which a whole compressed file is in flash: as an array, or as a binary file.

Spec: spec/DCF.md.    Sisters: c_header.py, c_decoder.py, c_layers.py, write_c.py
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from dcformat.ids import WIDTH

from . import c_decoder
from .c_facts import Firmware, TensorFacts
from .c_header import bits_of, header, meaning, sums, tensor_block
from .c_layers import Layer, layer_declarations, layer_definitions, layer_macros
from .c_selftest import declaration
from .c_style import (
    PLACING,
    PLACING_STORY,
    Style,
    assert_that,
    opening,
    placed,
    same_run,
    text_of,
)
from .c_text import byte_rows, unsigned

Files = dict[str, bytes]


def compose_array(
    firmware: Firmware, layers: Sequence[Layer], path: Path, style: Style, selftest: bool
) -> Files:
    """Return model.h, and model.c with the file as an array of bytes."""
    data, size = style.symbol("data"), style.macro("DATA_BYTES")
    source = [
        *opening(style, path.name, "the numbers of a neural network, compressed.", PLACING_STORY),
        *same_run(style, f"{path.stem}.h", zlib.crc32(firmware.data)),
        *("", *PLACING, ""),
        placed("uint8_t", data, size, 16),
        *byte_rows(firmware.data),
        *("};", ""),
        *layer_definitions(style, layers),
        assert_that(style, "data", f"sizeof({data}) == {size}"),
        *_scratch_checks(style, firmware),
    ]
    return {
        f"{path.stem}.h": text_of(_header(style, path, firmware, layers, selftest)),
        path.name: text_of(source),
    }


def compose_blob(
    firmware: Firmware, layers: Sequence[Layer], path: Path, style: Style, selftest: bool
) -> Files:
    """Return model.h, model.bin, model.S that takes it in, and model.c with the checks."""
    source = [
        *opening(style, path.name, "checks of the header; the numbers are in the .S file.", ()),
        *same_run(style, f"{path.stem}.h", zlib.crc32(firmware.data)),
        *(["", *PLACING, ""] if layers else [""]),
        *layer_definitions(style, layers),
        assert_that(style, "data", f"sizeof({style.symbol('data')}) == {len(firmware.data)}U"),
        *_scratch_checks(style, firmware),
    ]
    return {
        f"{path.stem}.h": text_of(_header(style, path, firmware, layers, selftest)),
        path.name: text_of(source),
        f"{path.stem}.S": text_of(_assembly(style, path)),
        f"{path.stem}.bin": firmware.data,
    }


def _assembly(style: Style, path: Path) -> list[str]:
    """Return a source for GNU assemblers, to go through the C preprocessor."""
    binary, section, align = (
        style.macro(name) for name in ("BIN", "BIN_SECTION", "BIN_ALIGN_LOG2")
    )
    symbol = style.symbol("data")
    story = (
        f"The compiler finds {path.stem}.bin through its -I folders; or define {binary} as a path.",
        f"{section} is where it goes, {align} the log2 of its alignment.",
    )
    return [
        *opening(style, f"{path.stem}.S", "the numbers of a neural network, compressed.", story),
        *(f"#ifndef {binary}", f'#define {binary} "{path.stem}.bin"', "#endif"),
        *(f"#ifndef {section}", f"#define {section} .rodata.{symbol}", "#endif"),
        *(f"#ifndef {align}", f"#define {align} 4", "#endif"),
        "#if defined(__APPLE__)",
        *("    .const", f"    .globl _{symbol}", f"    .p2align {align}", f"_{symbol}:"),
        f"    .incbin {binary}",
        "#else",
        f'    .section {section}, "a"',
        *(f"    .globl {symbol}", f"    .type {symbol}, %object", f"    .p2align {align}"),
        *(f"{symbol}:", f"    .incbin {binary}", f"    .size {symbol}, . - {symbol}"),
        "#if defined(__linux__) && defined(__ELF__)",
        '    .section .note.GNU-stack, "", %progbits',
        "#endif",
        "#endif",
    ]


def _header(
    style: Style, path: Path, firmware: Firmware, layers: Sequence[Layer], selftest: bool
) -> list[str]:
    file_name = f"{path.stem}.h"
    numbers, plain = sums(firmware)
    bits = 8 * len(firmware.data) / numbers if numbers else 0
    size = f"decoded they take {plain} bytes, here {len(firmware.data)}"
    story = [
        f"{len(firmware.tensors)} tensors, {numbers} numbers; {size}: {bits:.2f} bits a number.",
        "The decoder is dcf.h and its source; spec/DCF.md says what is inside.",
    ]
    data = f"extern const uint8_t {style.symbol('data')}[{style.macro('DATA_BYTES')}];"
    blocks = [line for facts in firmware.tensors for line in _block(style, facts, layers)]
    return header(
        style,
        file_name,
        "a neural network's numbers, compressed.",
        story,
        c_decoder.includes(firmware.opened, file_name),
        _totals(style, firmware, layers),
        firmware.tensors,
        [data, *layer_declarations(style, layers), *(declaration(style) if selftest else ())],
        blocks,
    )


def _block(style: Style, facts: TensorFacts, layers: Sequence[Layer]) -> Iterator[str]:
    macros = _macros(facts) | layer_macros(layers, facts.name)
    return tensor_block(style, facts, macros, facts.record.head.order)


def _totals(
    style: Style, firmware: Firmware, layers: Sequence[Layer]
) -> dict[str, tuple[str, str]]:
    tensors = firmware.tensors
    flash = len(firmware.data) + sum(layer.stored for layer in layers)
    tables = max(tensors, key=lambda facts: facts.scratch).tables
    scratch = c_decoder.scratch(*tables) if tables[0] else "1U"  # an array of none is no C
    return {
        "TENSORS": (unsigned(len(tensors)), ""),
        "DATA_BYTES": (unsigned(len(firmware.data)), ""),
        "DATA_CRC": (f"0x{zlib.crc32(firmware.data):08x}U", "CRC-32 of the data"),
        "FLASH_BYTES": (unsigned(flash), "without the decoder"),
        "SCRATCH_BYTES": (scratch, "for dcf_prepare: the most for a tensor"),
        "ROW_BYTES": (unsigned(max(f.row_bytes for f in tensors)), "the longest decoded row"),
        "TENSOR_BYTES": (unsigned(max(f.decoded for f in tensors)), "the largest, decoded"),
    }


def _macros(facts: TensorFacts) -> dict[str, str]:
    return {
        "ROWS": unsigned(facts.rows),
        "COLUMNS": unsigned(facts.columns),
        "BITS": unsigned(bits_of(facts)),
        **meaning(facts),
        "STORED_BYTES": unsigned(facts.stored),
        "DECODED_BYTES": unsigned(facts.tensor.size * WIDTH[facts.number]),
        "ROW_BYTES": unsigned(facts.row_bytes),
        "SCRATCH_BYTES": c_decoder.scratch(*facts.tables),
    }


def _scratch_checks(style: Style, firmware: Firmware) -> list[str]:
    """Return checks that the largest scratch is the largest; the compiler makes them."""
    most = style.macro("SCRATCH_BYTES")
    sizes = {facts.tables: facts.word for facts in firmware.tensors if facts.scratch}
    return [
        assert_that(style, f"scratch_{word}", f"{style.macro(word, 'SCRATCH_BYTES')} <= {most}")
        for word in sizes.values()
    ]
