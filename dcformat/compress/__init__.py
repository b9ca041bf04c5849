"""The lossy side: choose numbers for a network's tensors, by a recipe.

Everything that loses something is in this folder, one stage a file; what it hands on is written
and read back exactly (dcformat/coded.py). Rules of order: lossless first, weights only.
"""

from __future__ import annotations

from collections.abc import Callable

from dcformat.coded import CodedModel, CodedTensor
from dcformat.ids import Meta
from dcformat.model import Model, Tensor, Use

from .codebook import quantize_codebook, type_levels
from .estimate import estimate
from .exact import Cost, code_exactly
from .int8 import quantize_int8
from .prune import prune
from .reals import reals_of
from .recipe import (
    Recipe,
    Rule,
    Settings,
    preset_recipe,
    read_recipe,
    recipe_from_json,
    recipe_json,
    with_settings,
)
from .report import Line, report
from .roles import decide, default_bits

__all__ = [
    "Line",
    "Recipe",
    "Rule",
    "Settings",
    "compress",
    "preset_recipe",
    "read_recipe",
    "recipe_from_json",
    "recipe_json",
    "report",
    "with_settings",
]

Progress = Callable[[str, int, int], None]


def compress(
    model: Model, recipe: Recipe, cost: Cost | None = None, progress: Progress | None = None
) -> CodedModel:
    """Choose numbers for every tensor of `model`.

    `cost` tells how many bytes a coded tensor takes (default: an estimate); `progress` is called
    with a tensor's name, how many are done and how many there are, and with "" at the end.
    Raises ConvertError if a pattern of the recipe matches no tensor.
    """
    recipe.check_matches(tensor.name for tensor in model.tensors)
    tensors = []
    for done, tensor in enumerate(model.tensors):
        if progress is not None:
            progress(tensor.name, done, len(model.tensors))
        settings = recipe.settings_for(tensor.name)
        use = model.uses.get(tensor.name)
        tensors.append(compress_tensor(tensor, use, settings, cost or estimate))
    if progress is not None:
        progress("", len(model.tensors), len(model.tensors))
    metadata = dict(model.metadata) | {Meta.RECIPE: recipe_json(recipe).encode()}
    if model.source.sha256:
        metadata[Meta.SOURCE_SHA256] = model.source.sha256
    return CodedModel(tuple(tensors), model.graph, (), metadata, model.source)


def compress_tensor(
    tensor: Tensor, use: Use | None, settings: Settings, cost: Cost = estimate
) -> CodedTensor:
    """Choose numbers for one tensor: exact, int8 with scales, or a codebook.

    Where nobody asked for the 8 bits or the levels of a codebook, int8 with scales, which needs
    no table, is taken if that is smaller: small layers cannot pay for 256 levels.
    """
    order = use.order if use is not None else None
    method = decide(tensor, use, settings).method
    if method == "exact":
        return code_exactly(tensor, order, cost)
    weights = reals_of(tensor.data, tensor.dtype)
    kept = prune(weights, settings.prune) if settings.prune else weights
    numbers, affine = quantize_int8(kept, use.out_axis if use is not None else None)
    scaled = CodedTensor(tensor.name, tensor.dtype, numbers, affine, order, exact=False)
    if method == "int8":
        return scaled
    bits = settings.bits or default_bits(use)
    levels, indices = quantize_codebook(kept, bits, settings.quantizer)
    book = type_levels(kept, levels, indices, tensor.dtype, settings.levels)
    shared = CodedTensor(tensor.name, tensor.dtype, indices, book, order, exact=False)
    asked = settings.bits is not None or settings.quantizer != "uniform" or bits < 8
    return shared if asked or cost(shared) <= cost(scaled) else scaled
