"""Elements in every encoding of TensorProto: bit-exact, or refused with the reason."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx_models import ENCODINGS, every_pattern

from dcformat.converters import onnx_data as data
from dcformat.errors import ConvertError
from dcformat.ids import BITS, NUMPY, DType

FIELDS = {
    data.FLOAT_DATA: "float_data",
    data.INT32_DATA: "int32_data",
    data.INT64_DATA: "int64_data",
    data.RAW_DATA: "raw_data",
    data.DOUBLE_DATA: "double_data",
    data.UINT64_DATA: "uint64_data",
}


@pytest.mark.parametrize(("dtype", "field"), ENCODINGS)
def test_every_type_keeps_its_bits_in_every_encoding(dtype: DType, field: int) -> None:
    elements = every_pattern(dtype)
    payload = data.encode(field, dtype, elements)
    back = data.decode(field, dtype, payload, elements.size)
    assert back.dtype == np.dtype(NUMPY[dtype])
    assert back.tobytes() == elements.tobytes()
    assert data.encode(field, dtype, back) == payload


@pytest.mark.parametrize(("dtype", "field"), ENCODINGS)
def test_the_onnx_package_reads_the_same_elements(dtype: DType, field: int) -> None:
    elements = every_pattern(dtype)
    payload = data.encode(field, dtype, elements)
    head = onnx.TensorProto(data_type=int(dtype), dims=[elements.size]).SerializeToString()
    size = len(payload)
    prefix = bytes([field << 3 | 2]) + _varint(size)
    proto = onnx.TensorProto.FromString(head + prefix + payload)
    assert [d.name for d, _ in proto.ListFields()][-1] == FIELDS[field]
    try:
        theirs = onnx.numpy_helper.to_array(proto)
    except (KeyError, TypeError):
        pytest.skip(f"onnx {onnx.__version__} cannot read {dtype.name} in {FIELDS[field]}")
    mine = elements if theirs.dtype.itemsize == elements.itemsize else elements.view(theirs.dtype)
    if BITS[dtype] < 8:
        mask = np.uint8((1 << BITS[dtype]) - 1)
        assert np.array_equal(theirs.view(np.uint8) & mask, mine.view(np.uint8) & mask)
    else:
        assert theirs.tobytes() == mine.tobytes()


def _varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def test_payloads_of_nan_and_negative_zero_survive() -> None:
    patterns = np.array([0x7F800001, 0x7FC12345, 0xFFFFFFFF, 0x80000000, 0x00000001], "<u4")
    for field in (data.RAW_DATA, data.FLOAT_DATA):
        payload = data.encode(field, DType.FLOAT, patterns.view("<f4"))
        assert payload == patterns.tobytes()
        assert data.decode(field, DType.FLOAT, payload, 5).view("<u4").tolist() == patterns.tolist()


def test_float16_stands_in_int32_data_as_its_bits() -> None:
    assert data.encode(data.INT32_DATA, DType.FLOAT16, np.array([1, -2], "<f2")) == bytes.fromhex(
        "80 78"  # 0x3c00
        "80 80 03"  # 0xc000, not sign-extended
    )


def test_negative_int8_stands_in_int32_data_with_ten_bytes() -> None:
    payload = data.encode(data.INT32_DATA, DType.INT8, np.array([-1, 1], "i1"))
    assert payload == b"\xff" * 9 + b"\x01\x01"


def test_four_bits_are_packed_low_nibble_first() -> None:
    elements = np.array([1, -2, 3], "i1")
    assert data.encode(data.RAW_DATA, DType.INT4, elements) == bytes([0xE1, 0x03])
    assert data.encode(data.INT32_DATA, DType.INT4, elements) == bytes.fromhex("e1 01 03")


def test_two_bits_are_packed_lowest_first() -> None:
    assert data.encode(data.RAW_DATA, DType.UINT2, np.array([1, 2, 3, 0, 2], "u1")) == bytes(
        [0b00111001, 0b10]
    )


@pytest.mark.parametrize(
    ("field", "dtype", "payload", "count", "reason"),
    [
        (9, DType.FLOAT, "00 00 00", 1, "3 bytes of data where its shape needs 4"),
        (9, DType.BOOL, "00 02", 2, "neither 0 nor 1"),
        (5, DType.BOOL, "02", 1, "neither 0 nor 1"),
        (9, DType.INT4, "21 43", 3, "unused bits"),
        (5, DType.INT4, "21 43", 3, "unused bits"),
        (9, DType.INT4, "21", 3, "1 bytes of data where its shape needs 2"),
        (5, DType.INT8, "80 01", 1, "outside the range of INT8"),
        (5, DType.UINT8, "ff ff ff ff ff ff ff ff ff 01", 1, "outside the range of UINT8"),
        (5, DType.INT8, "ff ff ff ff 0f", 1, "outside the range of INT8"),
        (5, DType.FLOAT16, "ff ff ff ff ff ff ff ff ff 01", 1, "outside the range"),
        (5, DType.INT32, "81 00", 1, "not written in the shortest way"),
        (7, DType.INT64, "ff ff ff ff ff ff ff ff ff 7f", 1, "not written in the shortest way"),
        (7, DType.INT64, "80 80 80 80 80 80 80 80 80 80 01", 1, "more than ten bytes"),
        (7, DType.INT64, "01 80", 1, "ends inside a number"),
        (7, DType.INT64, "80", 1, "ends inside a number"),
        (7, DType.INT64, "01 02 03", 2, "3 numbers where its shape needs 2"),
        (11, DType.UINT32, "80 80 80 80 10", 1, "outside the range of UINT32"),
        (4, DType.DOUBLE, "00 00 00 00", 1, "float_data does not hold DOUBLE"),
        (7, DType.INT32, "01", 1, "int64_data does not hold INT32"),
        (5, DType.UINT32, "01", 1, "int32_data does not hold UINT32"),
        (6, DType.INT8, "01", 1, "field 6 does not hold INT8"),
    ],
)
def test_what_would_not_come_back_the_same_is_refused(
    field: int, dtype: DType, payload: str, count: int, reason: str
) -> None:
    with pytest.raises(ConvertError, match=reason):
        data.decode(field, dtype, bytes.fromhex(payload), count)


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=40))
def test_any_int64_goes_through_varints(values: list[int]) -> None:
    elements = np.array(values, "<i8")
    payload = data.encode(data.INT64_DATA, DType.INT64, elements)
    assert payload == b"".join(_varint(v % 2**64) for v in values)
    assert data.decode(data.INT64_DATA, DType.INT64, payload, len(values)).tolist() == values


@given(st.binary(max_size=40), st.integers(0, 12), st.sampled_from(sorted(data.TYPES)))
def test_what_is_accepted_is_encoded_as_it_was(payload: bytes, count: int, field: int) -> None:
    for dtype in sorted(data.TYPES[field]):
        try:
            elements = data.decode(field, dtype, payload, count)
        except ConvertError:
            continue
        assert data.encode(field, dtype, elements) == payload
