"""Fixed point Qm.n with a fraction length per tensor or per axis (Qiu et al. 2016).

Spec: spec/encodings/values_fixed.md    C: dcformat/c/dcf_values_fixed.c
"""

from __future__ import annotations

import struct
from dataclasses import replace

import numpy as np

from ..coded import Fixed, Values
from ..errors import Code
from ..fields import Fields
from ..ids import NO_AXIS, DType
from ..model import Array
from .parts import (
    Plan,
    Planes,
    join,
    narrowest,
    need_real,
    read_axis_id,
    read_narrow,
    split,
    write_narrow,
)


def read_params(
    fields: Fields, dtype: DType, stored_shape: tuple[int, ...], tables: list[object]
) -> Plan:
    """Return the plan of a fixed-point tensor."""
    number = fields.u8()
    fields.need(number in (DType.INT8, DType.INT16), f"number type {number}")
    axis = read_axis_id(fields, stored_shape)
    fraction = fields.i8()
    fields.need(axis is None or fraction == 0, "fraction length beside an axis")
    fields.need(fields.u8() == 0, "reserved byte", Code.PADDING)
    alphabets, base = read_narrow(fields, DType(number))
    need_real(fields, dtype)
    values = Fixed(DType(number), np.asarray(fraction, np.int32), axis)
    size = 0 if axis is None else stored_shape[axis]
    return Plan(DType(number), alphabets, base, values, size)


def write_params(plan: Plan, table: int | None) -> bytes:
    """Return the parameters of a record."""
    values = _fixed(plan.values)
    axis = NO_AXIS if values.axis is None else values.axis
    fraction = int(values.fraction) if values.axis is None else 0
    return struct.pack("<BBbB", values.number, axis, fraction, 0) + write_narrow(plan)


def read_axis(plan: Plan, data: memoryview, stored_shape: tuple[int, ...]) -> Values:
    """Return the values with one fraction length for each index of their axis."""
    values = _fixed(plan.values)
    if values.axis is None:
        return values
    return replace(values, fraction=np.frombuffer(data, np.int8).astype(np.int32))


def write_axis(plan: Plan) -> bytes:
    """Return one fraction length for each index of the axis."""
    values = _fixed(plan.values)
    return b"" if values.axis is None else values.fraction.astype(np.int8).tobytes()


def plan_of(values: Values, dtype: DType, symbols: Array) -> Plan:
    """Return the narrowest plan for `symbols` (n,)."""
    fixed = _fixed(values)
    alphabets, base = narrowest(symbols, fixed.number)
    size = 0 if fixed.axis is None else int(fixed.fraction.size)
    return Plan(fixed.number, alphabets, base, fixed, size)


def to_planes(plan: Plan, symbols: Array) -> Planes:
    """Return the symbols of `symbols` (n,) as (n, width)."""
    return split(symbols, plan.number, plan.base)


def from_planes(plan: Plan, planes: Planes) -> Array:
    """Return the numbers (n,) of `planes` (n, width)."""
    return join(planes, plan.number, plan.base)


def _fixed(values: Values) -> Fixed:
    if not isinstance(values, Fixed):
        raise TypeError(f"values_fixed got {type(values).__name__}")
    return values
