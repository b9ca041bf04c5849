"""Whole multiples of one step for all of a tensor, chosen by who looked for a budget.

The step is coarse where the network does not mind, so that the coder has few symbols to tell apart
(allocate.py); with error feedback what a weight loses its neighbours make good (feedback.py).
Spec: spec/encodings/values_affine.md
"""

from __future__ import annotations

import numpy as np

from dcformat.coded import Affine, CodedTensor
from dcformat.errors import ConvertError
from dcformat.ids import DType
from dcformat.model import Tensor

from .feedback import Gram, round_to_grid
from .reals import reals_of
from .settings import Settings


def quantize_grid(
    tensor: Tensor, settings: Settings, order: tuple[int, ...] | None, gram: Gram | None
) -> CodedTensor:
    """Return `tensor` as multiples of `settings.step`, rounded to float32.

    Raises ConvertError if the settings ask for feedback and there is no `gram`, or one of another
    shape.
    """
    scale = np.asarray(settings.step, np.float32)
    weights = reals_of(tensor.data, tensor.dtype)
    numbers = round_to_grid(weights, float(scale), gram_for(tensor, settings, gram))
    values = Affine(DType.INT8, scale, np.zeros((), np.int32))
    return CodedTensor(
        tensor.name, tensor.dtype, np.ascontiguousarray(numbers), values, order, exact=False
    )


def gram_for(tensor: Tensor, settings: Settings, gram: Gram | None) -> Gram | None:
    """Return what rounding `tensor` needs: nothing without feedback. Raises ConvertError."""
    if not settings.feedback:
        return None
    if gram is None:
        problem = "the recipe rounds it with error feedback, which needs calibration data"
        raise ConvertError(problem, place=tensor.name)
    rank, columns = len(gram.order), gram.means.size
    if rank != len(tensor.shape) or tensor.size % max(columns, 1):
        raise ConvertError("the calibration is of a tensor of another shape", place=tensor.name)
    return gram
