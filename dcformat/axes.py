"""How the axes of a weight lie: which one counts output channels, and in what order kernels walk.

Sisters: dcformat/model.py (Use, which holds both), converters/onnx_roles.py and compress/names.py
(who decides which of these a tensor has).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Union

Axes = tuple[Union[int, None], Union[tuple[int, ...], None]]  # out_axis, order: as in Use
UNKNOWN: Axes = (None, None)


def rows(rank: int) -> Axes:
    """[.., out, in]."""
    return (rank - 2, None) if rank >= 2 else UNKNOWN


def columns(rank: int) -> Axes:
    """[.., in, out], walked as [.., out, in]."""
    if rank < 2:
        return UNKNOWN
    return rank - 1, (*range(rank - 2), rank - 1, rank - 2)


def conv(rank: int) -> Axes:
    """OIHW, walked as OHWI; with any number of spatial axes, as below."""
    return (0, (0, *range(2, rank), 1)) if rank > 2 else UNKNOWN


def conv_transpose(rank: int) -> Axes:
    """IOHW, walked as OHWI."""
    return (1, (*range(1, rank), 0)) if rank > 2 else UNKNOWN


def conv_last(rank: int) -> Axes:
    """HWIO, walked as OHWI."""
    return (rank - 1, (rank - 1, *range(rank - 1))) if rank > 2 else UNKNOWN


def conv_transpose_last(rank: int) -> Axes:
    """HWOI, walked as OHWI."""
    if rank < 3:
        return UNKNOWN
    return rank - 2, (rank - 2, *range(rank - 2), rank - 1)


@dataclass(frozen=True)
class Layout:
    """A weight of an operator that has at least `ranks` axes, which lie as `axes` says."""

    op: str
    ranks: int
    axes: Callable[[int], Axes]


#: By the letters that people write for the axes: Output channels, Input channels, Height, Width.
LAYOUTS = {
    "OI": Layout("Gemm", 2, rows),
    "IO": Layout("MatMul", 2, columns),
    "OIHW": Layout("Conv", 3, conv),
    "IOHW": Layout("ConvTranspose", 3, conv_transpose),
    "HWIO": Layout("Conv", 3, conv_last),
    "HWOI": Layout("ConvTranspose", 3, conv_transpose_last),
}
