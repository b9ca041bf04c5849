"""The binding of the C decoder, and that it answers as the reference decoder does."""

from __future__ import annotations

import mmap
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from comparing import for_hosts, packs_levels
from handmade import file_of
from mutants import large_files, mutants

from dcformat import decode, native
from dcformat.errors import Code, CorruptError, DcfError, LimitError, UnsupportedError
from dcformat.ids import NUMPY, Coder, Layout

VECTORS = Path(__file__).resolve().parent / "vectors"
MUTANTS = 2500

pytestmark = pytest.mark.skipif(not native.AVAILABLE, reason="the C extension is not built")


def everything() -> bytes:
    return (VECTORS / "valid" / "everything_mcu.dcf").read_bytes()


def valid_files() -> list[bytes]:
    return [path.with_suffix(".dcf").read_bytes() for path in sorted(VECTORS.rglob("*.json"))]


def outcome(call: Callable[..., Any], *args: object) -> tuple[str, object]:
    """Return what a call gives in a form that can be compared: an error's code, or the bytes."""
    try:
        result = call(*args)
    except DcfError as error:
        return "error", error.code
    return ("numbers", (result.dtype, result.tobytes())) if result is not None else ("done", None)


def opening(decoder: Any, data: bytes) -> tuple[Code, Any]:
    """Return the error of opening, or OK and the opened file."""
    try:
        return Code.OK, decoder.open_file(data)
    except DcfError as error:
        return error.code, None


def opened(data: bytes) -> tuple[Any, Any]:
    return decode.open_file(data), native.open_file(data)


def compare(data: bytes) -> Code:
    """Hold both decoders to one verdict, tensor by tensor; return that of opening."""
    code, reference = opening(decode, data)
    mine_code, mine = opening(native, data)
    if code and packs_levels(data):
        return code
    assert mine_code == code
    if code:
        return code
    hosted = False
    for index in range(len(reference.records)):
        record = reference.record(index)
        if for_hosts(reference, record):
            assert outcome(native.decode_numbers, mine, index) == ("error", Code.UNSUPPORTED)
            hosted = True
            continue
        for check in (True, False):
            theirs = outcome(decode.decode_numbers, reference, index, check)
            assert outcome(native.decode_numbers, mine, index, check) == theirs, index
    if not hosted:
        checked = outcome(decode.check_file, reference)
        assert outcome(native.check_file, mine) == checked
    return Code.OK


