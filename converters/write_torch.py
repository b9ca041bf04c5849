"""Write .pt: a state dict, as torch.save writes it, without the graph.

`torch.load` gives an OrderedDict with the model's names, types and order. Names that are tied
share a storage, as in the module that was saved. A .dcf ties whatever is equal; equal tensors of
one value throughout (fresh norms, counters) are equal by chance, and have storages of their own.
The whole model is in memory: PyTorch wants it so. The same PyTorch gives the same bytes.

Types that PyTorch lacks are refused: elements of 4 and 2 bits, and what this version does not know.

Sister files: read_torch.py, write_safetensors.py.
"""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from dcformat.errors import ConvertError
from dcformat.files import atomic_output
from dcformat.formats import Writer
from dcformat.ids import NUMPY, DType
from dcformat.model import Array, LazyTensor, Model, Tensor

from .weights import first_tie, shown, without_graph

_NAMES = {
    DType.BOOL: "bool",
    DType.UINT8: "uint8",
    DType.INT8: "int8",
    DType.UINT16: "uint16",
    DType.INT16: "int16",
    DType.UINT32: "uint32",
    DType.INT32: "int32",
    DType.UINT64: "uint64",
    DType.INT64: "int64",
    DType.FLOAT16: "float16",
    DType.BFLOAT16: "bfloat16",
    DType.FLOAT: "float32",
    DType.DOUBLE: "float64",
    DType.COMPLEX64: "complex64",
    DType.COMPLEX128: "complex128",
    DType.FLOAT8E4M3FN: "float8_e4m3fn",
    DType.FLOAT8E5M2: "float8_e5m2",
    DType.FLOAT8E4M3FNUZ: "float8_e4m3fnuz",
    DType.FLOAT8E5M2FNUZ: "float8_e5m2fnuz",
    DType.FLOAT8E8M0: "float8_e8m0fnu",
}


class _Sink:
    """A stream for PyTorch, which makes another error of what a stream raises; it is kept."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.error: BaseException | None = None

    def write(self, data: Any) -> int:
        try:
            return self._stream.write(data)
        except BaseException as error:
            self.error = error
            raise

    def flush(self) -> None:
        """Nothing: the file is flushed when it is whole."""


def write(model: Model, path: Path) -> None:
    """Write the tensors of `model` as a state dict, whole or not at all.

    Raises ConvertError where PyTorch is not installed, naming a tensor where it lacks the type.
    """
    path = Path(path)
    try:
        torch = _torch()
        state = _state(torch, model)
    except ConvertError as error:
        raise error.at(str(path)) from error.__cause__
    with atomic_output(path) as stream:
        sink = _Sink(stream)
        try:
            torch.save(state, sink)
        except Exception:
            if sink.error is not None:
                raise sink.error from None
            raise


def _torch() -> Any:
    try:
        import torch  # noqa: PLC0415 - half a gigabyte, for this format only
    except ImportError as error:
        reason = "writing .pt needs PyTorch: pip install 'dcformat[torch]'"
        raise ConvertError(reason) from error
    return torch


def _state(torch: Any, model: Model) -> OrderedDict[str, Any]:
    state: OrderedDict[str, Any] = OrderedDict()
    shared: dict[str, bool] = {}
    for tensor in model.tensors:
        if tensor.name in state:
            raise ConvertError("two tensors have this name", place=f"tensor {shown(tensor.name)}")
        first = model.ties.get(tensor.name, "")
        if shared.get(first):
            state[tensor.name] = state[first].detach()
            continue
        data = _own(tensor)
        shared[tensor.name] = not _is_one_value(data)
        state[tensor.name] = _tensor(torch, tensor, data)
    return state


def _own(tensor: Tensor) -> Array:
    """Return the elements as an array that PyTorch may keep: native and writeable."""
    kind = np.dtype(NUMPY[tensor.dtype]).newbyteorder("=")
    data = np.require(tensor.data, kind, ["C_CONTIGUOUS", "WRITEABLE"])
    return data if isinstance(tensor, LazyTensor) else np.array(data)  # a lazy one's is new


def _is_one_value(data: Array) -> bool:
    """Tell whether all elements have the same bits."""
    rows = data.reshape(-1).view(f"V{data.itemsize}")
    return bool((rows == rows[:1]).all())


def _tensor(torch: Any, tensor: Tensor, data: Array) -> Any:
    kind = getattr(torch, _NAMES.get(tensor.dtype, ""), None)
    if kind is None:
        reason = f"PyTorch {torch.__version__} has no element type {tensor.dtype.name}"
        raise ConvertError(reason, place=f"tensor {shown(tensor.name)}")
    made = torch.from_numpy(data.view(np.int16) if tensor.dtype is DType.BFLOAT16 else data)
    return made if made.dtype == kind else made.view(kind)


def remarks(model: Model) -> tuple[str, ...]:
    """Say what the file does not tell, and which tensors share their numbers in it."""
    shared = first_tie(model)
    if not shared:
        return without_graph(model)
    words = f"equal tensors share a storage, unless of one value throughout: {shared}"
    return (*without_graph(model), words)


WRITER = Writer("torch", (".pt", ".pth"), write, remarks=remarks)
