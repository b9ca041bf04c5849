"""What compression did to each tensor, what was left alone and why, and the errors."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from dcformat import rounding
from dcformat.coded import (
    Affine,
    Codebook,
    CodedModel,
    CodedTensor,
    Fixed,
    Pow2,
    expand_tensor,
    same_bits,
)
from dcformat.ids import DType, Meta
from dcformat.jobs import in_order
from dcformat.model import LARGE, Model, Tensor, Use, Window, windows

from .names import use_of, uses_of
from .prepare import prepared
from .reals import REALS, floats_of, reals_of
from .recipe import Recipe, recipe_from_json
from .roles import decide
from .settings import Settings


@dataclass(frozen=True)
class Line:
    """One tensor: `done` says what was done to it, `reason` why if nothing was.

    `error` is max|w - expanded|, 0 where every bit is kept.
    """

    name: str
    op: str
    role: str
    parameters: int
    done: str
    reason: str
    error: float

    @property
    def left_alone(self) -> bool:
        """Tell whether every bit of the tensor was kept; `reason` says why."""
        return bool(self.reason)


def report(model: Model, coded: CodedModel, jobs: int = 1) -> tuple[Line, ...]:
    """Return a line for each tensor of `model`, in its order, worked out on `jobs` threads.

    `coded` is what `compress` made of it; the recipe is taken from its metadata. Errors are those
    of quantization: where the recipe equalizes, against the equalized weights.
    """
    stated = coded.metadata.get(Meta.RECIPE)
    recipe = recipe_from_json(stated.decode()) if stated is not None else Recipe("lossless")
    found, uses = {tensor.name: tensor for tensor in coded.tensors}, uses_of(model)

    def line(tensor: Tensor) -> Line:
        settings = recipe.settings_for(tensor.name)
        return _line(tensor, use_of(tensor, settings, uses), found[tensor.name], settings)

    return tuple(in_order(line, prepared(model, recipe).tensors, jobs))


def _line(tensor: Tensor, use: Use | None, coded: CodedTensor, settings: Settings) -> Line:
    reason = decide(tensor, use, settings).reason if coded.exact else ""
    error = 0.0 if coded.exact else largest_error(tensor, coded)
    return Line(
        tensor.name,
        use.op if use is not None else "",
        use.role if use is not None else "other",
        tensor.size,
        _done(coded, error),
        reason,
        error,
    )


def _done(coded: CodedTensor, error: float) -> str:
    """Say in a few words what a coded tensor is; powers of two have no error."""
    values = coded.values
    if isinstance(values, Affine):
        each = "per tensor" if values.axis is None else "per channel"
        return f"{values.number.name.lower()} {each}"
    if isinstance(values, Fixed):
        return f"fixed point, {values.number.name.lower()}"
    if isinstance(values, Pow2):
        return "powers of two"
    if not isinstance(values, Codebook):
        moved = "corrected" if error else "equalized"
        return "exact" if coded.exact else moved
    if coded.exact:
        return f"exact: {values.levels.size} distinct values"
    return f"codebook of {values.levels.size}, {values.level.name.lower()} levels"


def largest_error(tensor: Tensor, coded: CodedTensor) -> float:
    """Return max|w - expanded| in float64; infinity where only one side is a number."""
    values = _plain_int8(tensor, coded)
    if values is not None:
        cuts = windows(tensor.shape, most=LARGE)
        errors = (_rounding_error(tensor, coded, values, window) for window in cuts)
        found = max(errors, default=0.0)
        if math.isfinite(found):
            return found
    return max((_error(tensor, coded, window) for window in windows(tensor.shape)), default=0.0)


def _plain_int8(tensor: Tensor, coded: CodedTensor) -> Affine | None:
    """Return the scales if an element of `coded` is q * scale in float32, and nothing else."""
    values = coded.values
    if not isinstance(values, Affine) or tensor.dtype not in (DType.FLOAT, DType.DOUBLE):
        return None
    plain = values.number is DType.INT8 and not values.block and not values.zero_point.any()
    return values if plain else None


def _rounding_error(tensor: Tensor, coded: CodedTensor, values: Affine, window: Window) -> float:
    axis, scale = values.axis, values.scale
    if axis is not None and axis < len(window):
        scale = scale[window[axis]]
    weights, numbers = tensor.piece(window), np.asarray(coded.piece(window), np.int8)
    return rounding.largest_error(floats_of(weights, tensor.dtype), numbers, scale, axis)


def _error(tensor: Tensor, coded: CodedTensor, window: Window) -> float:
    if tensor.dtype not in REALS:
        return 0.0
    data, back = tensor.piece(window), expand_tensor(coded, window)
    with np.errstate(invalid="ignore"):  # infinity minus itself
        wrong = reals_of(data, tensor.dtype) - reals_of(back, tensor.dtype)
        worst = float(np.abs(wrong, out=wrong).max(initial=0.0))
    if math.isfinite(worst):
        return worst
    return 0.0 if same_bits(data, back) else math.inf
