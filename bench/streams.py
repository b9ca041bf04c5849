"""Streams of symbols of real networks, for measuring: what quantizers make of their weights.

A checkpoint of PyTorch (the old form, pickles and then storages) is read here with an unpickler
that builds nothing but the tensors' places.
"""

from __future__ import annotations

import collections
import io
import math
import pickle  # the unpickler below admits three names
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dcformat import kernels

U8 = npt.NDArray[np.uint8]
F32 = npt.NDArray[np.float32]


class _Unpickler(pickle.Unpickler):
    """Reads an old checkpoint's pickles: tensors become (storage key, offset, shape)."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor"):
            return lambda storage, offset, shape, stride: (storage, offset, shape)
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, shape, stride, *rest: (storage, offset, shape)
        if module == "torch" and name.endswith("Storage"):
            return name
        raise pickle.UnpicklingError(f"{module}.{name} is not part of a checkpoint of weights")

    def persistent_load(self, pid: Any) -> Any:
        return str(pid[2])


def checkpoint(path: Path) -> dict[str, F32]:
    """Return the tensors of an old checkpoint whose storages are all float32."""
    stream = io.BytesIO(path.read_bytes())
    for _ in range(3):
        _Unpickler(stream).load()  # magic, version, machine
    state = _Unpickler(stream).load()
    storages = {}
    for key in _Unpickler(stream).load():
        count = int.from_bytes(stream.read(8), "little")
        storages[str(key)] = np.frombuffer(stream.read(4 * count), "<f4")
    state = state.get("state_dict", state)
    return {name: _tensor(storages, place) for name, place in state.items()}


def _tensor(storages: dict[str, F32], place: tuple[str, int, tuple[int, ...]]) -> F32:
    key, offset, shape = place
    return storages[key][offset : offset + math.prod(shape)].reshape(shape)


def layers(path: Path) -> list[F32]:
    """Return the weights of the layers of a checkpoint, each flat, in its order."""
    return [t.reshape(-1) for t in checkpoint(path).values() if t.ndim >= 2]


# ---- quantizers: each gives the symbols of one layer ----


def uniform8(weights: F32) -> U8:
    """Symmetric int8 with one scale; symbol 128 is zero."""
    scale = np.abs(weights).max() / 127
    return np.asarray(np.rint(weights / scale) + 128, np.uint8)


def kmeans16(weights: F32) -> U8:
    """The exact best 16 levels."""
    values, counts = np.unique(weights.astype(np.float64), return_counts=True)
    starts = kernels.optimal_kmeans(values, counts, 16)[1]
    cells = np.searchsorted(starts, np.searchsorted(values, weights), side="right") - 1
    return cells.astype(np.uint8)


def pruned(share: float) -> Callable[[F32], U8]:
    """Zero the smallest `share` and cluster the rest: symbol 0 is zero, 1 to 16 are levels."""

    def quantize(weights: F32) -> U8:
        cut = np.argsort(np.abs(weights), kind="stable")[round(share * weights.size) :]
        symbols = np.zeros(weights.size, np.uint8)
        symbols[cut] = 1 + kmeans16(weights[cut])
        return symbols

    return quantize


def ternary(weights: F32) -> U8:
    """Zero below 0.7 of the mean magnitude; symbol 1 is zero."""
    threshold = 0.7 * np.abs(weights).mean()
    return np.asarray(1 + np.sign(weights) * (np.abs(weights) > threshold), np.uint8)


REGIMES: dict[str, Callable[[F32], U8]] = {
    "D8": uniform8,
    "D4": kmeans16,
    "P4_80": pruned(0.8),
    "P4_90": pruned(0.9),
    "TERN": ternary,
}


def symbols(weights: list[F32], regime: str) -> list[U8]:
    """Return the symbols of each layer in a regime."""
    return [REGIMES[regime](layer) for layer in weights]
