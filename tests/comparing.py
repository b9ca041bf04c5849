"""The two decoders side by side: the same verdict, error and numbers on any bytes."""

from __future__ import annotations

from typing import Any

from dcformat import decode, native
from dcformat.container import parse_container
from dcformat.decode import Opened, Record
from dcformat.errors import Code, DcfError
from dcformat.ids import Coder, TableKind


def compare(data: bytes) -> Code:
    """Fail where the decoders differ; return the error of opening, or else of the full check.

    Tensors for hosts alone are left out: the C core answers UNSUPPORTED for them. What a table of
    packed levels is wrong in it does not see.
    """
    mine, my_code = opened_by(decode, data)
    theirs, their_code = opened_by(native, data)
    if mine is None and packs_levels(data):
        return my_code
    assert my_code == their_code, (my_code, their_code)
    if mine is None:
        return my_code
    for index in range(len(mine.records)):
        record = mine.record(index)
        got = outcome(native, theirs, index)
        if for_hosts(mine, record):
            assert got == Code.UNSUPPORTED
        else:
            assert outcome(decode, mine, index) == got, f"tensor {index}"
            compare_rows(mine, theirs, index)
    return compare_checks(mine, theirs)


def for_hosts(opened: Opened, record: Record) -> bool:
    """Tell whether the C core leaves a tensor out that the reference decodes."""
    if record.unsupported or record.head.tied is not None:
        return False
    table = record.plan.table if record.plan else None
    packed = table is not None and opened.table_entries[table][0] == TableKind.CODEBOOK_SORTED
    return packed or record.head.coder == Coder.ZSTD


def packs_levels(data: bytes) -> bool:
    """Tell whether a file has a table of packed levels, right or wrong."""
    try:
        entries = decode._table_entries(parse_container(data))
    except DcfError:
        return False
    return any(entry[0] == TableKind.CODEBOOK_SORTED for entry in entries)


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
    if not any(for_hosts(mine, record) for record in mine.records):
        assert said == checked_by(native, theirs), "full check"
    return said


def checked_by(decoder: Any, opened: Any) -> Code:
    """Return the error of the full check."""
    try:
        decoder.check_file(opened)
    except DcfError as error:
        return error.code
    return Code.OK
