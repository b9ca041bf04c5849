"""The methods that a recipe can name for a whole tensor in memory, each one call of a stage.

Sister: recipe.py, which says which settings each has. "exact", "int8" and "codebook" are chosen
among in __init__.py.
"""

from __future__ import annotations

from collections.abc import Callable

from .affine import quantize_affine
from .binary import quantize_binary
from .feedback import Gram
from .fixed import quantize_fixed
from .fixed_point import fixed_tensor
from .pow2 import quantize_pow2
from .quantized import Quantized
from .reals import F64
from .settings import Settings
from .ternary import quantize_ternary, quantize_ternary_fitted

Method = Callable[[F64, "int | None", Settings], Quantized]


def quantize(
    weights: F64, axis: int | None, settings: Settings, gram: Gram | None = None
) -> Quantized:
    """Return what the method of `settings` makes of weights with output channels along `axis`.

    With a `gram` fixed point at a given fraction length is rounded with error feedback.
    """
    if settings.fraction is not None:
        return fixed_tensor(weights, settings.fraction, settings.bits or 8, gram)
    along = axis if settings.scales == "channel" else None
    return METHODS[settings.method](weights, along, settings)


def _ternary(weights: F64, axis: int | None, settings: Settings) -> Quantized:
    if settings.quantizer == "fitted":
        return quantize_ternary_fitted(weights)
    return quantize_ternary(weights, axis)


METHODS: dict[str, Method] = {
    "affine": lambda w, axis, s: quantize_affine(w, s.bits or 8, axis, s.zero_point),
    "fixed": lambda w, axis, s: quantize_fixed(w, s.bits or 8, axis),
    "ternary": _ternary,
    "binary": lambda w, axis, s: quantize_binary(w, axis),
    "pow2": lambda w, axis, s: quantize_pow2(w, s.bits or 4, axis, s.quantizer or "nearest"),
}
