"""Affine values: scale and zero point per tensor, axis or block of an axis.

Spec: spec/encodings/values_affine.md    C: dcformat/c/dcf_values_affine.c
"""

from __future__ import annotations

import math
import struct
from dataclasses import replace

import numpy as np

from ..coded import Affine, Values
from ..errors import Code
from ..fields import Fields
from ..ids import NO_AXIS, NUMPY, WIDTH, AffineFlag, DType
from ..model import Array
from .parts import (
    Plan,
    Planes,
    join,
    narrowest,
    need_real,
    read_axis_id,
    read_narrow,
    read_scale,
    split,
    write_narrow,
)

NUMBERS = (DType.INT8, DType.UINT8, DType.INT16, DType.UINT16)


def parameter_shape(stored_shape: tuple[int, ...], axis: int | None, block: int) -> tuple[int, ...]:
    """Return the shape of scales and zero points."""
    if axis is None:
        return ()
    if not block:
        return (stored_shape[axis],)
    blocks = -(-stored_shape[axis] // block)
    return (*stored_shape[:axis], blocks, *stored_shape[axis + 1 :])


def read_params(
    fields: Fields, dtype: DType, stored_shape: tuple[int, ...], tables: list[object]
) -> Plan:
    """Return the plan of an affine tensor."""
    number = fields.u8()
    fields.need(number in NUMBERS, f"number type {number}")
    axis = read_axis_id(fields, stored_shape)
    flags = fields.u8()
    fields.need(not flags & ~int(AffineFlag.ZERO_POINTS | AffineFlag.BLOCKED), f"flags {flags}")
    fields.need(not flags & AffineFlag.BLOCKED or axis is not None, "blocks without an axis")
    fields.need(fields.u8() == 0, "reserved byte", Code.PADDING)
    alphabets, base = read_narrow(fields, DType(number))
    scale = read_scale(fields) if axis is None else np.ones((), np.float32)
    points = bool(flags & AffineFlag.ZERO_POINTS)
    zero_point = fields.i32() if axis is None and points else 0
    low, high = _range(DType(number))
    fields.need(low <= zero_point <= high, f"zero point {zero_point}")
    block = fields.u32() if flags & AffineFlag.BLOCKED else 0
    fields.need(block > 0 or not flags & AffineFlag.BLOCKED, "blocks of no elements")
    need_real(fields, dtype)
    values = Affine(DType(number), scale, np.asarray(zero_point, np.int32), axis, block)
    count = 0 if axis is None else math.prod(parameter_shape(stored_shape, axis, block))
    size = count * (4 + (WIDTH[DType(number)] if points else 0))
    return Plan(DType(number), alphabets, base, values, size)


def write_params(plan: Plan, table: int | None) -> bytes:
    """Return the parameters of a record."""
    values = _affine(plan.values)
    axis = NO_AXIS if values.axis is None else values.axis
    flags = AffineFlag.ZERO_POINTS if _has_points(values) else AffineFlag(0)
    flags |= AffineFlag.BLOCKED if values.block else AffineFlag(0)
    out = struct.pack("<BBBB", values.number, axis, flags, 0) + write_narrow(plan)
    if values.axis is None:
        out += values.scale.astype("<f4").tobytes()
        out += values.zero_point.astype("<i4").tobytes() if _has_points(values) else b""
    return out + (struct.pack("<I", values.block) if values.block else b"")


def read_axis(plan: Plan, data: memoryview, stored_shape: tuple[int, ...]) -> Values:
    """Return the values with their scales and zero points."""
    values = _affine(plan.values)
    if values.axis is None:
        return values
    shape = parameter_shape(stored_shape, values.axis, values.block)
    count = math.prod(shape)
    scale = np.frombuffer(data[: 4 * count], "<f4").reshape(shape)
    points = np.zeros(shape, np.int32)
    if len(data) > 4 * count:
        raw = np.frombuffer(data[4 * count :], NUMPY[values.number])
        points = raw.astype(np.int32).reshape(shape)
    return replace(values, scale=scale, zero_point=points)


def write_axis(plan: Plan) -> bytes:
    """Return scales, then zero points where one is not 0."""
    values = _affine(plan.values)
    if values.axis is None:
        return b""
    points = values.zero_point.astype(NUMPY[values.number]).tobytes()
    return values.scale.astype("<f4").tobytes() + (points if _has_points(values) else b"")


def plan_of(values: Values, dtype: DType, symbols: Array) -> Plan:
    """Return the narrowest plan for `symbols` (n,)."""
    affine = _affine(values)
    alphabets, base = narrowest(symbols, affine.number)
    plan = Plan(affine.number, alphabets, base, affine)
    return replace(plan, axis_bytes=len(write_axis(plan)))


def to_planes(plan: Plan, symbols: Array) -> Planes:
    """Return the symbols of `symbols` (n,) as (n, width)."""
    return split(symbols, plan.number, plan.base)


def from_planes(plan: Plan, planes: Planes) -> Array:
    """Return the numbers (n,) of `planes` (n, width)."""
    return join(planes, plan.number, plan.base)


def _range(number: DType) -> tuple[int, int]:
    info = np.iinfo(NUMPY[number])
    return int(info.min), int(info.max)


def _has_points(values: Affine) -> bool:
    return bool(np.any(values.zero_point))


def _affine(values: Values) -> Affine:
    if not isinstance(values, Affine):
        raise TypeError(f"values_affine got {type(values).__name__}")
    return values
