"""Every byte of a file belongs to one row: the rows sum to the file, and damage moves one row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from cases import affine, forms, raw, sparse, stored, tensors
from conftest import ROOT
from handmade import crc, file_of, file_of_form, fix_crcs
from invalid import PLAIN, whole

from dcformat import audit_blocks, decode
from dcformat.audit import audit, check_sum
from dcformat.audit_bytes import PADDING, Extent, check_tiling, extents_of, share_out, users_of
from dcformat.audit_report import DAMAGED, UNSUPPORTED, Report
from dcformat.coded import CodedModel, CodedTensor
from dcformat.encode import Settings, encode_model
from dcformat.errors import DcfError
from dcformat.file import File
from dcformat.ids import Coder, DType, Layout, Section

VECTORS = sorted((ROOT / "tests" / "vectors").glob("*/*.dcf"))
READABLE = [p for p in VECTORS if p.parent.name not in ("invalid", "sections")]


def ident(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


@pytest.mark.parametrize("path", READABLE, ids=ident)
def test_the_rows_sum_to_the_file(path: Path) -> None:
    data = path.read_bytes()
    report = audit(File(data))
    assert sum(report.purposes.values()) == report.bytes == len(data)
    of_tensors = sum(row.bytes for row in report.tensors)
    assert of_tensors + sum(row.bytes for row in report.frame) == len(data)
    assert report.problems == ()


@pytest.mark.parametrize("path", READABLE, ids=ident)
def test_splitting_shared_tables_moves_their_bytes_and_no_others(path: Path) -> None:
    file = File(path.read_bytes())
    whole, split = audit(file), audit(file, split_shared=True)
    assert split.purposes == whole.purposes
    assert [row for row in split.frame if row.users] == []
    assert [row for row in whole.frame if not row.users] == list(split.frame)


def test_the_check_of_the_sum_can_fail() -> None:
    report = audit(File(whole()))
    short = Report(report.bytes + 1, report.sections, report.frame, report.tensors, report.problems)
    with pytest.raises(ValueError, match="rows of"):
        check_sum(short)


@pytest.mark.parametrize(
    "extents",
    [
        [Extent(0, 4, "a"), Extent(5, 8, "b")],
        [Extent(0, 4, "a"), Extent(3, 8, "b")],
        [Extent(0, 4, "a"), Extent(4, 7, "b")],
        [Extent(0, 4, "a"), Extent(4, 9, "b")],
        [Extent(1, 8, "a")],
        [Extent(0, 8, "a"), Extent(8, 6, "b"), Extent(6, 8, "c")],
    ],
)
def test_a_hole_and_an_overlap_are_faults(extents: list[Extent]) -> None:
    with pytest.raises(ValueError, match=r"byte|extents"):
        check_tiling(extents, 8)


def test_bytes_are_shared_out_whole_and_by_the_largest_remainder() -> None:
    assert share_out(10, [1, 1, 1]) == [4, 3, 3]
    assert share_out(10, [0, 5, 5]) == [0, 5, 5]
    assert share_out(7, [10, 20, 30]) == [1, 2, 4]
    assert share_out(3, [0, 0]) == [2, 1]
    assert share_out(0, [3, 4]) == [0, 0]


def test_every_part_of_a_known_file_by_hand() -> None:
    data = whole()
    found: Counter[tuple[object, ...]] = Counter()
    for extent in extents_of(decode.open_file(data)):
        found[extent.purpose, extent.tensor, extent.table, extent.section] += extent.size
    table = 48 + 7 * 32
    tables = table + (4 + 24 + 20 + 12) + (4 + 4 + 3) + 9  # then FIXED
    fixed = 4 + 24 + 3
    payload = tables + fixed + 6 + (1 + 4 + 8)
    assert found == {
        ("header", None, None, None): 48,
        ("section_table", None, None, None): 7 * 32,
        ("counts", None, None, Section.RECORDS): 4,
        ("record", 0, None, None): 24,
        ("record", 1, None, None): 20,
        ("record", 2, None, None): 12,
        ("counts", None, None, Section.TABLES): 4,
        ("huffman", None, 0, None): 4 + 3,
        ("names", None, None, Section.NAMES): 9,
        ("fixed", None, None, Section.FIXED): fixed,
        ("metadata", None, None, Section.META): 6,
        ("graph", None, None, Section.GRAPH): 13,
        (PADDING, None, None, Section.PAYLOAD): -payload % 16,
        ("blocks", 0, None, None): 1,
        (PADDING, 1, None, None): 15,
        ("blocks", 1, None, None): 64,
        ("tail", None, None, None): 8,
    }


def every_form() -> list[tuple[str, bytes]]:
    """Return files of one tensor in every legal form, small tensors only."""
    some = [t for t in tensors() if t.name in ("skewed", "far_apart", "pruned_float", "codebook")]
    rng = np.random.default_rng(2)
    some.append(raw("wide", sparse(rng, (12, 9), 0.6).astype("<i2"), DType.INT16))
    return [
        (f"{t.name}-{tag}", file_of_form(form))
        for t in some
        for tag, form in forms(stored(t))
        if form.legal()
    ]


@cache
def named_forms() -> dict[str, bytes]:
    return dict(every_form())


@pytest.mark.parametrize("name", named_forms())
def test_bits_are_those_that_the_reference_decoder_reads(name: str) -> None:
    """Two ways to count: the tensor written again, and the reference decoder, symbol by symbol."""
    opened = decode.open_file(named_forms()[name])
    (record,) = opened.records
    assert record.plan is not None
    symbols, _ = decode.decode_symbols(opened, 0)
    bits = audit_blocks.bits_of_blocks(opened, record, record.plan, symbols)
    front = decode.read_front(opened, record)
    assert sum(bits.values()) == 8 * sum(len(block) for block in front.blocks)
    if record.head.coder == Coder.ZSTD:
        assert set(bits) == {audit_blocks.FRAMES}
        return
    assert 0 <= bits["spare"] < 8 * len(front.blocks)
    if record.head.coder == Coder.CONTEXT:
        assert bits["spare"] == 0
        return
    if record.head.coder == Coder.HUFFMAN:
        counts = audit_blocks.read(opened, record)
        tables = [opened.tables[i].lengths for i in record.tables]  # type: ignore[attr-defined]
        used = sum(
            int(n) * int(length)
            for row, lengths in zip(counts, tables, strict=True)
            for n, length in zip(row, lengths, strict=True)
            if n
        )
        assert sum(bits.values()) - bits["spare"] == used


def test_gaps_and_symbols_of_the_page_s_example() -> None:
    """layout_gap.md: gaps of 2 bits, symbols of 3: 6 gaps and 2 symbols are 18 of 24 bits."""
    text = (ROOT / "spec" / "encodings" / "layout_gap.md").read_text()
    record, payload = (
        bytes.fromhex(text.split(f"{word}: ")[1].split("\n")[0]) for word in ("record", "payload")
    )
    (row,) = audit(File(file_of([record], payload))).tensors
    assert row.bits == {"symbols": 6, "gaps": 12, "spare": 6}
    assert row.purposes == {"symbols": 1, "gaps": 1, "spare": 1, "record": 28}


def test_a_writing_that_is_not_canonical_is_read_symbol_by_symbol() -> None:
    """The elements 5 0 0, the zeros in one gap of 2, or in two: other bits, the same elements."""
    head = bytes.fromhex("0703010001000000") + crc(bytes([5, 0, 0]))
    more = bytes.fromhex("00000000 03000000 03000000 0600 0000".replace(" ", ""))

    def report(payload: bytes, size: int) -> Report:
        record = head + bytes([size]) + more[1:]
        return audit(File(file_of([record], payload)))

    # gap 0, symbol 5, gap 2  |  gap 0, symbol 5, then gap 1, symbol 0, end
    one = report(bytes([0b10_101_00]), 1)
    two = report(bytes([0b01_101_00, 0]), 2)
    assert one.problems == two.problems == ()
    assert one.tensors[0].bits == {"symbols": 3, "gaps": 4, "spare": 1}
    assert two.tensors[0].bits == {"symbols": 6, "gaps": 4, "spare": 6}


# --- damage -------------------------------------------------------------------------------------


@cache
def small_model() -> bytes:
    """Return a file with gaps, dense blocks, scales, padding and a tied tensor."""
    rng = np.random.default_rng(11)
    numbers = [sparse(rng, (8, 40), share) for share in (0.1, 0.1, 0.9)]
    one, none = np.asarray(0.5, "<f4"), np.asarray(0, np.int32)
    found = [affine(f"t{i}", n, one, none, None) for i, n in enumerate(numbers)]
    found.append(raw("odd", np.arange(3, dtype=np.uint8), DType.UINT8))
    found.append(raw("floats", rng.random((5, 5)).astype("<f4"), DType.FLOAT))
    found.append(CodedTensor("tied", found[0].dtype, found[0].symbols, found[0].values))
    axis = affine("axis", sparse(rng, (6, 50), 0.3), rng.random(6).astype("<f4"), none + [0] * 6, 0)
    return encode_model(CodedModel((*found, axis)), Settings(row_access=True))


FILES = {"sections": whole, "tensors": small_model}


def place_of(extent: Extent, names: tuple[str, ...]) -> str:
    """Return what the message of damage in an extent is about."""
    if extent.purpose == "record":
        return "section RECORDS"
    if extent.table is not None:
        return "section TABLES"
    if extent.purpose == "scales":  # no CRC but that of the section is over them
        return "section PAYLOAD"
    if extent.tensor is not None:
        return names[extent.tensor]
    if extent.section is not None:
        return f"section {Section(extent.section).name}"
    return extent.purpose.replace("_", " ")


def changed(data: bytes) -> Iterator[tuple[Extent, bytes]]:
    """Yield the file with a byte changed, and the extent of that byte: a fifth of all bytes."""
    for extent in extents_of(decode.open_file(data)):
        for at in {*range(extent.start, extent.stop, 5), extent.stop - 1}:
            yield extent, data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :]


@pytest.mark.parametrize("kind", FILES)
def test_a_changed_byte_is_named_and_moves_only_the_row_that_owns_it(kind: str) -> None:
    data = FILES[kind]()
    names, before = File(data).names, audit(File(data))
    for extent, bad in changed(data):
        place = place_of(extent, names)
        try:
            file = File(bad)
        except DcfError as error:
            says = str(error)
            assert place in says, (extent, says)
            assert extent.purpose in AT_OPENING, (extent, says)
            continue
        _check_moved(before, audit(file), extent, place)


#: What is checked before anything can be audited.
AT_OPENING = (
    "header", "section_table", "counts", "record", "huffman", "codebook", "padding", "tail",
)  # fmt: skip


def _check_moved(before: Report, after: Report, extent: Extent, place: str) -> None:
    assert place in {problem.place for problem in after.problems}, extent
    assert (after.frame, after.sections) == (before.frame, before.sections)
    for mine, theirs in zip(before.tensors, after.tensors, strict=True):
        assert mine.bytes == theirs.bytes
        if extent.tensor not in (mine.index, mine.tied_to) and extent.purpose != "names":
            assert mine == theirs


def test_a_damaged_tensor_is_named_and_the_rest_is_audited() -> None:
    data = small_model()
    file = File(data)
    (blocks,) = [e for e in extents_of(file.opened) if e.tensor == 2 and e.purpose == "blocks"]
    bad = bytearray(data)
    bad[blocks.start] ^= 1
    report = audit(File(fix_crcs(bytes(bad))))
    assert [p.place for p in report.problems] == ["t2"]
    row = report.tensors[2]
    assert (row.status, row.facts, row.purposes["unread"]) == (DAMAGED, None, blocks.size)
    good = [r for r in report.tensors if r.index != 2]
    assert good == [r for r in audit(file).tensors if r.index != 2]


def test_tensors_in_unknown_rooms_and_unknown_sections_are_counted() -> None:
    unknown = PLAIN[:4] + bytes([99]) + PLAIN[5:]
    data = file_of([unknown, PLAIN], bytes([7, 0b11_10_01_00]))
    report = audit(File(data))
    first, second = report.tensors
    assert (first.status, first.layout) == (UNSUPPORTED, None)
    assert first.purposes == {"unread": 1, "record": 24}
    assert second.purposes == {"symbols": 1, "record": 24}
    assert sum(report.purposes.values()) == len(data)
    assert report.problems == ()


def test_a_tensor_that_is_too_large_to_decode_is_still_counted() -> None:
    file = File(small_model(), budget=200)
    report = audit(file)
    assert {row.status for row in report.tensors} == {"ok", "too large"}
    assert report.purposes["unread"] > 0
    assert sum(report.purposes.values()) == file.size


def shared_model() -> bytes:
    """Return a file with a table that tensors share, and one that only one tensor uses."""
    rng = np.random.default_rng(3)
    one, none = np.asarray(0.5, "<f4"), np.asarray(0, np.int32)
    numbers = [sparse(rng, (9, 7 + i), 0.2) for i in range(8)]
    flat = (200 * rng.random((20, 50)) ** 9).astype(np.uint8)
    some = [affine(f"t{i}", n, one, none, None) for i, n in enumerate(numbers)]
    return encode_model(CodedModel((*some, raw("other", flat, DType.UINT8))))


def test_shared_tables_are_nobody_s_and_own_ones_their_tensor_s() -> None:
    file = File(shared_model())
    users = users_of(file.opened)
    report = audit(file)
    shared = {row.table: row for row in report.frame if row.table is not None}
    assert sorted({len(some) for some in users})[0] == 1 < len(users[next(iter(shared)) or 0])
    assert shared.keys() == {i for i, some in enumerate(users) if len(some) != 1}
    for table, row in shared.items():
        assert row.users == tuple(users[table or 0])
        assert row.bytes == 4 + len(file.opened.table_entries[table or 0])


def test_a_shared_table_is_split_by_elements() -> None:
    file = File(shared_model())
    whole, split = audit(file), audit(file, split_shared=True)
    (row,) = [row for row in whole.frame if row.table is not None]
    sizes = [split.tensors[i].bytes - whole.tensors[i].bytes for i in row.users]
    elements = [whole.tensors[i].elements for i in row.users]
    exact = [row.bytes * n / sum(elements) for n in elements]
    assert sum(sizes) == row.bytes
    assert all(abs(size - share) < 1 for size, share in zip(sizes, exact, strict=True))


def test_the_small_model_has_gaps_and_dense_blocks() -> None:
    """So that the tests above meet both."""
    layouts = {record.head.layout for record in File(small_model()).opened.records}
    assert {Layout.GAP, Layout.DENSE} <= layouts


@pytest.mark.parametrize("path", [p for p in VECTORS if p not in READABLE], ids=ident)
def test_a_wrong_file_gives_its_error_or_is_audited_to_the_byte(path: Path) -> None:
    """What is wrong behind the opening is a problem that names its place, and the rest is there."""
    data = path.read_bytes()
    try:
        file = File(data)
    except DcfError as error:
        says = str(error)
        assert "\n" not in says
        return
    report = audit(file)
    assert sum(report.purposes.values()) == len(data)
    code = path.stem.split("-")[1 if path.parent.name == "sections" else 0]
    found = {problem.code for problem in report.problems}
    assert (code in found) or (code in ("OK", "UNSUPPORTED") and not found), found
