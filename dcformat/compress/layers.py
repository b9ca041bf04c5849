"""Fixed-point formats of a network's layers, as its recipe states them.

Spec: spec/DCF.md, section FIXED. Sister: fixed_point.py (the numbers).
"""

from __future__ import annotations

from collections.abc import Mapping

from dcformat.coded import CodedTensor, Fixed
from dcformat.errors import ConvertError
from dcformat.ids import Rounding
from dcformat.model import LayerFormat, Use

from .fixed_point import storable
from .recipe import Recipe
from .settings import Settings


def layers_of(
    tensors: tuple[CodedTensor, ...], recipe: Recipe, uses: Mapping[str, Use]
) -> tuple[LayerFormat, ...]:
    """Return a format for each weight that has one; `uses` name the layers.

    A weight that has not become fixed point, for whatever reason, has none. Raises ConvertError if
    its bias has not.
    """
    fixed = {tensor.name for tensor in tensors if isinstance(tensor.values, Fixed)}
    found = []
    for name in (tensor.name for tensor in tensors if tensor.name in fixed):
        own = recipe.settings_for(name)
        if own.input:
            if own.bias and own.bias not in fixed:
                raise ConvertError(f"its bias {own.bias!r} has no fraction", place=name)
            node = uses[name].node if name in uses else name
            found.append(_format(node, name, own, recipe.settings_for(own.bias)))
    return tuple(found)


def _format(node: str, name: str, own: Settings, bias: Settings) -> LayerFormat:
    fraction = own.fraction or 0
    return LayerFormat(
        node,
        name,
        own.bias or None,
        own.input[0],
        own.input[1],
        fraction,
        own.bits or 8,
        (bias.fraction or 0) if own.bias else storable(own.input[0] + fraction),
        (bias.bits or 8) if own.bias else 0,
        own.output[0],
        own.output[1],
        Rounding.HALF_EVEN,
    )
