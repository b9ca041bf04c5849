"""All that generated C must know of the decoder in dcformat/c: the only place that does.

Sister: dcformat/c/dcf.h, from which the numbers are read
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from dcformat import decode
from dcformat.decode import Opened, Record
from dcformat.ids import WIDTH, Coder, Layout, ValuesId

FOLDER = Path(decode.__file__).parent / "c"


@cache
def _dcf_h() -> str:
    return (FOLDER / "dcf.h").read_text()


@cache
def abi() -> int:
    """Return the number that generated code and decoder must share."""
    found = re.search(r"^#define DCF_ABI (\d+)", _dcf_h(), re.MULTILINE)
    return int(found[1]) if found else 0


def includes(opened: Opened, header_name: str) -> list[str]:
    """Return the lines by which a header takes in dcf.h, and refuses one that does not fit."""
    lines = ['#include "dcf.h"']
    if not abi():
        return lines
    again = f"another version of dcf.h than {header_name} was made for"
    lines += ["", f"#if DCF_ABI != {abi()}", f'#error "{again}: run dcconvert again"', "#endif"]
    for name, used in features(opened).items():
        if used:
            switch = f"DCF_WITH_{name}"
            lines += [f"#if !{switch}", f'#error "this model needs {switch}=1"', "#endif"]
    count = len(opened.records)
    places = f"DCF_MARKS ? 256 * DCF_MARKS < {count} : DCF_TENSORS < {count}"
    return [
        *lines,
        f"#if {places}",
        f'#error "this model has {count} tensors: DCF_TENSORS"',
        "#endif",
    ]


def features(opened: Opened) -> dict[str, bool]:
    """Return which rooms and features of the decoder a file needs, by their switches."""
    heads = [record.head for record in opened.records if record.head.tied is None]
    plans = [record.plan for record in opened.records if record.plan]
    return {
        "GAP": any(h.layout == Layout.GAP for h in heads),
        "RUN": any(h.layout == Layout.RUN for h in heads),
        "PACKED": any(h.coder == Coder.PACKED for h in heads),
        "HUFFMAN": any(h.coder == Coder.HUFFMAN for h in heads),
        "CONTEXT": any(h.coder == Coder.CONTEXT for h in heads),
        "FIXED": any(h.values == ValuesId.FIXED for h in heads),
        "AFFINE": any(h.values == ValuesId.AFFINE for h in heads),
        "POW2": any(h.values == ValuesId.POW2 for h in heads),
        "CODEBOOK": any(h.values == ValuesId.CODEBOOK for h in heads),
        "SYMBOLS": any(WIDTH[plan.number] > 1 for plan in plans),
        "BLOCKS": any(h.blocks is not None for h in heads),
        "TIED": len(heads) < len(opened.records),
        "PERMUTED": any(h.order for h in heads),
    }


def table_sizes(opened: Opened, record: Record) -> tuple[int, int]:
    """Return how many Huffman tables a tensor has, and the symbols of the longest."""
    longest = max((opened.table_entries[i][2] + 1 for i in record.tables), default=0)
    return len(record.tables), longest


def scratch_bytes(tables: int, symbols: int) -> int:
    """Return the value of `scratch(tables, symbols)`."""
    each = (112 if tables > 1 else 304) + (symbols + 1 & ~1)
    return tables * each + 1 if tables else 0


def scratch(tables: int, symbols: int) -> str:
    """Return an expression for the workspace of a tensor, for `#if` too."""
    return f"DCF_WORKSPACE_BYTES({tables}, {symbols})" if tables else "0U"


def size_type() -> str:
    """Return the type of the decoder's sizes."""
    return "dcf_size" if abi() else "size_t"


def most_of(buffer: str) -> str:
    """Return how much dcf_cursor_next is to decode into an array of bytes."""
    return f"sizeof {buffer} / tensor.width" if abi() else f"sizeof {buffer}"


def decoder_files(opened: Opened) -> dict[str, bytes]:
    """Return dcf.h and dcf.c with the rooms that a file needs, and no names."""
    from dcformat import firmware  # noqa: PLC0415 - only where it is asked for

    off = [name for name, used in features(opened).items() if not used]
    texts = firmware.sources(dict.fromkeys([*off, "NAMES"], False))
    return {name: text.encode() for name, text in texts.items()}
