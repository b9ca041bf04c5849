"""The lossy side: choose numbers for a network's tensors, by a recipe.

Everything that loses something is in this folder, one stage a file; what it hands on is written
and read back exactly (dcformat/coded.py). Rules of order: lossless first, weights only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from dcformat.coded import CodedModel, CodedTensor
from dcformat.ids import Meta
from dcformat.jobs import in_order
from dcformat.model import Model, Tensor, Use
from dcformat.scratch import Scratch

from .bias import biases_of, calibrated, with_corrections
from .codebook import quantize_codebook, type_levels
from .estimate import estimate
from .exact import Cost, code_exactly
from .feedback import Gram
from .grid import gram_for, quantize_grid
from .int8 import quantize_int8
from .layers import layers_of
from .methods import quantize
from .names import assumptions, use_of, uses_of
from .prepare import prepared
from .prune import Cut
from .pruning import network_cuts, pruned
from .quantized import Quantized
from .reals import F64
from .recipe import (
    Recipe,
    Rule,
    preset_recipe,
    read_recipe,
    recipe_from_json,
    recipe_json,
    with_settings,
    without_feedback,
)
from .recipe_toml import recipe_toml
from .report import Line, report
from .roles import decide, default_bits
from .settings import Settings
from .symbols import Symbols

__all__ = [
    "Gram",
    "Line",
    "Recipe",
    "Rule",
    "Settings",
    "assumptions",
    "biases_of",
    "calibrated",
    "compress",
    "prepared",
    "preset_recipe",
    "read_recipe",
    "recipe_from_json",
    "recipe_json",
    "recipe_toml",
    "report",
    "uses_of",
    "with_settings",
    "without_feedback",
]

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Seen:
    """What was found out about a tensor outside of it: from calibration data, or the network."""

    gram: Gram | None = None
    hessian: F64 | None = None
    cut: Cut | None = None


def compress(
    model: Model,
    recipe: Recipe,
    cost: Cost | None = None,
    progress: Progress | None = None,
    jobs: int = 1,
    grams: Mapping[str, Gram] = MappingProxyType({}),
    hessians: Mapping[str, F64] = MappingProxyType({}),
) -> CodedModel:
    """Choose numbers for every tensor of `model`, on `jobs` threads, with the same result.

    `cost` tells how many bytes a coded tensor takes (default: an estimate); `progress` is called
    with a tensor's name when it is done, how many are and how many there are, and "" at the end.
    Tensors that are read where they lie stay there, or in a temporary file once quantized. Without
    a graph names and shapes say which are weights (names.py). `grams` say what meets the tensors
    that the recipe rounds with feedback or corrects the biases of; `hessians`, of the tensors'
    shapes, are the diagonals by which it prunes.
    Raises ConvertError if a pattern of the recipe matches no tensor, or a gram or Hessian is
    missing.
    """
    recipe.check_matches(tensor.name for tensor in model.tensors)
    scratch, uses = Scratch(), uses_of(model)
    source, model = model, prepared(model, recipe)
    cuts = network_cuts(model, recipe, uses, hessians)

    def one(tensor: Tensor) -> CodedTensor:
        settings = recipe.settings_for(tensor.name)
        use = use_of(tensor, settings, uses)
        seen = Seen(grams.get(tensor.name), hessians.get(tensor.name), cuts.get(tensor.name))
        return compress_tensor(tensor, use, settings, cost or estimate, scratch, seen)

    tensors: list[CodedTensor] = []
    for coded in in_order(one, model.tensors, jobs):
        same = model.tensors[len(tensors)] is source.tensors[len(tensors)]
        tensors.append(coded if same else replace(coded, exact=False))
        if progress is not None:
            progress(coded.name, len(tensors), len(model.tensors))
    if progress is not None:
        progress("", len(model.tensors), len(model.tensors))
    metadata = dict(model.metadata) | {Meta.RECIPE: recipe_json(recipe).encode()}
    if model.source.sha256:
        metadata[Meta.SOURCE_SHA256] = model.source.sha256
    made = with_corrections(model, tensors, recipe, grams)
    layers = layers_of(made, recipe, uses)
    return CodedModel(made, model.graph, layers, metadata, model.source, model.files)


def compress_tensor(
    tensor: Tensor,
    use: Use | None,
    settings: Settings,
    cost: Cost = estimate,
    scratch: Scratch | None = None,
    seen: Seen = Seen(),
) -> CodedTensor:
    """Choose numbers for one tensor: exact, int8, a grid, a codebook, or as methods.py has it.

    Where nobody asked for the 8 bits or the levels of a codebook, int8 with scales, which needs
    no table, is taken if that is smaller: small layers cannot pay for 256 levels.
    """
    order = use.order if use is not None else None
    axis = use.out_axis if use is not None else None
    method = decide(tensor, use, settings).method
    if method == "exact":
        return code_exactly(tensor, order, cost)
    scratch = scratch or Scratch()
    away = Symbols(tensor, scratch)
    if method == "int8" and not settings.prunes:
        return away.coded(quantize_int8(away.floats, tensor.shape, axis, away.keep), order)
    if method == "grid":
        return quantize_grid(tensor, settings, order, seen.gram)
    kept = pruned(tensor, use, settings, seen.hessian, seen.cut)
    if method not in ("int8", "codebook"):
        gram = gram_for(tensor, settings, seen.gram)
        return _kept(tensor, quantize(kept, axis, settings, gram), scratch, order)
    values = quantize_int8(lambda window: kept[window], tensor.shape, axis, away.keep)
    scaled = away.coded(values, order)
    if method == "int8":
        return scaled
    bits = settings.bits or default_bits(use)
    levels, indices = quantize_codebook(kept, bits, settings.quantizer or "entropy")
    book = type_levels(kept, levels, indices, tensor.dtype, settings.levels)
    shared = _kept(tensor, Quantized(indices, book), scratch, order)
    asked = settings.bits is not None or settings.quantizer or bits < 8
    return shared if asked or cost(shared) <= cost(scaled) else scaled


def _kept(
    tensor: Tensor, found: Quantized, scratch: Scratch, order: tuple[int, ...] | None
) -> CodedTensor:
    """Return the coded tensor of symbols that are all there."""
    away = Symbols(tensor, scratch, found.symbols.dtype)
    away.keep((), found.symbols)
    return away.coded(found.values, order)
