"""Powers of two with signs, and a fraction length per tensor or per axis (Miyashita et al. 2016).

Spec: spec/encodings/values_pow2.md    C: dcformat/c/dcf_values_pow2.c
"""

from __future__ import annotations

import struct
from dataclasses import replace

import numpy as np

from ..coded import Pow2, Values
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
    """Return the plan of a tensor of powers of two."""
    number = fields.u8()
    fields.need(number == DType.INT8, f"number type {number}")
    axis = read_axis_id(fields, stored_shape)
    fraction = fields.i8()
    fields.need(axis is None or fraction == 0, "fraction length beside an axis")
    fields.need(fields.u8() == 0, "reserved byte", Code.PADDING)
    alphabets, base = read_narrow(fields, DType(number))
    need_real(fields, dtype)
    values = Pow2(np.asarray(fraction, np.int32), axis)
    size = 0 if axis is None else stored_shape[axis]
    return Plan(DType(number), alphabets, base, values, size)


def write_params(plan: Plan, table: int | None) -> bytes:
    """Return the parameters of a record."""
    values = _pow2(plan.values)
    axis = NO_AXIS if values.axis is None else values.axis
    fraction = int(values.fraction) if values.axis is None else 0
    return struct.pack("<BBbB", values.number, axis, fraction, 0) + write_narrow(plan)


def read_axis(plan: Plan, data: memoryview, stored_shape: tuple[int, ...]) -> Values:
    """Return the values with one fraction length for each index of their axis."""
    values = _pow2(plan.values)
    if values.axis is None:
        return values
    return replace(values, fraction=np.frombuffer(data, np.int8).astype(np.int32))


def write_axis(plan: Plan) -> bytes:
    """Return one fraction length for each index of the axis."""
    values = _pow2(plan.values)
    return b"" if values.axis is None else values.fraction.astype(np.int8).tobytes()


def plan_of(values: Values, dtype: DType, symbols: Array) -> Plan:
    """Return the narrowest plan for `symbols` (n,)."""
    pow2 = _pow2(values)
    alphabets, base = narrowest(symbols, pow2.number)
    size = 0 if pow2.axis is None else int(pow2.fraction.size)
    return Plan(pow2.number, alphabets, base, pow2, size)


def to_planes(plan: Plan, symbols: Array) -> Planes:
    """Return the symbols of `symbols` (n,) as (n, width)."""
    return split(symbols, plan.number, plan.base)


def from_planes(plan: Plan, planes: Planes) -> Array:
    """Return the numbers (n,) of `planes` (n, width)."""
    return join(planes, plan.number, plan.base)


def _pow2(values: Values) -> Pow2:
    if not isinstance(values, Pow2):
        raise TypeError(f"values_pow2 got {type(values).__name__}")
    return values
