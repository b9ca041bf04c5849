"""Raw values: a symbol is the element itself.

Spec: spec/encodings/values_raw.md    C: dcformat/c/dcf_values_raw.c
"""

from __future__ import annotations

from ..coded import Raw, Values
from ..fields import Fields
from ..ids import DType
from ..model import Array
from .parts import Plan, Planes, join, narrowest, read_narrow, split, write_narrow


def read_params(
    fields: Fields, dtype: DType, stored_shape: tuple[int, ...], tables: list[object]
) -> Plan:
    """Return the plan of a tensor whose numbers are its elements."""
    alphabets, base = read_narrow(fields, dtype)
    return Plan(dtype, alphabets, base, Raw())


def write_params(plan: Plan, table: int | None) -> bytes:
    """Return the parameters of a record."""
    return write_narrow(plan)


def read_axis(plan: Plan, data: memoryview, stored_shape: tuple[int, ...]) -> Values:
    """Return the values with their parameters per axis; there are none."""
    return plan.values


def write_axis(plan: Plan) -> bytes:
    """Return the parameters per axis; there are none."""
    return b""


def plan_of(values: Values, dtype: DType, symbols: Array) -> Plan:
    """Return the narrowest plan for `symbols` (n,)."""
    alphabets, base = narrowest(symbols, dtype)
    return Plan(dtype, alphabets, base, values)


def to_planes(plan: Plan, symbols: Array) -> Planes:
    """Return the symbols of `symbols` (n,) as (n, width)."""
    return split(symbols, plan.number, plan.base)


def from_planes(plan: Plan, planes: Planes) -> Array:
    """Return the numbers (n,) of `planes` (n, width)."""
    return join(planes, plan.number, plan.base)
