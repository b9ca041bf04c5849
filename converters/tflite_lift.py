"""Choose which buffers of a .tflite become tensors of their own, and say what they hold.

Spec: spec/DCF.md, section GRAPH. Sisters: read_tflite.py (reads the numbers), write_tflite.py (asks
the same of the skeleton, and must be told the same), tflite_uses.py (what tensors are for).

What is chosen here follows from the tables alone, not from numbers. A buffer is lifted under the
name of the tensor that has the most important use of it; others of the same shape and scales are
ties; others stay names in the graph.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import prod

import numpy as np

from dcformat.errors import ConvertError
from dcformat.ids import BITS, DType
from dcformat.model import Scales, Use
from dcformat.scaled import NUMBERS, integer_range, same_scales

from .onnx_data import check_size
from .tflite_schema import DTYPES, Region, TfModel, TfTensor
from .tflite_uses import RANKS, Key, uses_of
from .weights import check_dims, check_name

MIN_BYTES = 64  # a record and a name cost about as much
_PARAMETERS = frozenset({"weight", "bias", "norm"})
_OTHER = Use("", "", "other")
_SCALES = 2.0**-100, 2.0**100  # between these, an integer follows from its product


@dataclass(frozen=True, eq=False)
class Entry:
    """A buffer that can be lifted: the tensor that it holds, and other names of the same."""

    region: Region
    name: str
    dtype: DType
    dims: tuple[int, ...]
    scales: Scales | None
    use: Use
    ties: tuple[str, ...]

    @property
    def elements(self) -> int:
        return prod(self.dims)


@dataclass(frozen=True)
class Plan:
    """What can be lifted, in the order of the bytes, and why the rest cannot."""

    entries: tuple[Entry, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Said:
    """What one tensor says of the buffer it has."""

    name: str
    use: Use
    dtype: DType
    dims: tuple[int, ...]
    scales: Scales | None

    def same(self, other: _Said) -> bool:
        return (self.dtype, self.dims) == (other.dtype, other.dims) and same_scales(
            self.scales, other.scales
        )


def plan_of(model: TfModel) -> Plan:
    """Return the buffers of a model that can be lifted."""
    uses, names = uses_of(model), names_of(model)
    owners: dict[Region, list[Key]] = {}
    for key in names:
        owners.setdefault(_region(model, key), []).append(key)
    tangled = _overlapping(model.buffers) | {model.buffers[i] for i in _metadata(model)}
    entries, notes = [], []
    for region in sorted(owners, key=lambda one: one.start):
        keys = owners[region]
        try:
            if region in tangled:
                raise ConvertError("other parts of the file hold its bytes, too")
            entries.append(_entry(model, region, keys, uses, names))
        except ConvertError as error:
            notes.append(f"{names[keys[0]]}: stays in the graph: {error.message}")
    return Plan(tuple(entries), tuple(notes))


def _region(model: TfModel, key: Key) -> Region:
    return model.buffers[model.subgraphs[key[0]].tensors[key[1]].buffer]


def _metadata(model: TfModel) -> Iterable[int]:
    return (index for index in model.metadata if 0 <= index < len(model.buffers))


def _overlapping(regions: Iterable[Region]) -> set[Region]:
    """Return regions that share bytes with another one."""
    found: set[Region] = set()
    last = Region(0, 0)
    for region in sorted({r for r in regions if r.size}, key=lambda one: (one.start, one.end)):
        if region.start < last.end:
            found |= {region, last}
        last = max(last, region, key=lambda one: one.end)
    return found


@dataclass
class _Names:
    """Gives each tensor a name that no other has and that a .dcf can hold."""

    taken: set[str] = field(default_factory=set)
    last: dict[str, int] = field(default_factory=dict)

    def claim(self, name: str, key: Key) -> str:
        try:
            unique = name = check_name(name)
            check_name(f"{name}_{1 << 20}")  # there is room for a number
        except ConvertError:
            unique = name = f"subgraph{key[0]}/tensor{key[1]}"
        while unique in self.taken:
            self.last[name] = self.last.get(name, 1) + 1
            unique = f"{name}_{self.last[name]}"
        self.taken.add(unique)
        return unique


def names_of(model: TfModel) -> dict[Key, str]:
    """Return the names of all tensors that have a buffer with something in it."""
    names = _Names()
    return {
        (number, index): names.claim(tensor.name, (number, index))
        for number, graph in enumerate(model.subgraphs)
        for index, tensor in enumerate(graph.tensors)
        if model.buffers[tensor.buffer].size
    }


def _entry(
    model: TfModel,
    region: Region,
    keys: list[Key],
    uses: Mapping[Key, Use],
    names: Mapping[Key, str],
) -> Entry:
    """Return the entry of a buffer; ConvertError says why it stays where it is."""
    types = {model.subgraphs[number].tensors[index].type for number, index in keys}
    if len(types) > 1:  # other numbers of one would not be other numbers of the other
        raise ConvertError("tensors of other types have its bytes, too")
    keys = sorted(keys, key=lambda key: -RANKS[uses.get(key, _OTHER).role])
    own = _said(model, region, keys[0], uses, names)
    if region.size < MIN_BYTES and own.use.role not in _PARAMETERS:
        raise ConvertError(f"it has {region.size} bytes only")
    ties = []
    for key in keys[1:]:
        try:
            other = _said(model, region, key, uses, names)
        except ConvertError:  # another shape: it stays a name in the graph
            continue
        ties += [other.name] if own.same(other) else []
    return Entry(region, own.name, own.dtype, own.dims, own.scales, own.use, tuple(ties))


def _said(
    model: TfModel, region: Region, key: Key, uses: Mapping[Key, Use], names: Mapping[Key, str]
) -> _Said:
    tensor, use = model.subgraphs[key[0]].tensors[key[1]], uses.get(key, _OTHER)
    if tensor.type not in DTYPES:
        raise ConvertError(f"a .dcf has no element type {tensor.type} of TFLite")
    dtype = DTYPES[tensor.type]
    shape = tensor.shape
    if tensor.sparse:
        shape, use = (region.size * 8 // BITS[dtype],), Use(use.node, use.op, use.role)
    dims = check_dims(shape)
    check_size(dtype, region.size, prod(dims))
    return _Said(names[key], use, dtype, dims, scales_of(tensor, dtype, dims))


def scales_of(tensor: TfTensor, dtype: DType, dims: tuple[int, ...]) -> Scales | None:
    """Return what the integers of a tensor mean, None where its numbers are what they are."""
    found = tensor.quantization
    if found is None or dtype not in NUMBERS or found.zero_point.size != found.scale.size:
        return None
    low, high = integer_range(dtype)
    if not (_SCALES[0] <= found.scale.min() and found.scale.max() <= _SCALES[1]):
        return None
    if found.zero_point.min() < low or found.zero_point.max() > high:
        return None
    points = found.zero_point.astype(np.int32)
    if found.scale.size == 1:
        return Scales(found.scale.reshape(()), points.reshape(()))
    if tensor.sparse or not 0 <= found.axis < len(dims) or dims[found.axis] != found.scale.size:
        return None
    return Scales(found.scale, points, found.axis)
