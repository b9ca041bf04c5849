"""Shared weights: a symbol is an index into a table of levels (Han et al. 2016).

Spec: spec/encodings/values_codebook.md    C: dcformat/c/dcf_values_codebook.c
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from .. import ordered
from ..coded import Codebook, Values
from ..fields import Fields
from ..ids import BITS, NUMPY, WIDTH, DType, ScaleKind, TableKind
from ..model import Array
from .parts import SIGNED, Plan, Planes, need_real, number_range, read_scale, read_table


@dataclass(frozen=True, eq=False)
class Levels:
    """A CODEBOOK entry of TABLES."""

    level: DType
    levels: Array


def parse_table(entry: memoryview, place: str) -> Levels | None:
    """Return a CODEBOOK entry, or None where its level type is unknown."""
    fields = Fields(entry, place)
    fields.u8()
    level, count = fields.u8(), fields.u8() + 1
    if level not in set(DType):
        return None
    dtype = DType(level)
    fields.need(fields.left == count * WIDTH[dtype], f"{count} levels of {dtype.name}")
    levels = np.frombuffer(fields.take(count * WIDTH[dtype]), NUMPY[dtype].replace("?", "u1"))
    if BITS[dtype] < 8 or dtype is DType.BOOL:
        low, high = number_range(dtype)
        whole = levels.view(np.int8 if dtype in SIGNED else np.uint8)
        fields.need(bool(((whole >= low) & (whole <= high)).all()), "level out of range")
    return Levels(dtype, levels.view(NUMPY[dtype]))


def parse_sorted(entry: memoryview, place: str) -> Levels | None:
    """Return a CODEBOOK_SORTED entry, or None where its level type is unknown."""
    fields = Fields(entry, place)
    fields.u8()
    level, count = fields.u8(), fields.u8() + 1
    if level not in set(DType):
        return None
    dtype = DType(level)
    fields.need(dtype in ordered.FLOATS, f"levels of {dtype.name}, sorted")
    keys = ordered.unpack(fields, count, 8 * WIDTH[dtype])
    bits = ordered.from_keys(np.array(keys, f"<u{WIDTH[dtype]}"), dtype)
    return Levels(dtype, np.ascontiguousarray(bits).view(NUMPY[dtype]))


def write_table(level: DType, levels: Array) -> bytes:
    """Return the CODEBOOK entry of `levels`."""
    raw = np.ascontiguousarray(levels).tobytes()
    return struct.pack("<BBB", TableKind.CODEBOOK, level, len(levels) - 1) + raw


def write_sorted(level: DType, levels: Array) -> bytes | None:
    """Return the CODEBOOK_SORTED entry of `levels`, None where they are not in ascending order."""
    if level not in ordered.FLOATS:
        return None
    bits = np.ascontiguousarray(levels).view(f"<u{WIDTH[level]}")
    keys = ordered.sort_keys(bits, level).tolist()
    if any(one >= other for one, other in pairwise(keys)):
        return None
    head = struct.pack("<BBB", TableKind.CODEBOOK_SORTED, level, len(levels) - 1)
    return head + ordered.pack(keys, 8 * WIDTH[level])


def read_params(
    fields: Fields, dtype: DType, stored_shape: tuple[int, ...], tables: list[object]
) -> Plan:
    """Return the plan of a tensor with a codebook."""
    index, table = read_table(fields, tables, Levels)
    kind, detail = fields.u8(), fields.u8()
    fields.need(kind in set(ScaleKind), f"scale kind {kind}")
    if kind == ScaleKind.AXIS:
        fields.need(detail < len(stored_shape), f"axis {detail}")
    elif kind != ScaleKind.FRACTION:
        fields.need(detail == 0, f"detail {detail}")
    scale = read_scale(fields) if kind == ScaleKind.TENSOR else None
    if kind == ScaleKind.NONE:
        fields.need(table.level == dtype, f"levels of {table.level.name}")
    else:
        fields.need(table.level in (DType.INT8, DType.INT16), f"levels of {table.level.name}")
        need_real(fields, dtype)
    values = _values(table, ScaleKind(kind), detail, scale)
    size = 4 * stored_shape[detail] if kind == ScaleKind.AXIS else 0
    return Plan(table.level, (len(table.levels),), 0, values, size, index)


def _values(
    table: Levels, kind: ScaleKind, detail: int, scale: npt.NDArray[np.float32] | None
) -> Codebook:
    if kind == ScaleKind.TENSOR:
        return Codebook(table.level, table.levels, scale)
    if kind == ScaleKind.AXIS:
        return Codebook(table.level, table.levels, np.zeros(0, np.float32), axis=detail)
    fraction = (detail ^ 0x80) - 0x80 if kind == ScaleKind.FRACTION else None
    return Codebook(table.level, table.levels, fraction=fraction)


def scale_kind(values: Codebook) -> ScaleKind:
    """Return what the levels are multiplied with."""
    if values.fraction is not None:
        return ScaleKind.FRACTION
    if values.scale is None:
        return ScaleKind.NONE
    return ScaleKind.TENSOR if values.axis is None else ScaleKind.AXIS


def write_params(plan: Plan, table: int | None) -> bytes:
    """Return the parameters of a record; `table` is the codebook's index in TABLES."""
    values = _codebook(plan.values)
    kind = scale_kind(values)
    detail = (values.axis or 0) if kind == ScaleKind.AXIS else (values.fraction or 0) & 0xFF
    head = struct.pack("<HBB", table or 0, kind, detail)
    if kind != ScaleKind.TENSOR or values.scale is None:
        return head
    return head + values.scale.astype("<f4").tobytes()


def read_axis(plan: Plan, data: memoryview, stored_shape: tuple[int, ...]) -> Values:
    """Return the values with one scale for each index of their axis."""
    values = _codebook(plan.values)
    if values.axis is None:
        return values
    return replace(values, scale=np.frombuffer(data, "<f4"))


def write_axis(plan: Plan) -> bytes:
    """Return one scale for each index of the axis."""
    values = _codebook(plan.values)
    if values.axis is None or values.scale is None:
        return b""
    return values.scale.astype("<f4").tobytes()


def plan_of(values: Values, dtype: DType, symbols: Array) -> Plan:
    """Return the plan for index `symbols` (n,)."""
    codebook = _codebook(values)
    size = 0 if codebook.axis is None or codebook.scale is None else 4 * codebook.scale.size
    return Plan(codebook.level, (len(codebook.levels),), 0, codebook, size)


def to_planes(plan: Plan, symbols: Array) -> Planes:
    """Return index symbols (n,) as (n, 1)."""
    return symbols.astype(np.uint8, copy=False).reshape(-1, 1)


def from_planes(plan: Plan, planes: Planes) -> Array:
    """Return index symbols (n,) of `planes` (n, 1)."""
    return planes[:, 0]


def _codebook(values: Values) -> Codebook:
    if not isinstance(values, Codebook):
        raise TypeError(f"values_codebook got {type(values).__name__}")
    return values
