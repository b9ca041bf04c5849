"""The container: what old readers do with flags and sections that they do not know."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from click.testing import CliRunner
from handmade import fix_crcs, joined, taken_apart

import dcformat
from dcformat import decode, native
from dcformat.errors import Code, DcfError
from dcformat.file import File
from dcformat.ids import Section, SectionCodec
from dcformat.tools.dcconvert import main

GOOD = (Path(__file__).parent / "vectors" / "valid" / "everything_mcu.dcf").read_bytes()


def with_flags(at: int, value: int) -> bytes:
    """Return a valid file with a header flag word set."""
    return fix_crcs(GOOD[:at] + struct.pack("<I", value) + GOOD[at + 4 :])


def code_of(decoder: object, data: bytes) -> Code:
    try:
        decoder.open_file(data)  # type: ignore[attr-defined]
    except DcfError as error:
        return error.code
    return Code.OK


def test_an_unknown_incompat_flag_is_refused_and_named() -> None:
    data = with_flags(24, 0x81)
    with pytest.raises(dcformat.UnsupportedError, match="0x80"):
        decode.open_file(data)
    if native.AVAILABLE:
        assert code_of(native, data) == Code.FEATURE


def test_an_unknown_compat_flag_is_ignored() -> None:
    assert File(with_flags(32, 0xFF)).coded_model() == File(GOOD).coded_model()


def test_an_unknown_ro_compat_flag_lets_read_but_not_rewrite(tmp_path: Path) -> None:
    source = tmp_path / "x.dcf"
    source.write_bytes(with_flags(28, 4))
    assert dcformat.load(source).coded_model() == File(GOOD).coded_model()
    done = CliRunner().invoke(main, [str(source), "-o", str(tmp_path / "y.dcf")])
    assert done.exit_code == 1
    assert "ro_compat flags 0x4" in done.stderr
    assert CliRunner().invoke(main, [str(source), "-o", str(tmp_path / "y.npz")]).exit_code == 0


def with_section(flags: int) -> bytes:
    """Return a valid file with a section of type 200 behind the others."""
    count = struct.unpack_from("<H", GOOD, 14)[0]
    table_end = 48 + 32 * count
    content = b"from the future"
    # the table grows by one entry of 32 bytes, and every section moves by as much
    moved = bytearray(GOOD[48:table_end])
    for at in range(0, len(moved), 32):
        offset = struct.unpack_from("<Q", moved, at + 8)[0]
        struct.pack_into("<Q", moved, at + 8, offset + 32)
    start = len(GOOD) - 8 + 32
    entry = struct.pack("<BBBBIQQQ", 200, flags, 0, 0, 0, start, len(content), len(content))
    body = GOOD[table_end:-8] + content + bytes(8)
    head = bytearray(GOOD[:48])
    struct.pack_into("<H", head, 14, count + 1)
    struct.pack_into("<Q", head, 16, 48 + len(moved) + 32 + len(body))
    return fix_crcs(bytes(head) + bytes(moved) + entry + body)


@pytest.mark.parametrize("flags", [0, 2])
def test_an_unknown_section_is_skipped(flags: int) -> None:
    data = with_section(flags)
    assert File(data).coded_model() == File(GOOD).coded_model()
    decode.check_file(decode.open_file(data))
    if native.AVAILABLE:
        native.check_file(native.open_file(data))


def test_an_unknown_critical_section_is_refused() -> None:
    assert code_of(decode, with_section(1)) == Code.FEATURE
    if native.AVAILABLE:
        assert code_of(native, with_section(1)) == Code.FEATURE


def test_stripping_does_not_change_the_content_id(tmp_path: Path) -> None:
    coded = File(GOOD).coded_model()
    ids = set()
    for target, graph in (("mcu", True), ("host", False)):
        dcformat.save(coded, tmp_path / "x.dcf", target=target, graph=graph)
        ids.add(dcformat.load(tmp_path / "x.dcf").metadata[6])
    assert len(ids) == 1


def test_a_stored_section_with_no_bytes_reads_as_a_missing_one() -> None:
    header, parts = taken_apart(GOOD)
    names = next(part for part in parts if part[0][0] == Section.NAMES)
    names[0][2] = SectionCodec.STORED
    names[1].clear()
    file = File(joined(header, parts))
    assert list(file) == [f"#{i}" for i in range(len(file))]
