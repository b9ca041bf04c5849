"""Biases that make up for what quantized weights add to a layer's mean output.

Nagel, van Baalen, Blankevoort and Welling 2019, "Data-Free Quantization Through Weight Equalization
and Bias Correction", section 4.2: with the error E of the weights the mean output is E E[x] off,
which the bias takes back. E[x] comes from data, or from the norm and the ReLU before the layer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from dcformat.coded import CodedTensor, Raw, expand_tensor
from dcformat.errors import ConvertError
from dcformat.model import Model, Tensor

from .feedback import Gram
from .fixed_point import fixed_tensor
from .names import use_of, uses_of
from .reals import F64, REALS, as_type, reals_of
from .recipe import Recipe
from .roles import decide
from .settings import Settings


def corrected_bias(bias: F64, weights: F64, quantized: F64, gram: Gram) -> F64:
    """Return bias - (quantized - weights) E[x], in the shape of `bias`.

    `gram` says what the weights meet, column by column. Raises ValueError if the shapes do not fit.
    """
    if quantized.shape != weights.shape or len(gram.order) != weights.ndim:
        raise ValueError(f"weights {weights.shape}, quantized {quantized.shape}, {gram.order}")
    wrong = (quantized - weights).transpose(gram.order)
    columns = wrong.reshape(gram.groups, -1, gram.means.shape[1]) * gram.means[:, None, :]
    moved = np.cumsum(columns, axis=2)[:, :, -1].reshape(-1)
    if bias.size != moved.size:
        raise ValueError(f"bias {bias.shape}, {moved.size} outputs")
    return np.asarray(bias - moved.reshape(bias.shape), np.float64)


def biases_of(model: Model, recipe: Recipe) -> dict[str, str]:
    """Return the weights that `recipe` may quantize and whose biases it corrects, each with it."""
    if not recipe.bias_correction:
        return {}
    uses, tensors = uses_of(model), {tensor.name: tensor for tensor in model.tensors}
    added = {use.layer or use.node: name for name, use in uses.items() if use.role == "bias"}
    found = {}
    for tensor in model.tensors:
        settings = recipe.settings_for(tensor.name)
        use = use_of(tensor, settings, uses)
        if use is None or use.role != "weight" or decide(tensor, use, settings).reason:
            continue
        name = settings.bias or added.get(use.node, "")
        if name in tensors and tensors[name].dtype in REALS:
            found[tensor.name] = name
    return found


def calibrated(model: Model, recipe: Recipe) -> list[str]:
    """Return the weights of which `recipe` has to know what they meet in calibration."""
    corrected = biases_of(model, recipe)
    names = (tensor.name for tensor in model.tensors)
    return [n for n in names if n in corrected or recipe.settings_for(n).feedback]


def with_corrections(
    model: Model, coded: Iterable[CodedTensor], recipe: Recipe, grams: Mapping[str, Gram]
) -> tuple[CodedTensor, ...]:
    """Return `coded` with biases corrected for what the weights of `model` have lost.

    A bias without a gram of its weight stays. Raises ConvertError where there is none at all.
    """
    made = {tensor.name: tensor for tensor in coded}
    pairs = biases_of(model, recipe)
    if pairs and not pairs.keys() & grams.keys():
        raise ConvertError("bias_correction needs calibration data", place=recipe.origin)
    source = {tensor.name: tensor for tensor in model.tensors}
    for weight, bias in pairs.items():
        if weight in grams and not made[weight].exact:
            moved = _moved(source[weight], made[weight], source[bias], grams[weight])
            made[bias] = _coded(moved, made[bias], recipe.settings_for(bias))
    return tuple(made.values())


def _moved(weight: Tensor, coded: CodedTensor, bias: Tensor, gram: Gram) -> Tensor:
    """Return the corrected bias, still in its own type."""
    before, after = (reals_of(data, weight.dtype) for data in (weight.data, expand_tensor(coded)))
    own = reals_of(bias.data, bias.dtype)
    try:
        found = corrected_bias(own, before, after, gram)
    except ValueError:
        problem = "the calibration is of a tensor of another shape"
        raise ConvertError(problem, place=weight.name) from None
    return Tensor(bias.name, bias.dtype, as_type(found, bias.dtype))


def _coded(tensor: Tensor, before: CodedTensor, settings: Settings) -> CodedTensor:
    """Return a corrected bias as the recipe wants it: at a fraction length, or as it is."""
    own = before.name, before.dtype
    if settings.fraction is None:
        return CodedTensor(*own, np.asarray(tensor.data), Raw(), before.order, exact=False)
    bits = settings.bits or 8
    fixed = fixed_tensor(reals_of(tensor.data, tensor.dtype), settings.fraction, bits)
    return CodedTensor(*own, fixed.symbols, fixed.values, before.order, exact=False)
