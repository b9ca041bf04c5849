"""Pruning as a recipe asks for it: a tensor's, or a cut through all tensors of a network.

Sister: prune.py, which scores and cuts.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dcformat.errors import ConvertError
from dcformat.model import Model, Tensor, Use

from . import prune as scores
from .names import use_of
from .prune import Axes, Cut
from .reals import F64, reals_of
from .recipe import Recipe
from .roles import decide
from .settings import Settings, pattern_of


def axes_of(use: Use | None, rank: int) -> Axes:
    """Return the axes of output and input channels: kernels walk them first and last."""
    if use is None or use.out_axis is None or rank < 2:
        return Axes()
    into = use.order[-1] if use.order else rank - 1
    return Axes(use.out_axis, into if into != use.out_axis else None)


def pruned(
    tensor: Tensor,
    use: Use | None,
    settings: Settings,
    hessian: F64 | None = None,
    cut: Cut | None = None,
) -> F64:
    """Return the weights of `tensor` with zeros where `settings` want them.

    `cut` is that of a whole network; else the share is the tensor's own. Raises ConvertError,
    naming the tensor, where axes or a Hessian would have to be known and are not.
    """
    weights = reals_of(tensor.data, tensor.dtype)
    if not settings.prunes:
        return weights
    try:
        return _pruned(weights, axes_of(use, weights.ndim), settings, hessian, cut)
    except ConvertError as error:
        raise ConvertError(error.message, place=tensor.name) from error


def network_cuts(
    model: Model, recipe: Recipe, uses: Mapping[str, Use], hessians: Mapping[str, F64]
) -> dict[str, Cut]:
    """Return the cuts by tensor, where the recipe prunes the network as a whole."""
    mine: list[tuple[Tensor, Use | None, Settings]] = []
    for tensor in model.tensors if recipe.prune_scope == "network" and recipe.prune else ():
        settings = recipe.settings_for(tensor.name)
        use = use_of(tensor, settings, uses)
        asked = settings.prune_scope == "network" and settings.prune
        if asked and decide(tensor, use, settings).method != "exact":
            mine.append((tensor, use, settings))

    def scores_of(i: int) -> F64:
        tensor, use, settings = mine[i]
        axes, plain = axes_of(use, len(tensor.shape)), reals_of(tensor.data, tensor.dtype)
        try:
            weights = _thinned(plain, axes, settings, hessians.get(tensor.name))
            each = _scores(weights, settings, hessians.get(tensor.name))
            return scores.unit_scores(each, settings.prune_unit, axes)
        except ConvertError as error:
            raise ConvertError(error.message, place=tensor.name) from error

    sizes = [tensor.size // max(1, scores_of(i).size) for i, (tensor, _, _) in enumerate(mine)]
    found = scores.network_cuts(scores_of, sizes, recipe.prune)
    return {tensor.name: cut for (tensor, _, _), cut in zip(mine, found, strict=True)}


def _pruned(
    weights: F64, axes: Axes, settings: Settings, hessian: F64 | None, cut: Cut | None
) -> F64:
    weights = _thinned(weights, axes, settings, hessian)
    if not settings.prune:
        return weights
    unit = settings.prune_unit
    each = scores.unit_scores(_scores(weights, settings, hessian), unit, axes)
    where = cut or scores.cut_of(each, settings.prune, all_may_go=unit == "element")
    gone = scores.cut(each, where)
    return scores.without(weights, scores.unit_mask(gone, weights.shape, unit, axes))


def _thinned(weights: F64, axes: Axes, settings: Settings, hessian: F64 | None) -> F64:
    """Return the weights without what is too small, and with what a pattern leaves."""
    weights = scores.without(weights, scores.small(weights, settings.prune_below))
    if settings.prune_pattern:
        keep, of = pattern_of(settings.prune_pattern)
        each = _scores(weights, settings, hessian)
        weights = scores.without(weights, scores.keep_of_each(each, keep, of, axes))
    return weights


def _scores(weights: F64, settings: Settings, hessian: F64 | None) -> F64:
    if settings.prune_by == "magnitude":
        return np.abs(weights)
    if hessian is None:
        raise ConvertError("the recipe prunes by damage, which needs a Hessian")
    return scores.damage(weights, hessian)
