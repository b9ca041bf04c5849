"""The two decoders side by side: the same verdict, error and numbers on any bytes."""

from __future__ import annotations

from typing import Any

from dcformat import decode, native
from dcformat.decode import Opened
from dcformat.errors import Code, DcfError
from dcformat.ids import Coder


def compare(data: bytes) -> Code:
    """Fail where the decoders differ; return the error of opening, or else of the full check.

    Tensors with the coder ZSTD are left out: the C core answers UNSUPPORTED for them.
    """
    mine, my_code = opened_by(decode, data)
    theirs, their_code = opened_by(native, data)
    assert my_code == their_code, (my_code, their_code)
    if mine is None:
        return my_code
    for index in range(len(mine.records)):
        record = mine.record(index)
        got = outcome(native, theirs, index)
        if record.head.coder == Coder.ZSTD and not record.unsupported:
            assert got == Code.UNSUPPORTED
        else:
            assert outcome(decode, mine, index) == got, f"tensor {index}"
            compare_rows(mine, theirs, index)
    return compare_checks(mine, theirs)


def opened_by(decoder: Any, data: bytes) -> tuple[Any, Code]:
    """Return what a decoder opened, or its error."""
    try:
        return decoder.open_file(data), Code.OK
    except DcfError as error:
        return None, error.code


def outcome(decoder: Any, opened: Any, index: int) -> bytes | Code:
    """Return the numbers of a tensor, or the error."""
    try:
        return bytes(decoder.decode_numbers(opened, index).tobytes())
    except DcfError as error:
        return error.code


def compare_rows(mine: Any, theirs: Any, index: int) -> None:
    """Fail where the decoders differ on some rows of a tensor."""
    rows = mine.record(index).head.rows
    for start, stop in ((0, min(rows, 2)), (rows // 2, rows)):
        one = rows_of(decode, mine, index, start, stop)
        assert one == rows_of(native, theirs, index, start, stop), f"tensor {index}, {start}"


def rows_of(decoder: Any, opened: Any, index: int, start: int, stop: int) -> bytes | Code:
    """Return the numbers of some rows, or the error."""
    try:
        return bytes(decoder.decode_rows(opened, index, start, stop).tobytes())
    except DcfError as error:
        return error.code


def compare_checks(mine: Opened, theirs: Any) -> Code:
    """Fail where the full checks differ, of a file that C can check as a whole."""
    said = checked_by(decode, mine)
    if all(r.unsupported or r.head.coder != Coder.ZSTD for r in mine.records):
        assert said == checked_by(native, theirs), "full check"
    return said


def checked_by(decoder: Any, opened: Any) -> Code:
    """Return the error of the full check."""
    try:
        decoder.check_file(opened)
    except DcfError as error:
        return error.code
    return Code.OK
