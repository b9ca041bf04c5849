"""What generated C says of each tensor: shape, numbers, and what it takes in flash and RAM.

Spec: spec/DCF.md.    Sisters: c_header.py (writes it down), c_decoder.py (what decoding takes)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dcformat import decode, native
from dcformat.coded import (
    Affine,
    Codebook,
    CodedModel,
    CodedTensor,
    Fixed,
    Pow2,
    Raw,
    Values,
    expand_tensor,
)
from dcformat.decode import Opened, Record
from dcformat.encode import Progress, Settings, encode_model
from dcformat.errors import ConvertError
from dcformat.ids import WIDTH, DType
from dcformat.model import Window, windows

from .c_decoder import scratch_bytes, table_sizes

#: Types whose numbers here are bit patterns or pairs: they have no least and no greatest.
UNORDERED = {
    DType.COMPLEX64,
    DType.COMPLEX128,
    DType.BFLOAT16,
    DType.FLOAT8E4M3FN,
    DType.FLOAT8E4M3FNUZ,
    DType.FLOAT8E5M2,
    DType.FLOAT8E5M2FNUZ,
    DType.FLOAT4E2M1,
    DType.FLOAT8E8M0,
}


@dataclass(frozen=True)
class Spread:
    """The least and the greatest number, and how many are zero (or the zero point)."""

    low: float = 0
    high: float = 0
    zeros: int = 0


@dataclass(frozen=True)
class TensorFacts:
    """A tensor under the word that its symbols are made of.

    `stored` are the bytes of its payload (0 where it is tied to tensor `tied`); `tables` says how
    many Huffman tables it has, and the symbols of the longest.
    """

    index: int
    word: str
    tensor: CodedTensor
    record: Record
    spread: Spread | None
    tables: tuple[int, int]

    @property
    def name(self) -> str:
        return self.tensor.name

    @property
    def values(self) -> Values:
        return self.tensor.values

    @property
    def number(self) -> DType:
        return self.tensor.number_type()

    @property
    def rows(self) -> int:
        return self.record.head.rows

    @property
    def columns(self) -> int:
        return self.record.head.columns

    @property
    def tied(self) -> int | None:
        return None if self.record.index == self.index else self.record.index

    @property
    def stored(self) -> int:
        return 0 if self.tied is not None else self.record.head.payload_size

    @property
    def decoded(self) -> int:
        return self.tensor.size * WIDTH[self.number]

    @property
    def scratch(self) -> int:
        return scratch_bytes(*self.tables)

    @property
    def row_bytes(self) -> int:
        return self.columns * WIDTH[self.number]


@dataclass(frozen=True)
class Firmware:
    """A file for firmware, opened, and its tensors."""

    data: bytes
    opened: Opened
    tensors: tuple[TensorFacts, ...]


def firmware_file(coded: CodedModel, settings: Settings, tick: Progress | None = None) -> bytes:
    """Return `coded` as a file for firmware: no graph, no metadata, no names of any kind.

    It is decoded before it is handed out. Raises DcfError.
    """
    if not coded.tensors:
        raise ConvertError("has no tensors: there is nothing to put into firmware")
    plain = replace(settings, target="mcu", names=False, hashes=False, graph=False, metadata=False)
    data = encode_model(replace(coded, graph=None), plain, tick)
    if native.AVAILABLE:
        native.check_file(native.open_file(data))
    else:
        decode.check_file(decode.open_file(data))
    return data


def firmware_of(coded: CodedModel, data: bytes, words: Sequence[str]) -> Firmware:
    """Return the facts of a file that `firmware_file` made of `coded`."""
    opened = decode.open_file(data)
    tensors = []
    for index, (tensor, word) in enumerate(zip(coded.tensors, words, strict=True)):
        record = opened.record(index)
        tables = table_sizes(opened, record)
        tensors.append(TensorFacts(index, word, tensor, record, spread_of(tensor), tables))
    return Firmware(data, opened, tuple(tensors))


def spread_of(tensor: CodedTensor) -> Spread | None:
    """Return the spread of a tensor's numbers; None where they have no order, or there are none."""
    if tensor.number_type() in UNORDERED or not tensor.size:
        return None
    parts = [_part(tensor, window) for window in windows(tensor.shape)]
    low = min(low for low, _, _ in parts)
    high = max(high for _, high, _ in parts)
    return Spread(low, high, sum(zeros for _, _, zeros in parts))


def _part(tensor: CodedTensor, window: Window) -> tuple[float, float, int]:
    numbers: Any = tensor.numbers(window)
    finite = numbers[np.isfinite(numbers)] if numbers.dtype.kind == "f" else numbers
    zeros = numbers.size - np.count_nonzero(_meant(tensor, window, numbers))
    if not finite.size:
        return math.inf, -math.inf, int(zeros)
    return finite.min().item(), finite.max().item(), int(zeros)


def _meant(tensor: CodedTensor, window: Window, numbers: Any) -> Any:
    """Return what is zero where an element is: the numbers, or what they mean."""
    values = tensor.values
    shifted = isinstance(values, Affine) and np.any(values.zero_point)
    return expand_tensor(tensor, window) if shifted else numbers


def numbers_in_words(facts: TensorFacts) -> str:
    """Return what the numbers of a tensor are and what they mean: "int8, Q-format n = 7"."""
    kind = facts.number.name.lower()
    return f"{kind}{_meaning(facts.values)}"


def _meaning(values: Values) -> str:
    if isinstance(values, Raw):
        return ""
    if isinstance(values, Fixed):
        return ", Q-format by channel" if values.axis is not None else f", Q.{int(values.fraction)}"
    if isinstance(values, Pow2):
        which = "by channel" if values.axis is not None else f"= {int(values.fraction)}"
        return f", q for 2^(|q| - 1 - n) with the sign of q, n {which}"
    if isinstance(values, Affine):
        return f" times a scale{_each(values.axis, values.block)}"
    return _book(values)


def _book(values: Codebook) -> str:
    text = f", {len(values.levels)} levels"
    if values.fraction is not None:
        return f"{text}, Q.{values.fraction}"
    return text if values.scale is None else f"{text} times a scale{_each(values.axis, 0)}"


def _each(axis: int | None, block: int) -> str:
    if axis is None:
        return ""
    return f" for each {block} along axis {axis}" if block else f" for each index of axis {axis}"
