"""Elements of a tensor in the encodings that a TensorProto knows, to the bit and back.

Spec: spec/DCF.md, section GRAPH; the encodings are those of onnx.proto, message TensorProto.
Sister file: onnx_wire.py. No number passes through a float: elements are bit patterns here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from dcformat.errors import ConvertError
from dcformat.ids import BITS, NUMPY, DType
from dcformat.model import Array

FLOAT_DATA, INT32_DATA, INT64_DATA, RAW_DATA, DOUBLE_DATA, UINT64_DATA = 4, 5, 7, 9, 10, 11

_SIGNED_SMALL = frozenset({DType.INT4, DType.INT2})
_SIGNED = frozenset({DType.INT8, DType.INT16, DType.INT32, DType.INT64})

#: Element types that each typed field may hold; raw_data holds all of them.
TYPES: dict[int, frozenset[DType]] = {
    FLOAT_DATA: frozenset({DType.FLOAT, DType.COMPLEX64}),
    DOUBLE_DATA: frozenset({DType.DOUBLE, DType.COMPLEX128}),
    INT64_DATA: frozenset({DType.INT64}),
    UINT64_DATA: frozenset({DType.UINT32, DType.UINT64}),
    RAW_DATA: frozenset(DType),
}
TYPES[INT32_DATA] = frozenset(DType) - frozenset[DType]().union(
    *(TYPES[n] for n in (FLOAT_DATA, DOUBLE_DATA, INT64_DATA, UINT64_DATA))
)
_NAMES = {
    FLOAT_DATA: "float_data",
    INT32_DATA: "int32_data",
    INT64_DATA: "int64_data",
    RAW_DATA: "raw_data",
    DOUBLE_DATA: "double_data",
    UINT64_DATA: "uint64_data",
}

U8 = npt.NDArray[np.uint8]
U64 = npt.NDArray[np.uint64]


def stored_bytes(dtype: DType, elements: int) -> int:
    """Return how many bytes `elements` of `dtype` take as raw_data."""
    return -(-elements * BITS[dtype] // 8)


def check_field(field: int, dtype: DType) -> None:
    """Raise ConvertError where a TensorProto's `field` is not for elements of `dtype`."""
    if field not in TYPES or dtype not in TYPES[field]:
        raise ConvertError(f"field {_NAMES.get(field, field)} does not hold {dtype.name}")


def decode(field: int, dtype: DType, payload: bytes, elements: int) -> Array:
    """Return the elements that a field's payload holds, 1-D of NumPy type NUMPY[dtype].

    Raises ConvertError with a short reason where the field cannot hold this type, where the size
    is wrong, or where `encode` would not give the same payload back.
    """
    check_field(field, dtype)
    if field in (FLOAT_DATA, DOUBLE_DATA, RAW_DATA):
        data = _from_raw(dtype, payload, elements)
    else:
        data = _from_varints(dtype, _read_varints(payload), elements)
    if dtype is DType.BOOL:
        check_bools(data)
    return data


def encode(field: int, dtype: DType, data: Array) -> bytes:
    """Return the payload of `field` for the elements `data` of type NUMPY[dtype], any shape."""
    check_field(field, dtype)
    flat = np.ascontiguousarray(data, dtype=NUMPY[dtype]).reshape(-1)
    if field in (FLOAT_DATA, DOUBLE_DATA, RAW_DATA):
        return _pack(dtype, flat).tobytes() if BITS[dtype] < 8 else flat.tobytes()
    return _write_varints(_to_varints(dtype, flat))


def _from_raw(dtype: DType, payload: bytes, elements: int) -> Array:
    check_size(dtype, len(payload), elements)
    if BITS[dtype] < 8:
        return unpack(dtype, np.frombuffer(payload, np.uint8), elements)
    return np.frombuffer(payload, NUMPY[dtype])


def check_size(dtype: DType, size: int, elements: int) -> None:
    """Raise ConvertError where `size` bytes of raw_data are not what the elements need."""
    if size != stored_bytes(dtype, elements):
        raise ConvertError(
            f"{size} bytes of data where its shape needs {stored_bytes(dtype, elements)}"
        )


