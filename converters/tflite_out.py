"""An ONNX model as a TFLite file: every operator by a table, the whole or one error.

Spec: tensorflow/lite/schema/schema.fbs; https://onnx.ai/onnx/operators. Sisters:
tflite_out_onnx.py (what is read), tflite_out_layout.py (axes), tflite_out_bytes.py (what is
written), tflite_out_*.py (operators by kind).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dcformat.errors import ConvertError
from dcformat.files import scratch_folder
from dcformat.ids import DType
from dcformat.model import Model, Scales, Tensor
from dcformat.scaled import real

from . import (
    tflite_out_axes,
    tflite_out_elements,
    tflite_out_quantize,
    tflite_out_recurrent,
    tflite_out_reduce,
    tflite_out_resize,
    write_onnx,
)
from .tflite_out_bytes import file_of
from .tflite_out_conv import channels, conv, conv_transpose
from .tflite_out_dense import gemm, matmul
from .tflite_out_integer import Ranges, left_real
from .tflite_out_integer_rules import to_integers
from .tflite_out_layout import Value, plain, settled, transposes, whole
from .tflite_out_maker import Maker, Translation, dtype_of
from .tflite_out_net import Net, OutTensor, Unsupported, check_names, fuse_activations, prune
from .tflite_out_norms import CHANNELS, fold_layers
from .tflite_out_onnx import (
    WRONG_NODE,
    Integers,
    SourceGraph,
    SourceNode,
    load_proto,
    not_valid,
    source_of,
)
from .tflite_out_pool import average_pool, global_pool, max_pool
from .tflite_out_weights import store_weights

_DESCRIPTION = "written by dcformat"
_MAX_AXES = 8
_TABLE: dict[str, Translation] = {
    CHANNELS: channels,
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "Gemm": gemm,
    "MatMul": matmul,
    "MaxPool": max_pool,
    "AveragePool": average_pool,
    "GlobalAveragePool": global_pool,
    "GlobalMaxPool": global_pool,
    **tflite_out_elements.TRANSLATIONS,
    **tflite_out_axes.TRANSLATIONS,
    **tflite_out_reduce.TRANSLATIONS,
    **tflite_out_resize.TRANSLATIONS,
    **tflite_out_recurrent.TRANSLATIONS,
    **tflite_out_quantize.TRANSLATIONS,
}


@dataclass(frozen=True)
class Written:
    """A file, and what there is to say of it: `notes` are what was assumed.

    Where integers were asked for, `real` are the kinds of the operators that stay in float32.
    """

    data: bytes
    operators: int
    transposes: int
    notes: tuple[str, ...]
    real: tuple[str, ...] = ()


@dataclass(frozen=True)
class Wanted:
    """How a model is to be written: the size of open batches, and what numbers are stored as.

    `weights` is one of tflite_out_weights.KINDS, empty as the model has them. With `ranges`, the
    smallest and largest number of every value that was seen, all is computed in integers. `shape`
    are shapes of inputs, as texts: "input=1,3,224,224".
    """

    batch: int = 1
    weights: str = ""
    ranges: Ranges | None = None
    shape: tuple[str, ...] = ()


def tflite_of(model: Model, wanted: Wanted | None = None) -> Written:
    """Return a TFLite file of a model with an ONNX graph; its integers stay what they are.

    Raises ConvertError.
    """
    with scratch_folder() as folder:
        write_onnx.write(real(model), folder / "model.onnx")
        data = (folder / "model.onnx").read_bytes()
    held = {tensor.name: tensor for tensor in model.tensors if tensor.name in model.scales}
    own = {name: _integers(tensor, model.scales[name]) for name, tensor in held.items()}
    return translated(data, wanted or Wanted(), own)


def _integers(tensor: Tensor, scales: Scales) -> Integers:
    """Return 8-bit integers of a model; those without a sign are moved to where int8 has them."""
    numbers, points = np.asarray(tensor.data), scales.zero_point.astype(np.int64).reshape(-1)
    if tensor.dtype is DType.UINT8:
        numbers, points = (numbers.astype(np.int16) - 128).astype(np.int8), points - 128
    return Integers(numbers, scales.scale.reshape(-1), points, scales.axis)


def translated(
    proto: bytes, wanted: Wanted | None = None, integers: Mapping[str, Integers] | None = None
) -> Written:
    """Return a TFLite file of a serialized ONNX model. Raises ConvertError."""
    try:
        with np.errstate(all="ignore"):  # constants may be what they like
            return _translated_file(load_proto(proto), wanted or Wanted(), integers or {})
    except WRONG_NODE as error:
        raise ConvertError(f"the model {not_valid(error)}") from error


def _translated_file(proto: Any, wanted: Wanted, integers: Mapping[str, Integers]) -> Written:
    source = source_of(proto, wanted.batch, integers, wanted.shape)
    fold_layers(source)
    net = net_of(source)
    if wanted.ranges is None:
        store_weights(net, wanted.weights)
    else:
        to_integers(net, wanted.ranges)
    prune(net)
    check_names(net)
    real = () if wanted.ranges is None else tuple(left_real(net))
    return Written(file_of(net, _DESCRIPTION), len(net.ops), transposes(net), source.notes, real)


def net_of(source: SourceGraph) -> Net:
    """Return the TFLite graph. Raises ConvertError, naming every node that cannot be in it."""
    maker = Maker(source)
    for name in source.inputs:
        _add_input(maker, name)
    problems = _translate(maker)
    if problems:
        raise ConvertError(_told(problems))
    for name in source.outputs:
        _add_output(maker, name)
    prune(maker.net)
    fuse_activations(maker.net)
    return maker.net


def _add_input(maker: Maker, name: str) -> None:
    fact = maker.source.facts[name]
    try:
        dtype = dtype_of(fact.kind)
    except Unsupported as reason:
        raise ConvertError(f"input {name!r} has {reason}") from None
    if fact.shape is None or len(fact.shape) > _MAX_AXES:
        raise ConvertError(f"input {name!r} has more than {_MAX_AXES} axes")
    index = maker.net.tensor(OutTensor(name, dtype, fact.shape, value=name))
    maker.net.inputs.append(index)
    maker.values[name] = whole(maker.net, index)


def _translate(maker: Maker) -> list[str]:
    """Translate every node; return the nodes that cannot be, with reasons."""
    problems: list[str] = []
    lost: set[str] = set()  # outputs of those nodes, and of what takes them
    for node in maker.source.nodes:
        if lost & set(node.inputs):
            lost |= set(node.outputs)
            problems += [_problem(node, "not an operator that TFLite has")] * (
                node.op not in _TABLE
            )
            continue
        try:
            _bind(maker, node, _translated(maker, node))
        except (Unsupported, *WRONG_NODE) as reason:
            own = str(reason) if isinstance(reason, Unsupported) else not_valid(reason)
            problems.append(_problem(node, own))
            lost |= set(node.outputs)
    return problems


def _translated(maker: Maker, node: SourceNode) -> Sequence[Value]:
    if node.op not in _TABLE:
        raise Unsupported("not an operator that TFLite has")
    maker.net.label = node.shown
    return _TABLE[node.op](maker, node)


def _bind(maker: Maker, node: SourceNode, values: Sequence[Value]) -> None:
    for name, value in zip(node.outputs, values, strict=False):
        if not name:
            continue
        maker.values[name] = value
        if value.shape is None:
            maker.net.bind(value.tensor, name)
    if any(name and name not in maker.values for name in node.outputs):
        raise Unsupported("more outputs than TFLite gives")


def _problem(node: SourceNode, reason: str) -> str:
    return f"{node.shown!r} ({node.op}): {reason}"


def _told(problems: list[str]) -> str:
    nodes = "1 node" if len(problems) == 1 else f"{len(problems)} nodes"
    return f"{nodes} cannot be written as TFLite: {'; '.join(problems)}"


def _add_output(maker: Maker, name: str) -> None:
    """Give the graph an output, with the source's axes and name, in a tensor of its own."""
    net = maker.net
    try:
        index = plain(net, settled(net, maker.raw(name)))
    except Unsupported as reason:
        raise ConvertError(f"output {name!r}: {reason}") from None
    net.label = name
    if index in (*net.inputs, *net.outputs) or net.tensors[index].data is not None:
        shape = net.tensors[index].shape
        index = net.add("Reshape", [index, net.ints(shape)], shape, new_shape=shape)
    net.rename(index, name)
    net.outputs.append(index)
