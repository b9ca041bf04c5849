"""spec/encodings/coder_zstd.md, byte by byte."""

from __future__ import annotations

import pytest
import zstandard
from byhand import record
from handmade import file_of

from dcformat import decode, native
from dcformat.errors import Code, DcfError, UnsupportedError
from dcformat.file import File


def tensor(size: int) -> bytes:
    """Return a record of two UINT16 numbers with the coder ZSTD."""
    return record(
        "05 04 01 00",  # 20 bytes, UINT16, rank 1, no row axes
        "00 00 02 00",  # DENSE, RAW, ZSTD, no flags
        "CRC",
        f"{size:02x} 00 00 00 02 00 00 00",
        numbers=bytes([1, 2, 3, 4]),
    )


def frame(content: bytes, **options: bool) -> bytes:
    return zstandard.ZstdCompressor(**options).compress(content)


def error(payload: bytes) -> Code:
    try:
        decode.decode_numbers(decode.open_file(file_of([tensor(len(payload))], payload)), 0)
    except DcfError as fault:
        return fault.code
    return Code.OK


def test_a_frame_holds_byte_planes() -> None:
    payload = frame(bytes([1, 3, 2, 4]))  # low bytes, then high bytes
    file = File(file_of([tensor(len(payload))], payload))
    assert file["#0"].tolist() == [0x0201, 0x0403]


def test_a_frame_is_whole_and_alone_and_says_its_size() -> None:
    payload = frame(bytes([1, 3, 2, 4]))
    assert error(payload) == Code.OK
    assert error(payload[:-1]) == Code.CODE
    assert error(payload + b"\0") == Code.CODE
    assert error(payload + payload) == Code.CODE
    assert error(b"") == Code.CODE
    assert error(b"not a frame") == Code.CODE
    assert error(frame(bytes([1, 3, 2]))) == Code.CODE
    assert error(frame(bytes([1, 3, 2, 4]), write_content_size=False)) == Code.CODE


def test_the_c_core_says_that_it_cannot() -> None:
    payload = frame(bytes([1, 3, 2, 4]))
    if native.AVAILABLE:
        opened = native.open_file(file_of([tensor(len(payload))], payload))
        with pytest.raises(UnsupportedError):
            native.decode_numbers(opened, 0)
