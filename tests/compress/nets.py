"""Small tensors and models for the tests of compress: seeded, shaped like real ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from dcformat.ids import NUMPY, DType, Meta
from dcformat.model import Graph, Model, Source, Tensor, Use

CONV = Use("conv", "Conv", "weight", 0, (0, 2, 3, 1))
DENSE = Use("fc", "MatMul", "weight", 1, (1, 0))
LSTM = Use("lstm", "LSTM", "weight", 1, None)
BIAS = Use("conv", "Conv", "bias")
NORM = Use("bn", "BatchNormalization", "norm")


def tensor(data: Any, name: str = "w", dtype: DType = DType.FLOAT) -> Tensor:
    return Tensor(name, dtype, np.asarray(data).astype(NUMPY[dtype]))


def weights(*shape: int, seed: int = 1) -> Any:
    """Laplacian weights with a magnitude of its own for each index of the first axis."""
    rng = np.random.default_rng(seed)
    size = rng.uniform(0.2, 2.0, (shape[0], *[1] * (len(shape) - 1)))
    return (rng.laplace(size=shape) * size * 0.05).astype(np.float32)


def bfloat16(data: Any) -> Any:
    """Bit patterns of float32 numbers, cut off."""
    return (np.asarray(data, np.float32).view(np.uint32) >> 16).astype("<u2")


def model() -> Model:
    """A convolution and a dense layer with biases, a norm, shapes and a label table."""
    tensors = (
        tensor(weights(24, 8, 3, 3), "conv.weight"),
        tensor(weights(24, seed=2), "conv.bias"),
        tensor(np.abs(weights(24, seed=3)) + 0.5, "bn.scale"),
        tensor(weights(96, 40, seed=4), "fc.weight"),
        tensor([1, -1], "shape", DType.INT64),
        tensor(np.arange(40) % 7, "labels", DType.UINT8),
    )
    uses = {
        "conv.weight": CONV,
        "conv.bias": BIAS,
        "bn.scale": NORM,
        "fc.weight": DENSE,
        "shape": Use("reshape", "Reshape", "index"),
    }
    source = Source("onnx", 1000, bytes(range(32)))
    return Model(tensors, Graph(1, b"graph"), uses, source, {Meta.LICENCE: b"MIT"})
