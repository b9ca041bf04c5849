"""Integers that stand for real numbers: as the source has them, and as a .dcf does.

A foreign model may hold integers and say elsewhere what they mean (Model.scales). In a .dcf such a
tensor is FLOAT; the integers with their scales are its values (spec/encodings/values_affine.md).
Sisters: dcformat/model.py (Scales), dcformat/coded.py (Affine).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from .coded import (
    F32,
    I32,
    Affine,
    Codebook,
    CodedModel,
    CodedTensor,
    Fixed,
    LazyCoded,
    Values,
    expand_numbers,
    expand_tensor,
    same_bits,
)
from .errors import CorruptError
from .ids import BITS, NUMPY, DType
from .model import Array, LazyTensor, Model, Scales, Tensor, Window

Param = TypeVar("Param", F32, I32)
#: The number type of each type of integers that can have scales.
NUMBERS = {
    DType.INT2: DType.INT8,
    DType.INT4: DType.INT8,
    DType.INT8: DType.INT8,
    DType.UINT2: DType.UINT8,
    DType.UINT4: DType.UINT8,
    DType.UINT8: DType.UINT8,
    DType.INT16: DType.INT16,
    DType.UINT16: DType.UINT16,
}


def affine(dtype: DType, scales: Scales) -> Affine:
    """Return what integers of `dtype` with these scales are in a .dcf."""
    return Affine(NUMBERS[dtype], scales.scale, scales.zero_point, scales.axis)


def with_scales(coded: CodedModel, scales: Mapping[str, Scales]) -> CodedModel:
    """Return `coded`, its tensors of integers that have scales being what they stand for."""
    if not scales:
        return coded
    tensors = (
        scaled(tensor, scales[tensor.name]) if tensor.name in scales else tensor
        for tensor in coded.tensors
    )
    return replace(coded, tensors=tuple(tensors))


def scaled(tensor: CodedTensor, scales: Scales) -> CodedTensor:
    """Return integers, which were coded exactly, as the real numbers that they stand for."""
    values = affine(tensor.dtype, scales)
    shared = tensor.values
    if isinstance(shared, Codebook) and tensor.dtype is DType.INT16 and not scales.zero_point.any():
        book = replace(shared, scale=scales.scale, axis=scales.axis)
        return _again(tensor, tensor.piece, book)
    return _again(tensor, tensor.numbers, values)


def _again(tensor: CodedTensor, read: Callable[[Window], Array], values: Values) -> CodedTensor:
    if isinstance(tensor, LazyCoded):
        own = tensor.name, DType.FLOAT, tensor.shape, read, values, tensor.order, tensor.exact
        return LazyCoded(*own)
    return replace(tensor, dtype=DType.FLOAT, symbols=read(()), values=values)


def real(model: Model) -> Model:
    """Return `model` with real numbers in place of the integers that have scales."""
    if not model.scales:
        return model
    tensors = (
        _real(tensor, model.scales[tensor.name]) if tensor.name in model.scales else tensor
        for tensor in model.tensors
    )
    return replace(model, tensors=tuple(tensors), scales={})


def _real(tensor: Tensor, scales: Scales) -> Tensor:
    return LazyTensor(tensor.name, DType.FLOAT, tensor.shape, partial(_reals, tensor, scales))


def _reals(tensor: Tensor, scales: Scales, window: Window) -> Array:
    values = affine(tensor.dtype, scales)
    return expand_numbers(tensor.piece(window), values, DType.FLOAT, tensor.shape, window)


def with_integers(coded: CodedModel) -> Model:
    """Return `coded` as dense numbers: integers of 8 bits with scales as such, the others as real.

    Numbers are made when they are asked for.
    """
    tensors, scales = [], {}
    for tensor in coded.tensors:
        own = _scales_of(tensor)
        if own is None:
            read: Callable[[Window], Array] = partial(expand_tensor, tensor)
            tensors.append(LazyTensor(tensor.name, tensor.dtype, tensor.shape, read))
        else:
            scales[tensor.name] = own
            kind, read = tensor.number_type(), tensor.numbers
            tensors.append(LazyTensor(tensor.name, kind, tensor.shape, read))
    metadata = dict(coded.metadata)
    return Model(tuple(tensors), coded.graph, source=coded.source, metadata=metadata, scales=scales)


def _scales_of(tensor: CodedTensor) -> Scales | None:
    """Return what a tensor's 8-bit integers mean; None where it is not made of such."""
    values = tensor.values
    if tensor.dtype is not DType.FLOAT or tensor.number_type() not in (DType.INT8, DType.UINT8):
        return None
    if isinstance(values, Affine) and not values.block:
        return Scales(values.scale, values.zero_point, values.axis)
    if isinstance(values, Fixed):
        return _without_points(np.ldexp(np.float32(1), -values.fraction), values.axis)
    if isinstance(values, Codebook) and values.scale is not None:
        return _without_points(values.scale, values.axis)
    if isinstance(values, Codebook) and values.fraction is not None:
        return _without_points(np.ldexp(np.float32(1), -np.int32(values.fraction)), None)
    return None


def _without_points(scale: npt.ArrayLike, axis: int | None) -> Scales:
    own = np.asarray(scale, np.float32)
    return Scales(own, np.zeros(own.shape, np.int32), axis)


def integers(tensor: Tensor, dtype: DType, scales: Scales) -> Tensor:
    """Return the integers of `dtype` for which the elements of `tensor` stand.

    Reading them raises CorruptError where an element stands for none.
    """
    read = partial(_integers, tensor, dtype, scales)
    return LazyTensor(tensor.name, dtype, tensor.shape, read)


def _integers(tensor: Tensor, dtype: DType, scales: Scales, window: Window) -> Array:
    elements, low, high = tensor.piece(window), *integer_range(dtype)
    step = _over(scales.scale, scales.axis, tensor.shape, window).astype(np.float64)
    with np.errstate(invalid="ignore"):  # what is not a number is found below
        nearest = np.rint(elements.astype(np.float64) / step)
    nearest += _over(scales.zero_point, scales.axis, tensor.shape, window)
    found: Array = np.clip(np.nan_to_num(nearest), low, high).astype(NUMPY[dtype])
    again = expand_numbers(found, affine(dtype, scales), DType.FLOAT, tensor.shape, window)
    if not np.array_equal(again, elements):
        reason = f"its elements are no {dtype.name} with the scales that the graph gives it"
        raise CorruptError(reason, place=f"tensor {tensor.name!r}")
    return found


def _over(param: Param, axis: int | None, shape: tuple[int, ...], window: Window) -> Param:
    """Return scales or zero points in a shape that spreads over a window."""
    if axis is None:
        return param
    cut = window[axis] if axis < len(window) else slice(None)
    return param[cut].reshape([-1 if i == axis else 1 for i in range(len(shape))])


def integer_range(dtype: DType) -> tuple[int, int]:
    """Return the smallest and the largest integer of a type."""
    bits, signed = BITS[dtype], dtype.name.startswith("INT")
    return (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)


def same_scales(a: Scales | None, b: Scales | None) -> bool:
    """Tell whether integers mean the same with both, to the bit; None is that they have none."""
    if a is None or b is None:
        return a is b
    same = same_bits(a.scale, b.scale) and same_bits(a.zero_point, b.zero_point)
    return same and a.axis == b.axis
