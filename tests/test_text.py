"""The text form: every file has one and gets its bytes back from it (spec/TEXT.md)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from conftest import ROOT
from handmade import fix_crcs
from hypothesis import given, settings
from hypothesis import strategies as st
from invalid import whole

from dcformat import decode
from dcformat.errors import Code, ConvertError, DcfError
from dcformat.ids import MAGIC
from dcformat.text import build_file, dump_file
from dcformat.text.fields import REAL
from dcformat.text.lines import MAX_LINE, Node, quote, unquote

VECTORS = Path(__file__).parent / "vectors"
ALL = sorted(VECTORS.rglob("*.dcf"))
GOOD = sorted(p.with_suffix(".dcf") for p in VECTORS.rglob("*.json"))
PAGE = (ROOT / "spec" / "TEXT.md").read_text()
FIRST = "dcformat text 1\n"
(EXAMPLE,) = re.findall(r"^```dcformat (\S+)\n(.*?)^```$", PAGE, re.M | re.S)
PAGE_EDITS = re.findall(r"^\| `(.+?)` \| (`.+`) \| ([A-Z]+) \|$", PAGE, re.M)
#: Lines that say what a valid file leaves to the rules, or what could not be parsed.
LITERAL = re.compile(
    r"^ *(?:hex|rest|pad|tail|magic|\w*crc|offsets?|\w*size|\w*count|rank|zero|spare|length"
    r"|offset_width|order_padding|start|\w*shift)\b(?! auto)",
    re.M,
)


def name_of(path: Path) -> str:
    return str(path.relative_to(VECTORS).with_suffix(""))


def dump(data: bytes, full: bool = False) -> str:
    return "".join(dump_file(data, full))


def build(text: str | bytes) -> bytes:
    raw = text.encode() if isinstance(text, str) else text
    return build_file(raw.split(b"\n"))


def outcome(text: bytes) -> bytes:
    """Return what a text builds, nothing where it is an error of a line."""
    try:
        return build(text)
    except ConvertError as error:
        if not re.fullmatch("line [0-9]+", error.place):
            raise
        return b""


def code_of(data: bytes) -> Code:
    """Return the error of opening a file, then checking it."""
    try:
        decode.check_file(decode.open_file(data))
    except DcfError as error:
        return error.code
    return Code.OK


@pytest.mark.parametrize("path", ALL, ids=name_of)
def test_every_vector_has_a_text_that_gives_its_bytes(path: Path) -> None:
    data = path.read_bytes()
    assert build(dump(data)) == data
    assert build(dump(data, full=True)) == data


@pytest.mark.parametrize("path", GOOD, ids=name_of)
def test_of_a_valid_vector_everything_that_follows_is_left_out(path: Path) -> None:
    text = dump(path.read_bytes())
    counted = re.sub(r"(?<=table HUFFMAN_FLAT)(.*\n.*\n) +count \d+", r"\1", text)
    assert LITERAL.findall(counted) == []


def test_the_pattern_for_literal_lines_finds_them() -> None:
    broken = [p for p in ALL if p.parent.name == "invalid" and not p.stem.startswith("OK")]
    assert sum(bool(LITERAL.search(dump(p.read_bytes()))) for p in broken) > len(broken) / 2


@given(st.binary(max_size=400))
def test_any_bytes_have_a_text(data: bytes) -> None:
    assert build(dump(data)) == data


@given(st.binary(max_size=300))
def test_any_bytes_after_a_magic_have_a_text(data: bytes) -> None:
    for file in (MAGIC + data, fix_crcs(MAGIC + bytes(4) + b"\x30\0\x02\0" + data)):
        assert build(dump(file)) == file
        assert build(dump(file, full=True)) == file


@pytest.mark.parametrize("size", [*range(0, 620, 7), 611, 612, 613])
def test_a_file_cut_anywhere_has_a_text(size: int) -> None:
    data = whole()[:size]
    assert build(dump(data)) == data


def test_the_text_of_a_file_is_one_text() -> None:
    data = whole()
    assert dump(data) == dump(bytes(bytearray(data)))
    assert dump(build(dump(data))) == dump(data)


EDITS = [
    ("header\n", "header\n  header_crc 0x1\n", Code.CHECKSUM),
    ("header\n", "header\n  table_crc 1\n", Code.CHECKSUM),
    ("header\n", "header\n  magic 89504e47 0d0a1a0a\n", Code.MAGIC),
    ("header\n", "header\n  minor 2\n", Code.VERSION),
    ("header\n", "header\n  file_size 612\n", Code.TRUNCATED),
    ("header\n", "header\n  incompat DRAFT 0x2\n", Code.FEATURE),
    ("header\n", "header\n  section_count 65\n", Code.LIMIT),
    ("section RECORDS\n", "section RECORDS\n  crc 0x12345678\n", Code.CHECKSUM),
    ("section NAMES\n", "section NAMES\n  offset 400\n", Code.STRUCTURE),
    ("section NAMES\n", "section NAMES\n  codec ZSTD\n", Code.OK),
    ("section GRAPH\n", "section GRAPH\n  stored_size 1000\n", Code.TRUNCATED),
    ("section META\n", "section META\n  flags CRITICAL\n", Code.STRUCTURE),
    ("section PAYLOAD\n", "section PAYLOAD\n  align_log2 3\n", Code.STRUCTURE),
    ("section PAYLOAD\n", "section PAYLOAD\n  flags 0\n", Code.STRUCTURE),
    ("    dims 4\n", "    dims 5\n", Code.TRUNCATED),
    ("    dims 4\n", "    dims 4\n    numbers_crc 0\n", Code.CHECKSUM),
    ("    dims 4\n", "    dims 4\n    rank 9\n", Code.LIMIT),
    ("    dims 4\n", "    dims 4\n    rest 00000000\n", Code.STRUCTURE),
    ("    dims 16\n", "    dims 16\n    payload_size 68\n", Code.STRUCTURE),
    ("      alphabet 4\n", "      alphabet 0\n", Code.STRUCTURE),
    ("      alphabet 4\n", "      alphabet 3\n", Code.RANGE),
    ("    coder PACKED\n", "    coder 9\n", Code.OK),
    ("    tied 0\n", "    tied 2\n", Code.STRUCTURE),
    ("    tied 0\n", "    tied 0\n    rank 1\n", Code.PADDING),
    ("    count 4\n", "    count 3\n", Code.CODE),
    ("  table HUFFMAN_FLAT", "  offsets 9\n  table HUFFMAN_FLAT", Code.STRUCTURE),
    ("  payload 1", "  payload 1\n    pad " + "00" * 14 + "01", Code.PADDING),
    ("    block e4\n", "    block e4 00\n", Code.STRUCTURE),
    ("section PAYLOAD\n", "tail 0000000000000001\nsection PAYLOAD\n", Code.PADDING),
    ("section PAYLOAD\n", "tail 00000000000000\nsection PAYLOAD\n", Code.TRUNCATED),
]


@pytest.mark.parametrize(("old", "new", "code"), EDITS, ids=[new for _, new, _ in EDITS])
def test_one_line_makes_a_file_wrong_in_one_way(old: str, new: str, code: Code) -> None:
    text = dump(whole())
    assert code_of(build(text)) == Code.OK
    assert old in text
    data = build(text.replace(old, new, 1))
    assert code_of(data) == code
    assert data != whole()
    assert build(dump(data)) == data


def test_the_bytes_of_a_name_are_free() -> None:
    data = build(dump(whole()).replace('name "b"', r'name "\xff\"\\ö"', 1))
    assert b'\x05\0\xff"\\\xc3\xb6' in data
    assert r'name "\xff\"\\ö"' in dump(data)


def test_codes_that_are_not_complete_can_be_written() -> None:
    tables = "section TABLES\n  table HUFFMAN_{}\n    first 3\n    lengths {}\n"
    for kind, raw in (("NIBBLES", "0003023202"), ("DELTA", "01030202b200")):
        data = build(FIRST + tables.format(kind, "2 3 2"))
        assert data.endswith(bytes.fromhex(raw) + bytes(8)), kind
        assert code_of(data) == Code.CODE
    whole_code = build(FIRST + tables.format("NIBBLES", "2 - 2 1"))
    assert code_of(whole_code) == Code.OK


BAD = [
    ("", 1, "first line"),
    ("dcformat text 2\n", 1, "first line"),
    (FIRST + "header\n   minor 1\n", 3, "indentation"),
    (FIRST + "header\n\tminor 1\n", 3, "a tab"),
    (FIRST + "header\n    minor 1\n", 3, "indentation"),
    (FIRST + "header\n  minor x\n", 3, "cannot be"),
    (FIRST + "header\n  minor\n", 3, "cannot be"),
    (FIRST + "header\n  minor 65536\n", 3, "does not fit"),
    (FIRST + "header\n  minor 99999999999999999999999\n", 3, "cannot be"),
    (FIRST + "header\n  minor 1\n  minor 1\n", 4, "already in line 3"),
    (FIRST + "header\n  minor 1\n    minor 2\n", 4, "nothing may stand below"),
    (FIRST + "header\n  minus 1\n", 3, "no field 'minus'"),
    (FIRST + "section 256\n", 2, "not a section"),
    (FIRST + "section META\n  hex 0\n", 3, "not bytes in hex"),
    (FIRST + "section META\n  hex\n    00\n      00\n", 5, "below a line of data"),
    (FIRST + "section META\n  hex\n    00\n    zz\n", 5, "not bytes in hex"),
    (FIRST + "section META\nsection META\n  codec ZSTD\n", 3, "second section"),
    (FIRST + 'section NAMES\n  name "a\n', 3, "without its end"),
    (FIRST + "section NAMES\n  name a\n", 3, "not a quoted string"),
    (FIRST + 'section NAMES\n  name "\\q"\n', 3, "escape"),
    (FIRST + "section PAYLOAD\n  payload 0\n", 3, "no record"),
    (FIRST + "section RECORDS\n  record\n    dtype INT8\n", 3, "needs a line"),
    (FIRST + "section TABLES\n  table CODEBOOK\n    type INT8\n", 3, "without 'levels'"),
    (FIRST + "section GRAPH\n  format ONNX\n  hole 1 2\n", 4, "position"),
    (FIRST + "section META\n  entry 300 \"\"\n", 3, "not a key"),
    (FIRST + "# \n" + "hex " + "00" * MAX_LINE + "\n", 3, "line of more than"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "line", "reason"), BAD, ids=[f"{b[2]}-{b[1]}" for b in BAD])
def test_an_error_in_a_text_names_the_line(text: str, line: int, reason: str) -> None:
    with pytest.raises(ConvertError, match=reason) as caught:
        build(text)
    assert caught.value.place == f"line {line}"


def test_a_text_that_is_not_utf_8_is_an_error_of_its_line() -> None:
    with pytest.raises(ConvertError, match="UTF-8") as caught:
        build(FIRST.encode() + b"hex \xff\n")
    assert caught.value.place == "line 2"


@given(st.binary(max_size=200))
def test_any_bytes_as_text_build_or_are_an_error_of_a_line(raw: bytes) -> None:
    for text in (raw, FIRST.encode() + raw):
        assert outcome(text) is not None


LINES = dump(whole()).splitlines()


@settings(max_examples=400)
@given(
    st.integers(1, len(LINES) - 1),
    st.sampled_from(LINES[1:]),
    st.sampled_from([*sorted({w for line in LINES for w in line.split()}), "auto", "99999999999"]),
    st.sampled_from(["cut", "insert", "word", "indent"]),
)
def test_an_edited_text_builds_a_file_or_is_an_error_of_a_line(
    at: int, other: str, word: str, how: str
) -> None:
    lines = list(LINES)
    old = lines[at]
    new = {
        "cut": [],
        "insert": [old, other],
        "word": [old.rpartition(" ")[0] + " " + word],
        "indent": ["  " + old],
    }
    lines[at : at + 1] = new[how]
    data = outcome("\n".join(lines).encode())
    assert build(dump(data)) == data


@given(st.integers(0, 2**32 - 1))
def test_every_binary32_number_has_a_text(bits: int) -> None:
    assert REAL.parse(REAL.show(bits)) == bits


@given(st.binary(max_size=30))
def test_every_name_has_a_text_of_one_line_that_can_be_seen(raw: bytes) -> None:
    text = quote(raw)
    assert unquote(Node(text), text) == raw
    assert not re.search(r"[\x00-\x1f\x7f\u0080-\u009f\u2028\u2029\u202a-\u202e]", text)


def test_a_small_text_asks_for_little_work() -> None:
    """S3 and S4: each record decodes to 1 MiB from nothing; all but the first few are left."""
    record = (
        "  record\n    dtype UINT8\n    row_axes 0\n    layout DENSE\n    values RAW\n"
        "      alphabet 1\n      base 0\n    coder HUFFMAN\n      tables 0\n    dims 1048576\n"
    )
    tables = "section TABLES\n  table HUFFMAN_FLAT\n    first 0\n    count 1\n"
    data = build(FIRST + "section RECORDS\n" + 10 * record + tables)
    crcs = [record.head.numbers_crc for record in decode.open_file(data).records]
    assert [crc != 0 for crc in crcs] == [True] * 4 + [False] * 6
    assert build(dump(data)) == data


def test_numbers_are_decoded_beside_what_is_malformed() -> None:
    text = dump(whole()).replace("    dims 16\n", "    dims 17\n").replace("count 4", "count 3")
    crcs = slice(272 + 4 + 8, 272 + 4 + 12), slice(272 + 28 + 8, 272 + 28 + 12)
    assert [build(text)[at] for at in crcs] == [whole()[crcs[0]], bytes(4)]


def test_the_example_of_the_page_is_the_text_of_a_vector() -> None:
    data = (ROOT / EXAMPLE[0]).read_bytes()
    assert build(EXAMPLE[1]) == data
    assert dump(data) == EXAMPLE[1]


@pytest.mark.parametrize(("old", "new", "code"), PAGE_EDITS)
def test_the_edits_of_the_page_give_the_errors_it_says(old: str, new: str, code: str) -> None:
    (line,) = [line for line in EXAMPLE[1].splitlines() if line.strip() == old]
    indent = " " * (len(line) - len(old))
    lines = "\n".join(indent + part for part in re.findall("`(.*?)`", new))
    assert code_of(build(EXAMPLE[1].replace(line + "\n", lines + "\n"))) == Code[code]


def test_every_key_that_is_printed_is_on_the_page() -> None:
    keys = set()
    for path in ALL:
        for line in dump_file(path.read_bytes(), full=True):
            key = line.split()[0]
            if re.fullmatch(r"[a-z]\w*", key) and not re.fullmatch(r"[0-9a-f]{2,8}", key):
                keys.add(key)
    assert len(keys) > 80
    assert {key for key in keys if f"`{key}`" not in PAGE} == {"dcformat"}


def test_texts_are_the_same_without_the_c_core(monkeypatch: pytest.MonkeyPatch) -> None:
    files = [p.read_bytes() for p in GOOD[::9]]
    before = [dump(data) for data in files]
    monkeypatch.setattr("dcformat.native.AVAILABLE", False)
    assert [dump(data) for data in files] == before
    assert [build(text) for text in before] == files
