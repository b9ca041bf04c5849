"""Choose which tensors of an ONNX model become tensors of their own, and read their numbers.

Spec: spec/DCF.md, section GRAPH. Sister files: read_onnx.py, onnx_data.py. What is not lifted
stays in the graph byte for byte, with a note that says why.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

from dcformat.errors import ConvertError
from dcformat.graph import DATA_FIELDS
from dcformat.ids import DType
from dcformat.model import Tensor, Use

from . import onnx_wire as wire
from .onnx_data import DOUBLE_DATA, FLOAT_DATA, RAW_DATA, check_field, stored_bytes
from .onnx_external import ExternalFiles
from .onnx_files import Stored
from .onnx_lazy import Packed, Region, packed, read, varints
from .onnx_names import names_of
from .onnx_scopes import Program, Site, follow, text
from .weights import Keeper, check_dims

STAYS = ": stays in the graph: "  #: in notes, between a tensor's name and the reason
MIN_BYTES = 64  # a record and a name cost about as much
_PARAMETERS = frozenset({"weight", "bias", "norm"})
_EXTERNAL = 1  # TensorProto.DataLocation
_LONG = 16  # values of an attribute that are worth a note
_SMALL = 64  # elements of a shape that is worth reading


@dataclass(frozen=True)
class Lifted:
    """A tensor that leaves the graph: number in the scan, fields to cut, field to put back."""

    index: int
    path: wire.Path
    fields: tuple[wire.Field, ...]
    field: int
    tensor: Tensor


@dataclass(frozen=True)
class Parts:
    """An ONNX file taken apart: where the tensors are, the rest as protos, the scopes."""

    file: Stored
    found: wire.Scan
    model: Any  # onnx.ModelProto without numbers
    program: Program

    @cached_property
    def spans(self) -> dict[wire.Path, wire.Found]:
        """Tensors by path."""
        return {tensor.path: tensor for tensor in self.found.tensors}

    @cached_property
    def sites(self) -> frozenset[wire.Path]:
        """Paths of initializers and of values of Constant nodes."""
        return frozenset(site.path for site in self.program.sites)

    def small_integers(self, site: Site) -> list[int] | None:
        """Return the values of an INT64 tensor that may be a shape; None where it is not one."""
        proto = site.proto
        if proto.data_type != DType.INT64 or proto.data_location == _EXTERNAL:
            return None
        try:
            dims = check_dims(proto.dims)
            if prod(dims) > _SMALL:
                return None
            _, region = _numbers(self.file, self.spans[site.path], proto)
            return [int(n) for n in read(region).flat]
        except ConvertError:  # such a tensor stays in the graph, and its note says why
            return None


def lift(
    parts: Parts, uses: Mapping[wire.Path, Use], external: ExternalFiles, keeper: Keeper
) -> tuple[list[Lifted], list[str]]:
    """Return the tensors that are lifted, in the order of their bytes, and notes on the others.

    Raises ConvertError naming the tensor where its external data cannot be had.
    """
    names = names_of(parts.program, parts.found)
    lifted: list[Lifted] = []
    notes: list[str] = []
    for index, span in enumerate(parts.found.tensors):
        proto, name = follow(parts.model, span.path), names[span.path]
        if proto.data_location == _EXTERNAL:
            lifted.append(_from_outside(index, span, proto, name, external, keeper))
            continue
        try:
            lifted.append(_from_inside(parts, index, proto, name, uses.get(span.path), keeper))
        except ConvertError as reason:
            notes.append(f"{name}{STAYS}{reason.message}")
    return lifted, notes + list(_long_attributes(parts.program))


def _long_attributes(program: Program) -> Iterator[str]:
    """Notes on weights that sit in attributes: tree ensembles, linear models."""
    for node in program.nodes:
        for attribute in node.proto.attribute:
            count = len(attribute.floats) + len(attribute.ints) + len(attribute.strings)
            if count >= _LONG:
                what = f"{count} values in attribute {text(attribute.name)}"
                yield f"{node.label}{STAYS}{what}"


def _from_inside(
    parts: Parts, index: int, proto: Any, name: str, use: Use | None, keeper: Keeper
) -> Lifted:
    """Lift a tensor whose data is in the file; ConvertError says why it stays in the graph."""
    span = parts.found.tensors[index]
    if span.path not in parts.sites:
        raise ConvertError(_place(parts.model, span.path))
    dtype, dims = _dtype(proto), check_dims(proto.dims)
    size = stored_bytes(dtype, prod(dims))
    parameter = use is not None and use.role in _PARAMETERS
    if size == 0 or (size < MIN_BYTES and not parameter):
        raise ConvertError("it is empty" if size == 0 else f"it has {size} bytes only")
    field, region = _numbers(parts.file, span, proto)
    tensor = keeper.tensor(name, dtype, dims, region)
    return Lifted(index, span.path, (field,), field.number, tensor)


def _from_outside(
    index: int,
    span: wire.Found,
    proto: Any,
    name: str,
    external: ExternalFiles,
    keeper: Keeper,
) -> Lifted:
    """Lift a tensor with external data, which the skeleton then no longer refers to."""
    try:
        if span.crowded:
            raise ConvertError("its external data has too many entries")
        dtype, dims = _dtype(proto), check_dims(proto.dims)
        entries = {text(e.key): text(e.value) for e in proto.external_data}
        file, offset = external.locate(entries, stored_bytes(dtype, prod(dims)))
        tensor = keeper.tensor(name, dtype, dims, Packed(file, offset, dtype, dims))
    except ConvertError as error:
        raise error.at(f"tensor {name!r}") from error.__cause__
    cut = DATA_FIELDS | {wire.EXTERNAL_DATA, wire.DATA_LOCATION}
    fields = tuple(f for f in span.fields if f.number in cut)
    return Lifted(index, span.path, fields, RAW_DATA, tensor)


def _numbers(file: Stored, span: wire.Found, proto: Any) -> tuple[wire.Field, Region]:
    """Return the one field that holds a tensor's data, and where in `file` the data is."""
    fields = [f for f in span.fields if f.number in DATA_FIELDS]
    if any(f.number in (wire.SEGMENT, wire.STRING_DATA) for f in span.fields):
        raise ConvertError("it has segments or strings")
    if span.crowded or len(fields) > 1:
        raise ConvertError("its data stands in more than one piece")
    if not fields or fields[0].wire != wire.BYTES:
        raise ConvertError("its data is not packed" if fields else "it holds no data")
    (field,), dtype, dims = fields, _dtype(proto), check_dims(proto.dims)
    check_field(field.number, dtype)
    size = field.end - field.value
    if field.number in (FLOAT_DATA, DOUBLE_DATA, RAW_DATA):
        return field, packed(file, field.value, size, dtype, dims)
    return field, varints(file, field.value, size, field.number, dtype, dims)


def _dtype(proto: Any) -> DType:
    try:
        return DType(proto.data_type)
    except ValueError:
        raise ConvertError(f"a .dcf has no element type {proto.data_type}") from None


def _place(model: Any, path: wire.Path) -> str:
    """Say what a tensor belongs to that is no initializer and no Constant."""
    while path:
        path = path[0]
        owner = follow(model, path)
        if owner.DESCRIPTOR.name == "NodeProto":
            return f"an attribute of {text(owner.op_type)}"
        if owner.DESCRIPTOR.name == "FunctionProto":
            return f"a default of function {text(owner.name)}"
    return "part of the training information"
