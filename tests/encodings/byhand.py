"""One tensor's bytes, written by hand from the pages, and what a reader says of them."""

from __future__ import annotations

import numpy as np
from handmade import crc, file_of, unhex

from dcformat import decode, native
from dcformat.errors import Code, DcfError


def record(*lines: str, numbers: bytes = b"") -> bytes:
    """Return a record: `lines` with `CRC` where the field numbers_crc stands."""
    return unhex(*(line.replace("CRC", crc(numbers).hex(" ")) for line in lines))


def read(record: bytes, payload: bytes = b"", *tables: bytes) -> list[int]:
    """Return the numbers of a file with one tensor; both decoders agree on them."""
    data = file_of([record], payload, list(tables))
    numbers = decode.decode_numbers(decode.open_file(data), 0)
    if native.AVAILABLE:
        theirs = native.decode_numbers(native.open_file(data), 0)
        assert theirs.tobytes() == numbers.tobytes()
    whole = numbers.view(f"<u{numbers.itemsize}") if numbers.dtype.kind == "f" else numbers
    return [int(n) for n in np.asarray(whole)]


def error(record: bytes, payload: bytes = b"", *tables: bytes) -> Code:
    """Return the error of opening and decoding such a file; both decoders agree on it."""
    data = file_of([record], payload, list(tables))
    code = _error(decode, data)
    if native.AVAILABLE:
        assert _error(native, data) == code
    return code


def _error(decoder: object, data: bytes) -> Code:
    try:
        decoder.decode_numbers(decoder.open_file(data), 0)  # type: ignore[attr-defined]
    except DcfError as fault:
        return fault.code
    return Code.OK
