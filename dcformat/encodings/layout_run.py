"""Run layout: runs of the background as two extra symbols, bijective base 2.

Spec: spec/encodings/layout_run.md    C: dcformat/c/dcf_layout_run.c
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..errors import Code, error_of
from ..fields import Fields
from .parts import Items, Plan, Planes, Reader

MAX_ALPHABET = 254


@dataclass(frozen=True)
class Run:
    """The background symbol."""

    background: int


def read_params(fields: Fields) -> Run:
    """Return the parameters of a record."""
    background = fields.u16()
    fields.need(fields.u16() == 0, "reserved field", Code.PADDING)
    return Run(background)


def check_params(fields: Fields, params: Run, plan: Plan) -> None:
    """Check that an element has one symbol of at most 254, the background among them."""
    fields.need(plan.width == 1 and plan.alphabets[0] <= MAX_ALPHABET, "alphabet for runs")
    fields.need(params.background < plan.alphabets[0], f"background {params.background}")


def write_params(params: Run) -> bytes:
    """Return the parameters of a record."""
    return struct.pack("<HH", params.background, 0)


def alphabets(params: Run, plan: Plan) -> tuple[int, ...]:
    """Return the alphabet of the one stream: values and two run digits."""
    return (plan.alphabets[0] + 2,)


def encode(planes: Planes, ends: npt.NDArray[np.int64], params: Run, alphabet: int = 0) -> Items:
    """Return the items of `planes` (n, 1), run digits from `alphabet`; `ends` counts elements."""
    symbols = planes[:, 0].astype(np.int64)
    background = symbols == params.background
    block = np.repeat(np.arange(len(ends)), np.diff(ends, prepend=0))
    starts = background.copy()
    starts[1:] &= ~(background[:-1] & (block[1:] == block[:-1]))
    heads = np.flatnonzero(starts | ~background)  # one head for each run and each value
    is_run = background[heads]
    lengths = np.diff(heads, append=len(symbols))
    digits = np.where(is_run, _digit_count(lengths), 1)
    stops = np.cumsum(digits)
    place = np.arange(int(stops[-1]) if len(stops) else 0) - np.repeat(stops - digits, digits)
    out = np.where(
        np.repeat(is_run, digits),
        alphabet + ((np.repeat(lengths, digits) + 1) >> place & 1),
        np.repeat(symbols[heads], digits),
    )
    item_ends = np.concatenate([[0], stops])[np.searchsorted(heads, ends)]
    streams = np.zeros(len(out), np.uint8)
    return Items(out.astype(np.uint16), streams, item_ends.astype(np.int64))


def _digit_count(lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the digits of each run: floor(log2(length + 1))."""
    return (np.frexp((lengths + 1).astype(np.float64))[1] - 1).astype(np.int64)


def decode(count: int, reader: Reader, params: Run, plan: Plan) -> Planes:
    """Return the symbols (count, 1) of a block."""
    planes = np.full((count, 1), params.background, np.uint8)
    digit_one = plan.alphabets[0]
    position = power = 0
    while position < count:
        symbol = reader.next(0)
        if symbol < digit_one:
            planes[position, 0] = symbol
            position, power = position + 1, 0
            continue
        run = (symbol - digit_one + 1) << power
        if run > count - position:
            raise error_of(Code.RANGE, f"run of {run} with {count - position} elements left")
        position, power = position + run, power + 1
    return planes
