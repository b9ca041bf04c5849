"""Dense layout: every element is stored.

Spec: spec/encodings/layout_dense.md    C: dcformat/c/dcf_layout_dense.c
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..fields import Fields
from .parts import Items, Plan, Planes, Reader


def read_params(fields: Fields) -> None:
    """There are none."""


def check_params(fields: Fields, params: None, plan: Plan) -> None:
    """There are none."""


def write_params(params: None) -> bytes:
    """There are none."""
    return b""


def alphabets(params: None, plan: Plan) -> tuple[int, ...]:
    """Return the alphabets of the streams: those of an element's symbols."""
    return plan.alphabets


def encode(planes: Planes, ends: npt.NDArray[np.int64], params: None) -> Items:
    """Return the items of `planes` (n, width); `ends` counts elements."""
    n, width = planes.shape
    streams = np.tile(np.arange(width, dtype=np.uint8), n)
    return Items(planes.reshape(-1).astype(np.uint16), streams, ends * width)


def decode(count: int, reader: Reader, params: None, plan: Plan) -> Planes:
    """Return the symbols (count, width) of a block."""
    return reader.many(count, tuple(range(plan.width)))