@pytest.mark.parametrize("seed", range(4))
def test_damaged_files_get_one_verdict_and_error_code(seed: int) -> None:
    """S6: numbers or a typed error, the same from both decoders."""
    files = [data for data in valid_files() if len(data) < 12000]
    codes = {compare(data) for data in mutants(files, MUTANTS // 4, seed)}
    assert {Code.OK, Code.STRUCTURE, Code.TRUNCATED, Code.PADDING} <= codes


def test_large_tensors_of_every_form_decode_as_the_reference_does() -> None:
    files = list(large_files())
    for data in [*files, *mutants(files, 20, seed=6)]:
        code, reference = opening(decode, data)
        mine_code, mine = opening(native, data)
        assert mine_code == code
        if code is Code.OK:
            theirs = outcome(decode.decode_numbers, reference, 0, False)
            assert outcome(native.decode_numbers, mine, 0, False) == theirs


def test_rows_are_those_of_the_reference_decoder() -> None:
    rng = np.random.default_rng(3)
    for data in valid_files():
        reference, mine = opened(data)
        for index in range(len(reference.records)):
            record = reference.record(index)
            if for_hosts(reference, record):
                continue
            rows = min(record.head.rows, 10**6)
            for start, stop in np.sort(rng.integers(0, rows + 1, (4, 2))).tolist():
                theirs = decode.decode_rows(reference, index, start, stop)
                ours = native.decode_rows(mine, index, start, stop)
                assert (ours.dtype, ours.tobytes()) == (theirs.dtype, theirs.tobytes())


@pytest.mark.parametrize(
    ("dims", "row_axes", "rows"),
    [((3, 0), 1, 3), ((0, 4), 1, 0), ((2, 0, 5), 2, 0), ((2, 3, 0), 2, 6), ((4, 0), 0, 1)],
)
def test_a_tensor_without_elements_has_the_rows_of_its_dims(
    dims: tuple[int, ...], row_axes: int, rows: int
) -> None:
    record = struct.pack("<8BII", 4 + len(dims), 1, len(dims), row_axes, 0, 0, 0, 0, 0, 0)
    data = file_of([record + struct.pack(f"<{len(dims)}I", *dims)])
    for decoder in (decode, native):
        opened: Any = decoder.open_file(data)
        assert decoder.decode_rows(opened, 0, 0, rows).tobytes() == b""
        with pytest.raises(DcfError) as caught:
            decoder.decode_rows(opened, 0, 0, rows + 1)
        assert caught.value.code == Code.ARGUMENT


def test_no_rows_ask_for_offsets_and_classes_but_no_rows_for_the_numbers() -> None:
    wrong_class = (VECTORS / "invalid" / "STRUCTURE-class_2_of_2.dcf").read_bytes()
    wrong_numbers = (VECTORS / "invalid" / "CHECKSUM-numbers.dcf").read_bytes()
    for decoder in (decode, native):
        opened: Any = decoder.open_file(wrong_class)
        with pytest.raises(DcfError) as caught:
            decoder.decode_rows(opened, 0, 1, 1)
        assert caught.value.code == Code.STRUCTURE
        opened = decoder.open_file(wrong_numbers)
        rows = decode.open_file(wrong_numbers).record(0).head.rows
        assert len(decoder.decode_rows(opened, 0, 0, rows)) == 4


def test_what_follows_the_last_payload_is_named_with_its_section() -> None:
    data = (VECTORS / "invalid" / "STRUCTURE-payload_left_over.dcf").read_bytes()
    for decoder in (decode, native):
        with pytest.raises(DcfError, match=r"^section PAYLOAD"):
            decoder.open_file(data)


def test_a_damaged_block_is_an_error_for_its_rows_only() -> None:
    data = (VECTORS / "valid" / "everything_by_row.dcf").read_bytes()
    reference = decode.open_file(data)
    for index, record in enumerate(reference.records):
        if record.plan is None or record.head.tied is not None or record.head.blocks is None:
            continue
        if record.head.layout != Layout.DENSE or record.head.coder != Coder.HUFFMAN:
            continue
        front = decode.read_front(reference, record)
        if record.head.block_rows != 1 or min(len(front.blocks[0]), len(front.blocks[-1])) == 0:
            continue
        last = int(np.frombuffer(front.blocks[-1], np.uint8).ctypes.data)
        start = int(np.frombuffer(data, np.uint8).ctypes.data)
        bad = bytearray(data)
        bad[last - start + len(front.blocks[-1]) - 1] ^= 0xFF
        mine, theirs = native.open_file(bytes(bad)), decode.open_file(bytes(bad))
        rows = record.head.rows
        good = native.decode_rows(mine, index, 0, rows - 1)
        assert good.tobytes() == decode.decode_rows(reference, index, 0, rows - 1).tobytes()
        wrong = outcome(native.decode_rows, mine, index, rows - 1, rows)
        assert wrong == outcome(decode.decode_rows, theirs, index, rows - 1, rows)
        assert outcome(native.decode_numbers, mine, index)[0] == "error"
        return
    pytest.fail("no tensor with a block for each row among the vectors")


def test_numbers_have_the_type_of_the_reference_and_can_be_written() -> None:
    reference, mine = opened(everything())
    for index, record in enumerate(reference.records):
        numbers = native.decode_numbers(mine, index)
        plan = reference.record(index).plan
        assert plan is not None
        assert numbers.dtype == np.dtype(NUMPY[plan.number]), record
        if numbers.size:
            numbers[0] = 0


def test_any_object_with_bytes_can_be_opened(tmp_path: Path) -> None:
    data = everything()
    path = tmp_path / "x.dcf"
    path.write_bytes(data)
    with path.open("rb") as stream:
        mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    for source in (data, bytearray(data), memoryview(data), np.frombuffer(data, np.uint8), mapped):
        native.check_file(native.open_file(source))  # type: ignore[arg-type]
    mapped.close()  # possible only if no handle holds its bytes


def test_the_files_bytes_are_held_while_it_is_open() -> None:
    data = bytearray(everything())
    handle = native.open_file(data)  # type: ignore[arg-type]
    with pytest.raises(BufferError):
        data.clear()
    del handle
    data.clear()


def test_threads_decode_from_one_open_file() -> None:
    reference, mine = opened(everything())
    wanted = [decode.decode_numbers(reference, i).tobytes() for i in range(len(reference.records))]
    found: list[bool] = []

    def work() -> None:
        for _ in range(5):
            got = [native.decode_numbers(mine, i).tobytes() for i in range(len(wanted))]
            found.append(got == wanted)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 20


@pytest.mark.parametrize(
    ("vector", "kind", "place"),
    [
        ("MAGIC-other_file", CorruptError, "header"),
        ("LIMIT-65_sections", LimitError, "header"),
        ("FEATURE-unknown_critical_section", UnsupportedError, "section table / entry"),
        ("CHECKSUM-records", CorruptError, "section RECORDS"),
        ("CHECKSUM-tables", CorruptError, "section TABLES"),
        ("CODE-huffman_flat_of_3", CorruptError, "table 0"),
        ("LIMIT-rank_9", LimitError, "tensor 0"),
        ("RANGE-gap_past_the_end", CorruptError, "tensor 0"),
    ],
)
def test_an_error_says_where(vector: str, kind: type[DcfError], place: str) -> None:
    data = (VECTORS / "invalid" / f"{vector}.dcf").read_bytes()
    with pytest.raises(kind) as caught:
        native.check_file(native.open_file(data))
    assert caught.value.code is Code[vector.split("-", maxsplit=1)[0]]
    assert place in str(caught.value)


def test_what_does_not_exist_is_an_argument_error() -> None:
    mine = native.open_file(everything())
    rows = decode.open_file(everything()).record(0).head.rows
    for index in (-1, mine.tensors):
        assert outcome(native.decode_numbers, mine, index) == ("error", Code.ARGUMENT)
    for start, stop in ((-1, 0), (1, 0), (0, rows + 1)):
        assert outcome(native.decode_rows, mine, 0, start, stop) == ("error", Code.ARGUMENT)


def test_without_the_extension_the_module_imports_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(native, "_core", None)
    with pytest.raises(UnsupportedError, match="not installed"):
        native.open_file(b"")
