"""How the weights of layers are stored: as float32, float16, or integers with a scale a channel.

What is stored smaller has an operator DEQUANTIZE behind it, and layers compute in float32. Integers
that the model has already are never made anew. Sister: tflite_out.py (who asks).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dcformat.ids import DType

from .tflite_out_net import Array, Net, Op, OutTensor, Scale

KINDS = ("float32", "float16", "int8", "int4")
#: Layers, and the axis of the output channels of their second input.
LAYERS = {"Conv2D": 0, "DepthwiseConv2D": 3, "FullyConnected": 0, "TransposeConv": 0}
_LARGEST = {"int8": 127, "int4": 7}


def store_weights(net: Net, kind: str) -> None:
    """Store the weights of `net`, in place, as `kind`; empty is as they are."""
    if not kind:
        return
    makers = {op.outputs[0]: op for op in net.ops}
    done: dict[tuple[int, int], int] = {}
    ops: list[Op] = []
    for op in net.ops:
        changed = op
        if op.kind in LAYERS:
            key = op.inputs[1], LAYERS[op.kind]
            if key not in done:
                done[key] = _stored(net, ops, key, makers.get(key[0]), kind)
            changed = replace(op, inputs=(op.inputs[0], done[key], *op.inputs[2:]))
        ops.append(changed)
    net.ops = ops


def _stored(net: Net, ops: list[Op], key: tuple[int, int], maker: Op | None, kind: str) -> int:
    """Return the weights as they are now given to a layer; operators for that are added."""
    index, axis = key
    own = net.tensors[index]
    held = integers_of(net, maker)
    if held is not None:
        return _kept(net, ops, index, held, kind)
    if own.data is None or kind == "float32" or own.size == own.shape[axis]:
        return index  # one number a channel would take more room with a scale
    if kind == "float16":
        half = OutTensor(own.name, DType.FLOAT16, own.shape, own.data.astype(np.float16))
        return _dequantized(net, ops, own, half)
    numbers, scale = quantized(own.data, axis, _LARGEST[kind])
    return _dequantized(
        net, ops, own, OutTensor(own.name, DType[kind.upper()], own.shape, numbers, scale)
    )


def _kept(net: Net, ops: list[Op], index: int, held: OutTensor, kind: str) -> int:
    """Return integers that the model has: as they are, in less room, or what they mean."""
    own = net.tensors[index]
    if kind == "float32":
        return net.constant(meaning(held), held.name)
    if kind == "int4" and held.data is not None and _fits(held.data):
        return _dequantized(net, ops, own, replace(held, dtype=DType.INT4))
    return index


def _fits(numbers: Array) -> bool:
    return bool(numbers.size and numbers.min() >= -8 and numbers.max() <= 7)


def _dequantized(net: Net, ops: list[Op], own: OutTensor, stored: OutTensor) -> int:
    made = net.tensor(OutTensor(f"{own.name}/meant", DType.FLOAT, own.shape))
    ops.append(Op("Dequantize", (net.tensor(stored),), (made,)))
    return made


def integers_of(net: Net, maker: Op | None) -> OutTensor | None:
    """Return the constant of integers that an operator gives the meaning of."""
    if maker is None or maker.kind != "Dequantize":
        return None
    stored = net.tensors[maker.inputs[0]]
    return stored if stored.data is not None and stored.scale is not None else None


def meaning(held: OutTensor) -> Array:
    """Return the real numbers that a constant's integers stand for."""
    if held.data is None or held.scale is None:
        raise ValueError("no constant of integers")
    shape = [1] * held.data.ndim
    if held.scale.scale.size > 1:
        shape[held.scale.axis] = -1
    points, scale = held.scale.zero_point.reshape(shape), held.scale.scale.reshape(shape)
    return np.asarray((held.data.astype(np.int64) - points).astype(np.float32) * scale)


def quantized(
    weight: Array, axis: int, largest: int, least: Array | float = 0.0
) -> tuple[Array, Scale]:
    """Return integers from -largest to largest, and the scale of each index of `axis`.

    No scale is below `least`.
    """
    others = tuple(a for a in range(weight.ndim) if a != axis)
    most = np.abs(weight).max(axis=others).astype(np.float64) / largest
    scale = np.where(most > 0, np.maximum(most, least), 1.0).astype(np.float32)
    shape = [-1 if a == axis else 1 for a in range(weight.ndim)]
    numbers = np.clip(np.rint(weight / scale.reshape(shape)), -largest, largest).astype(np.int8)
    return numbers, Scale(scale, np.zeros(scale.size, np.int64), axis)
