"""What a recipe changes in a network as a whole before numbers are chosen for its tensors."""

from __future__ import annotations

from dcformat.model import Model, Tensor

from .equalize import equalized
from .names import use_of, uses_of
from .recipe import Recipe
from .roles import decide


def prepared(model: Model, recipe: Recipe) -> Model:
    """Return `model` with equal ranges between the layers that `recipe` quantizes, if it says so.

    What is between two tensors of which one stays as it is, stays too.
    """
    if not recipe.equalize:
        return model
    uses = uses_of(model)

    def quantized(tensor: Tensor) -> bool:
        settings = recipe.settings_for(tensor.name)
        return decide(tensor, use_of(tensor, settings, uses), settings).method != "exact"

    return equalized(model, quantized)
