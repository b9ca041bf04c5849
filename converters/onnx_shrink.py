"""Take filters out of a coded ONNX model that are zero everywhere, and channels nobody takes.

A filter of zeros gives its bias, wherever it looks; behind norms and activations that is still one
number. Where the layers that take it can do without, or have it in their own bias, it leaves the
graph, with all that belongs to it. The numbers that stay are not chosen again. What it answers is
the same but for the order of rounding. Sisters: onnx_shrink_flow.py, onnx_shrink_ops.py (what may
go), onnx_shrink_cut.py (takes it out).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx

from dcformat.coded import (
    Affine,
    Codebook,
    CodedModel,
    CodedTensor,
    Fixed,
    Pow2,
    Raw,
    Values,
    expand,
    expand_tensor,
    same_bits,
)
from dcformat.errors import ConvertError
from dcformat.files import scratch_folder
from dcformat.formats import Shrunk
from dcformat.ids import WIDTH
from dcformat.model import Model

from .onnx_shrink_cut import Edits, Keep, apply
from .onnx_shrink_flow import Flow, flow_of
from .onnx_shrink_ops import follow
from .read_onnx import read
from .write_onnx import write

_ROUNDS = 64  # each takes a channel away at least; what is left then stays


def shrink(coded: CodedModel) -> Shrunk:
    """Return `coded` without the filters and channels that its ONNX graph can do without."""
    with scratch_folder() as folder:
        write(expand(coded), folder / "whole.onnx")
        proto = onnx.load(folder / "whole.onnx")
        found, edits = _Found(), Edits()
        for _ in range(_ROUNDS):
            flow = flow_of(proto)
            follow(flow)
            gone = flow.gone()
            found.note(flow, gone)
            if not gone.any():
                break
            apply(flow, gone, edits)
        made = _coded_again(coded, proto, edits, folder / "small.onnx") if edits.parts else coded
    lost = _bytes(coded) - _bytes(made)
    counts = found.filters, found.channels, len(found.layers)
    return Shrunk(made, *counts, lost, dict(sorted(found.staying.items())))


class _Found:
    """What was seen, round by round."""

    def __init__(self) -> None:
        self.filters = self.channels = 0
        self.layers: set[str] = set()
        self.staying: Counter[str] = Counter()

    def note(self, flow: Flow, gone: Keep) -> None:
        why = flow.reasons()
        self.staying = Counter()
        for layer in flow.layers:
            lost = gone[layer.ids]
            self.filters += int((lost & layer.zero).sum())
            self.channels += int((lost & ~layer.zero).sum())
            self.layers |= {layer.label} if lost.any() else set()
            self.staying.update(why[flow.root(i)] for i in layer.ids[layer.zero & ~lost].tolist())


def _bytes(coded: CodedModel) -> int:
    return sum(tensor.size * WIDTH[tensor.dtype] for tensor in coded.tensors)


def _coded_again(coded: CodedModel, proto: onnx.ModelProto, edits: Edits, path: Path) -> CodedModel:
    """Return the smaller model with the numbers that were chosen for the larger one."""
    onnx.save(proto, path)
    model = read(path)
    tensors = {tensor.name: tensor for tensor in coded.tensors}
    made = tuple(_tensor(model, number, tensors, edits) for number in range(len(model.tensors)))
    changed = set(edits.numbers)
    layers = tuple(layer for layer in coded.layers if not {layer.weight, layer.bias} & changed)
    return replace(coded, tensors=made, graph=model.graph, layers=layers)


def _tensor(
    model: Model, number: int, tensors: Mapping[str, CodedTensor], edits: Edits
) -> CodedTensor:
    tensor = model.tensors[number]
    origin, steps = edits.origin(tensor.name)
    whole = tensors.get(origin)
    if whole is None or tensor.name in edits.numbers:
        exact = tensor.name not in edits.numbers
        return CodedTensor(tensor.name, tensor.dtype, np.array(tensor.data), Raw(), exact=exact)
    part = whole
    for axis, keep in steps:
        part = taken(part, axis, keep)
    if not same_bits(expand_tensor(part), tensor.data):
        raise ConvertError(f"tensor {tensor.name!r}: what is left of it is not what it was")
    if part.name == tensor.name:
        return part
    return CodedTensor(tensor.name, part.dtype, part.symbols, part.values, part.order, part.exact)


def taken(tensor: CodedTensor, axis: int, keep: Keep) -> CodedTensor:
    """Return the part of a coded tensor that `keep` has along `axis`, with the same numbers."""
    symbols = np.ascontiguousarray(np.compress(keep, tensor.symbols, axis))
    return CodedTensor(
        tensor.name,
        tensor.dtype,
        symbols,
        _values(tensor, axis, keep),
        tensor.order,
        tensor.exact,
    )


def _values(tensor: CodedTensor, axis: int, keep: Keep) -> Values:
    values = tensor.values
    if isinstance(values, Affine) and values.block:
        if axis == values.axis:
            raise ConvertError(f"tensor {tensor.name!r}: its scales are of blocks of inputs")
        scale = np.compress(keep, values.scale, axis)
        return replace(values, scale=scale, zero_point=np.compress(keep, values.zero_point, axis))
    if isinstance(values, Raw) or values.axis != axis:
        return values
    if isinstance(values, Affine):
        return replace(values, scale=values.scale[keep], zero_point=values.zero_point[keep])
    if isinstance(values, Fixed | Pow2):
        return replace(values, fraction=values.fraction[keep])
    return _book(values, keep)


def _book(values: Codebook, keep: npt.NDArray[np.bool_]) -> Codebook:
    return values if values.scale is None else replace(values, scale=values.scale[keep])
