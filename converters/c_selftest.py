"""A function of C that says whether every tensor on the device is what was written.

Spec: spec/DCF.md (numbers_crc).    Sisters: c_compressed.py, c_dense.py
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dcformat.model import Array

from . import c_decoder
from .c_style import Style, opening, text_of
from .c_text import remark

Files = dict[str, bytes]

_COMPRESSED = """\
int32_t {selftest}(void *scratch, {size} bytes)
{{
    dcf_model model;
    dcf_tensor tensor;
    dcf_cursor cursor;
    uint8_t piece[64];
    {size} got;
    uint32_t crc;
    uint32_t i;
    if (dcf_open(&model, {data}, {macro}_DATA_BYTES) != DCF_OK) {{
        return (int32_t){macro}_TENSORS;
    }}
    for (i = 0; i < {macro}_TENSORS; i++) {{
        if (dcf_tensor_at(&model, i, &tensor) != DCF_OK
            || dcf_prepare(&tensor, scratch, bytes) != DCF_OK
            || dcf_cursor_init(&cursor, &tensor, 0) != DCF_OK) {{
            return (int32_t)i;
        }}
        crc = 0;
        do {{
            if (dcf_cursor_next(&cursor, piece, {most}, &got) != DCF_OK) {{
                return (int32_t)i;
            }}
            crc = dcf_crc(crc, piece, got * tensor.width);
        }} while (got != 0);
        if (crc != tensor.crc) {{
            return (int32_t)i;
        }}
    }}
    return -1;
}}
"""
_DENSE = """\
#ifndef DCF_READ8
#define DCF_READ8(p) (*(const uint8_t *)(p))
#endif

/* CRC-32 of zlib over the numbers, little-endian wherever this runs. */
static int differs(const void *array, uint32_t count, uint32_t width, uint32_t crc)
{
    const uint16_t one = 1;
    const uint8_t *bytes = (const uint8_t *)array;
    const uint32_t swap = *(const uint8_t *)&one == 1 ? 0U : width - 1U;
    uint32_t found = 0xffffffffU;
    uint32_t i;
    int bit;
    for (i = 0; i < count * width; i++) {
        found ^= (uint32_t)DCF_READ8(bytes + (i ^ swap));
        for (bit = 0; bit < 8; bit++) {
            found = (found >> 1) ^ (0xedb88320U & (0U - (found & 1U)));
        }
    }
    return (found ^ 0xffffffffU) != crc;
}
"""


@dataclass(frozen=True)
class Checked:
    """An array `symbol` of the tensor that `entry` stands for."""

    entry: str
    symbol: str
    numbers: Array


def declaration(style: Style) -> list[str]:
    """Return the declaration of the function that decodes."""
    what = (
        "Decode every tensor and compare its CRC. Returns -1, or the index of the first tensor"
        f" that fails; {style.macro('TENSORS')} where the data cannot be opened at all."
        f" `scratch` has {style.macro('SCRATCH_BYTES')} bytes; the decoder's three structures are"
        " on the stack."
    )
    size = c_decoder.size_type()
    return ["", *remark(what), f"int32_t {style.symbol('selftest')}(void *scratch, {size} bytes);"]


def dense_declaration(style: Style) -> list[str]:
    """Return the declaration of the function that reads arrays."""
    what = (
        "Compare the CRC of every array. Returns -1, or the index of the first tensor that fails."
    )
    return ["", *remark(what), f"int32_t {style.symbol('selftest')}(void);"]


def selftest_file(style: Style, path: Path) -> Files:
    """Return model_selftest.c for a compressed model."""
    body = _COMPRESSED.format(
        selftest=style.symbol("selftest"),
        data=style.symbol("data"),
        macro=style.prefix.upper(),
        size=c_decoder.size_type(),
        most=c_decoder.most_of("piece"),
    )
    return _file(style, path, body.splitlines())


def dense_selftest_file(style: Style, path: Path, arrays: Sequence[Checked]) -> Files:
    """Return model_selftest.c for arrays."""
    checks = []
    for one in arrays:
        plain = np.ascontiguousarray(one.numbers)
        crc, width = zlib.crc32(plain.tobytes()), plain.itemsize
        call = f"differs({one.symbol}, {plain.size}U, {width}U, 0x{crc:08x}U)"
        checks += [f"    if ({call}) {{", f"        return (int32_t){one.entry};", "    }"]
    lines = [*_DENSE.splitlines(), "", f"int32_t {style.symbol('selftest')}(void)", "{"]
    return _file(style, path, [*lines, *checks, "    return -1;", "}"])


def _file(style: Style, path: Path, lines: Sequence[str]) -> Files:
    name = f"{path.stem}_selftest.c"
    head = opening(style, name, "are the numbers on this device what was written?", ())
    return {name: text_of([*head, f'#include "{path.stem}.h"', "", *lines])}
