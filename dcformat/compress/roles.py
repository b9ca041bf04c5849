"""What is done to a tensor, and if nothing, why not.

Only weights are quantized: biases and norms are few and cost accuracy, indices have to be right.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dcformat.ids import WIDTH, DType
from dcformat.model import LARGE, Tensor, Use, windows
from dcformat.rounding import survey

from .exact import count_distinct
from .reals import REALS, floats_of
from .settings import Settings

#: A weight tensor with at least this share of zeros was pruned by someone who meant it.
PRUNED = 0.25

_BITS_CONVOLUTION = 8
_BITS_DENSE = 5


@dataclass(frozen=True)
class Decision:
    """A method ("exact", "int8" or "codebook") and, if "exact", the reason."""

    method: str
    reason: str = ""


def decide(tensor: Tensor, use: Use | None, settings: Settings) -> Decision:
    """Return what happens to a tensor of this role under these settings."""
    if settings.fraction is not None:
        reason = _unfit(tensor)
    else:
        reason = _kind(tensor, use) or _wish(tensor, settings) or _content(tensor, settings)
    return Decision("exact", reason) if reason else Decision(settings.method)


def _unfit(tensor: Tensor) -> str:
    """Say why a tensor cannot have the fraction length that the recipe states."""
    if tensor.dtype not in REALS:
        return tensor.dtype.name
    return "" if _look(tensor)[0] else "holds NaN or infinity"


def default_bits(use: Use | None) -> int:
    """Return the bits of a codebook: 8 for convolutions, 5 for dense layers (Han et al. 2016)."""
    convolution = use is not None and "Conv" in use.op
    return _BITS_CONVOLUTION if convolution else _BITS_DENSE


def _kind(tensor: Tensor, use: Use | None) -> str:
    """Say why a tensor of this kind is never quantized, "" if it may be."""
    role = use.role if use is not None else "other"
    if WIDTH[tensor.dtype] == 1:
        return f"{tensor.dtype.name} already"
    if role != "weight":
        return role if role != "other" else "not a weight"
    if tensor.dtype not in REALS:
        return tensor.dtype.name
    return ""


def _wish(tensor: Tensor, settings: Settings) -> str:
    """Say why the recipe leaves a weight alone, "" if it does not."""
    if settings.method == "exact":
        return "the recipe says exact"
    if tensor.size < max(settings.min_elements, 1):
        return f"fewer than {max(settings.min_elements, 1)} elements"
    return ""


def _content(tensor: Tensor, settings: Settings) -> str:
    """Say why these numbers stay, "" if they need not."""
    finite, largest, zeros = _look(tensor)
    if not finite:
        return "holds NaN or infinity"
    if tensor.dtype is DType.DOUBLE and largest > float(np.finfo(np.float32).max):
        return "beyond float32"
    if settings.requantize:
        return ""
    found = count_distinct(tensor)
    if found == tensor.size:
        return f"small: {found} elements"
    if found is not None:
        return f"{found} distinct values already"
    share = zeros / tensor.size
    return f"pruned already: {share:.0%} zeros" if share >= PRUNED else ""


def _look(tensor: Tensor) -> tuple[bool, float, int]:
    """Tell whether all elements are finite; return the largest magnitude and the zeros."""
    largest, zeros = 0.0, 0
    for window in windows(tensor.shape, most=LARGE):
        peak, none = survey(floats_of(tensor.piece(window), tensor.dtype), None)
        if not np.isfinite(peak):
            return False, float(peak), 0
        largest, zeros = max(largest, float(peak)), zeros + none
    return True, largest, zeros