def check_bools(data: Array) -> None:
    """Raise ConvertError where an element of a BOOL tensor is neither 0 nor 1."""
    if (data.view(np.uint8) > 1).any():
        raise ConvertError("a BOOL is neither 0 nor 1")


def unpack(dtype: DType, packed: U8, elements: int) -> Array:
    """Widen elements of 4 or 2 bits, lowest bits first, to one byte each."""
    bits = BITS[dtype]
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    wide = ((packed[:, None] >> shifts) & np.uint8((1 << bits) - 1)).reshape(-1)
    if wide[elements:].any():
        raise ConvertError("unused bits of the last byte are not zero")
    wide = wide[:elements]
    if dtype in _SIGNED_SMALL:
        sign = np.uint8(1 << (bits - 1))
        wide = (wide ^ sign) - sign
    return np.asarray(wide).view(NUMPY[dtype])


def _pack(dtype: DType, flat: Array) -> U8:
    bits = BITS[dtype]
    share = 8 // bits
    wide = np.zeros(-(-flat.size // share) * share, np.uint8)
    wide[: flat.size] = flat.view(np.uint8) & np.uint8((1 << bits) - 1)
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    return np.asarray(np.bitwise_or.reduce(wide.reshape(-1, share) << shifts, axis=1), np.uint8)


def _from_varints(dtype: DType, values: U64, elements: int) -> Array:
    """Narrow 64-bit values to elements; ConvertError where one would not widen back to itself."""
    small = BITS[dtype] < 8
    check_count(dtype, values.size, elements)
    width = np.dtype(NUMPY[dtype]).itemsize
    narrow = values.astype(f"<u{width}")
    data = unpack(dtype, narrow, elements) if small else narrow.view(NUMPY[dtype])
    if not np.array_equal(_to_varints(dtype, data), values):
        raise ConvertError(f"a number is outside the range of {dtype.name}")
    return data


def check_count(dtype: DType, found: int, elements: int) -> None:
    """Raise ConvertError where `found` numbers of a varint field are not what is needed."""
    needed = stored_bytes(dtype, elements) if BITS[dtype] < 8 else elements
    if found != needed:
        raise ConvertError(f"{found} numbers where its shape needs {needed}")


def _to_varints(dtype: DType, flat: Array) -> U64:
    """Widen elements to 64 bits: signed integers by sign, everything else by zeros."""
    if BITS[dtype] < 8:
        return _pack(dtype, flat).astype(np.uint64)
    if dtype in _SIGNED:
        return flat.astype(np.int64).view(np.uint64)
    return flat.view(f"<u{flat.itemsize}").astype(np.uint64)


def _read_varints(payload: bytes) -> U64:
    """Return the numbers of a packed varint field, if they are written in the shortest way."""
    data = np.frombuffer(payload, np.uint8)
    ends = np.flatnonzero(data < 0x80)
    if data.size and (not ends.size or ends[-1] != data.size - 1):
        raise ConvertError("its data ends inside a number")
    starts = np.concatenate([np.zeros(1, np.int64), ends[:-1] + 1])[: ends.size]
    lengths = ends - starts + 1
    if lengths.size and lengths.max() > 10:
        raise ConvertError("a number of its data has more than ten bytes")
    values = np.zeros(ends.size, np.uint64)
    for k in range(int(lengths.max(initial=0))):
        more = np.flatnonzero(lengths > k)
        part = (data[starts[more] + k] & 0x7F).astype(np.uint64)
        values[more] |= part << np.uint64(7 * k)
    if _write_varints(values) != payload:
        raise ConvertError("a number of its data is not written in the shortest way")
    return values


def _write_varints(values: U64) -> bytes:
    lengths = np.ones(values.size, np.int64)
    for k in range(1, 10):
        lengths += values >= np.uint64(1 << 7 * k)
    starts = np.cumsum(lengths) - lengths
    out: npt.NDArray[Any] = np.empty(int(lengths.sum()), np.uint8)
    for k in range(int(lengths.max(initial=0))):
        more = np.flatnonzero(lengths > k)
        part = ((values[more] >> np.uint64(7 * k)) & np.uint64(0x7F)).astype(np.uint8)
        out[starts[more] + k] = part | ((lengths[more] > k + 1) << 7).astype(np.uint8)
    return out.tobytes()
