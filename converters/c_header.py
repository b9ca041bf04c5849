"""What a header says: totals, the enumeration, and macros and a comment for each tensor.

Spec: spec/DCF.md.    Sisters: c_compressed.py, c_dense.py (put it together), c_facts.py
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from dcformat.coded import Affine, Codebook, Fixed, Pow2, Raw
from dcformat.ids import BITS, WIDTH

from .c_facts import Firmware, TensorFacts, numbers_in_words
from .c_names import quoted
from .c_style import CPP_BEGIN, CPP_END, Style, opening
from .c_text import define, integer, remark, single


def header(
    style: Style,
    file_name: str,
    title: str,
    story: Sequence[str],
    includes: Sequence[str],
    totals: Mapping[str, tuple[str, str]],
    tensors: Sequence[TensorFacts],
    declared: Sequence[str],
    blocks: Iterable[str],
) -> list[str]:
    """Return the lines of a header; `declared` has C linkage and stands behind all macros."""
    guard = style.macro("H")
    macros = [define(style.macro(name), *value) for name, value in totals.items()]
    return [
        *opening(style, file_name, title, story),
        *(f"#ifndef {guard}", f"#define {guard}", ""),
        *("#include <stdint.h>", ""),
        *([*includes, ""] if includes else []),
        *(*macros, ""),
        *(*_enumeration(style, tensors), ""),
        *blocks,
        *(*CPP_BEGIN, ""),
        *(*declared, ""),
        *(*CPP_END, ""),
        "#endif",
    ]


def _enumeration(style: Style, tensors: Sequence[TensorFacts]) -> list[str]:
    entries = [f"    {style.entry(facts.word)} = {facts.index}" for facts in tensors]
    *others, last = entries
    return [f"enum {style.symbol('tensor')} {{", *(f"{entry}," for entry in others), last, "};"]


def tensor_block(
    style: Style,
    facts: TensorFacts,
    macros: Mapping[str, str],
    axes: Sequence[int],
    note: str = "",
) -> Iterator[str]:
    """Yield the comment on one tensor, whose axes stand in this order, and its macros."""
    yield from remark(_described(facts, axes) + note)
    for ending, value in macros.items():
        yield define(style.macro(facts.word, ending), value)
    yield ""


def meaning(facts: TensorFacts) -> dict[str, str]:
    """Return macros for the parameters of a tensor that are one for all of it."""
    values = facts.values
    if isinstance(values, Raw) or values.axis is not None:
        return {}
    if isinstance(values, Fixed | Pow2):
        return {"FRACTION": integer(int(values.fraction))}
    if isinstance(values, Affine):
        point = {"ZERO_POINT": integer(int(values.zero_point))}
        return {"SCALE": single(float(values.scale)), **point}
    return _book(values)


def _book(values: Codebook) -> dict[str, str]:
    if values.fraction is not None:
        return {"FRACTION": integer(values.fraction)}
    return {} if values.scale is None else {"SCALE": single(float(values.scale))}


def bits_of(facts: TensorFacts) -> int:
    """Return the bits of a number: 4 and 2 for the types that have no more."""
    return min(BITS[facts.number], 8 * WIDTH[facts.number])


def _described(facts: TensorFacts, axes: Sequence[int]) -> str:
    """Return a line on a tensor: name, type, shape, numbers, range, zeros, bits a number."""
    tensor = facts.tensor
    shape = "x".join(map(str, tensor.shape)) or "scalar"
    parts = [f"{facts.index}: {quoted(facts.name)}, {tensor.dtype.name.lower()} {shape}"]
    if list(axes) != sorted(axes):
        parts.append(f"as {'x'.join(str(tensor.shape[axis]) for axis in axes)}")
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


def sums(firmware: Firmware) -> tuple[int, int]:
    """Return how many numbers all tensors have, and the bytes that they take decoded."""
    own = [facts for facts in firmware.tensors if facts.tied is None]
    return sum(facts.tensor.size for facts in own), sum(facts.decoded for facts in own)
