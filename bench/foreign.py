"""Float weights out of PyTorch's old checkpoint files and out of .tflite, and nothing else.

Just what the measured models need, without torch or flatbuffers: the pickle may name three
things only, and of a flatbuffer the weights of convolutions and dense layers are looked up.
"""

from __future__ import annotations

import pickle
import struct
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

F32 = npt.NDArray[np.float32]
TORCH_MAGIC = 0x1950A86A20F9469CFC6C
CONV_2D, FULLY_CONNECTED, FLOAT32 = 3, 9, 0


@dataclass(frozen=True)
class _View:
    """A tensor of a checkpoint: where it lies in which storage."""

    storage: str
    offset: int
    shape: tuple[int, ...]


class _Unpickler(pickle.Unpickler):
    """Builds dicts, numbers, strings and views of float storages; refuses anything else."""

    def find_class(self, module: str, name: str) -> Any:
        known: dict[tuple[str, str], Any] = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch", "FloatStorage"): "float",
            ("torch._utils", "_rebuild_tensor"): self._view,
        }
        if (module, name) not in known:
            raise pickle.UnpicklingError(f"{module}.{name} is not part of a float checkpoint")
        return known[module, name]

    def persistent_load(self, pid: Any) -> str:
        return str(pid[2])

    @staticmethod
    def _view(storage: str, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> _View:
        dense = [int(np.prod(shape[i + 1 :])) for i in range(len(shape))]
        if list(strides) != dense:
            raise pickle.UnpicklingError(f"strides {strides} of shape {shape}")
        return _View(storage, offset, shape)


def read_checkpoint(path: Path) -> dict[str, F32]:
    """Return the tensors of `state_dict` in a checkpoint of PyTorch before 1.6."""
    with path.open("rb") as stream:
        magic, _version, _system, content, keys = (_Unpickler(stream).load() for _ in range(5))
        if magic != TORCH_MAGIC:
            raise ValueError(f"{path}: not a PyTorch checkpoint of the old form")
        storages = {str(key): _storage(stream) for key in keys}
    views: dict[str, _View] = content["state_dict"]
    return {name: _array(storages[view.storage], view) for name, view in views.items()}


def _storage(stream: BufferedReader) -> F32:
    (count,) = struct.unpack("<q", stream.read(8))
    return np.frombuffer(stream.read(4 * count), "<f4")


def _array(storage: F32, view: _View) -> F32:
    size = int(np.prod(view.shape))
    return storage[view.offset : view.offset + size].reshape(view.shape)


@dataclass(frozen=True)
class _Flat:
    """A table of a flatbuffer: `data` from `at` on."""

    data: bytes
    at: int

    def field(self, index: int) -> int:
        """Return where a field stands, 0 if it does not."""
        table = self.at - self._read("<i", self.at)
        size = self._read("<H", table)
        slot = 4 + 2 * index
        offset = self._read("<H", table + slot) if slot < size else 0
        return self.at + offset if offset else 0

    def number(self, index: int, kind: str) -> int:
        """Return an integer field; 0, the default of all that are read here, if left out."""
        at = self.field(index)
        return self._read(kind, at) if at else 0

    def vector(self, index: int, kind: str) -> list[int]:
        at = self.field(index)
        if not at:
            return []
        at += self._read("<I", at)
        return [int(n) for n in np.frombuffer(self.data, kind, self._read("<I", at), at + 4)]

    def tables(self, index: int) -> list[_Flat]:
        at = self.field(index)
        if not at:
            return []
        first = at + self._read("<I", at) + 4
        steps = self.vector(index, "<u4")
        return [_Flat(self.data, first + 4 * i + step) for i, step in enumerate(steps)]

    def _read(self, kind: str, at: int) -> int:
        return int(struct.unpack_from(kind, self.data, at)[0])


def read_tflite(path: Path) -> Iterator[tuple[str, F32]]:
    """Yield name and float32 weights of each CONV_2D and FULLY_CONNECTED, in graph order."""
    data = path.read_bytes()
    model = _Flat(data, struct.unpack_from("<I", data)[0])
    codes = [max(c.number(0, "<b"), c.number(3, "<i")) for c in model.tables(1)]
    buffers = model.tables(4)
    for graph in model.tables(2):
        tensors = graph.tables(0)
        for operator in graph.tables(3):
            if codes[operator.number(0, "<I")] not in (CONV_2D, FULLY_CONNECTED):
                continue
            index = operator.vector(1, "<i4")[1]
            tensor = tensors[index]
            if tensor.number(1, "<b") == FLOAT32:
                raw = np.array(buffers[tensor.number(2, "<I")].vector(0, "u1"), np.uint8)
                yield f"weight{index}", raw.view("<f4").reshape(tensor.vector(0, "<i4"))
