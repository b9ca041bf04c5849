"""The numbers of a tensor on their way into an ONNX file, some at a time.

Sister files: write_onnx.py, onnx_data.py (the encodings). A tensor may be larger than memory: it
is asked for in windows that follow each other in the order of its elements.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from dcformat.errors import ConvertError, CorruptError
from dcformat.ids import BITS, NUMPY
from dcformat.model import Array, Tensor, Window, windows

from .onnx_data import DOUBLE_DATA, FLOAT_DATA, RAW_DATA, check_field, encode, stored_bytes

_FIXED = frozenset({RAW_DATA, FLOAT_DATA, DOUBLE_DATA})


def payload_size(tensor: Tensor, field: int) -> int:
    """Return how many bytes `payload` gives; for numbers of different lengths it asks for them.

    Raises CorruptError where the field cannot hold the type.
    """
    try:
        check_field(field, tensor.dtype)
    except ConvertError as error:
        raise CorruptError(f"tensor {tensor.name!r}: {error.message}") from error
    if field in _FIXED:
        return stored_bytes(tensor.dtype, tensor.size)
    return sum(len(piece) for piece in payload(tensor, field))


def payload(tensor: Tensor, field: int) -> Iterator[bytes]:
    """Yield the payload of `field` with the elements of `tensor`, in pieces.

    Raises CorruptError where a piece has other than its number of elements: what is written would
    not be a model.
    """
    rest = np.empty(0, NUMPY[tensor.dtype])
    share = max(1, 8 // BITS[tensor.dtype])  # elements that end with a byte
    for piece in flat_pieces(tensor):
        flat = np.concatenate([rest, piece]) if rest.size else piece
        whole = flat.size - flat.size % share
        rest = flat[whole:]
        yield encode(field, tensor.dtype, flat[:whole])
    if rest.size:
        yield encode(field, tensor.dtype, rest)


def flat_pieces(tensor: Tensor) -> Iterator[Array]:
    """Yield the elements of `tensor` in row-major order, some at a time, as NUMPY[dtype]."""
    return (_flat(tensor, window) for window in windows(tensor.shape))


def _flat(tensor: Tensor, window: Window) -> Array:
    data = tensor.piece(window)
    wanted = [part.stop - part.start for part in window] + list(tensor.shape[len(window) :])
    if list(data.shape) != wanted:
        raise CorruptError(f"tensor {tensor.name!r} gave {data.shape} where {wanted} was asked for")
    return np.ascontiguousarray(data, dtype=NUMPY[tensor.dtype]).reshape(-1)
