"""The spec is executed: its tables, its examples and its sentences are compared with the code."""

from __future__ import annotations

import re
from enum import IntEnum, IntFlag
from pathlib import Path

import numpy as np
import pytest
from handmade import file_of

from dcformat import decode, errors, ids, native
from dcformat.canonical import faults
from dcformat.container import FLAGS
from dcformat.encodings import LEGAL
from dcformat.file import File

ROOT = Path(__file__).resolve().parents[1]
SPEC = ROOT / "spec"
REGISTRY = (SPEC / "registry.md").read_text()
HEADER = ROOT / "dcformat" / "c" / "dcf.h"

#: enum of ids.py or errors.py -> prefix of its names in dcf.h
ENUMS: dict[type[IntEnum | IntFlag], str] = {
    ids.DType: "DCF_DTYPE_",
    ids.Section: "DCF_SECTION_",
    ids.SectionFlag: "DCF_SECTION_FLAG_",
    ids.SectionCodec: "DCF_SECTION_CODEC_",
    ids.Incompat: "DCF_INCOMPAT_",
    ids.RecordFlag: "DCF_RECORD_",
    ids.Layout: "DCF_LAYOUT_",
    ids.ValuesId: "DCF_VALUES_",
    ids.Coder: "DCF_CODER_",
    ids.GapFlag: "DCF_GAP_",
    ids.AffineFlag: "DCF_AFFINE_",
    ids.ScaleKind: "DCF_SCALE_",
    ids.TableKind: "DCF_TABLE_",
    ids.Meta: "DCF_META_",
    ids.GraphFormat: "DCF_GRAPH_",
    ids.Prediction: "DCF_PREDICTION_",
    ids.Rounding: "DCF_ROUNDING_",
    errors.Code: "DCF_ERR_",
}


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the first table below the heading that names `heading`."""
    pattern = rf"^##+ [^\n]*(?:\({heading}\)|^## {heading}|{heading})[^\n]*\n(.*?)(?=^##|\Z)"
    found = re.search(pattern, REGISTRY, re.M | re.S)
    assert found, heading
    lines = [line for line in found[1].splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def assigned(kind: type[IntEnum | IntFlag]) -> dict[str, int]:
    """Return names and numbers of a registry table."""
    return {row[0]: int(row[1]) for row in rows(f"\\({kind.__name__}\\)")}


@pytest.mark.parametrize("kind", ENUMS, ids=lambda kind: kind.__name__)
def test_the_registry_and_the_python_constants_agree(kind: type[IntEnum | IntFlag]) -> None:
    assert assigned(kind) == {member.name: int(member) for member in kind}


@pytest.mark.parametrize("kind", ENUMS, ids=lambda kind: kind.__name__)
def test_the_registry_and_the_c_header_agree(kind: type[IntEnum | IntFlag]) -> None:
    text = HEADER.read_text()
    others = [p for p in ENUMS.values() if p != ENUMS[kind] and p.startswith(ENUMS[kind])]
    found = {}
    for name, value in re.findall(rf"\b{ENUMS[kind]}(\w+)\s*=\s*(-?\d+)", text):
        if not any((ENUMS[kind] + name).startswith(p) for p in others):
            found[name] = int(value)
    if kind is errors.Code:
        found |= {n: int(v) for n, v in re.findall(r"\bDCF_(OK)\s*=\s*(\d+)", text)}
    assert found == assigned(kind)


def test_the_limits_of_page_python_and_header_agree() -> None:
    limits = {row[0]: int(row[1]) for row in rows("Limits")}
    text = HEADER.read_text()
    assert limits == {name: getattr(ids, name) for name in limits}
    for name, value in limits.items():
        found = re.search(rf"#define DCF_{name}\s+\(?(?:UINT64_C\()?(\d+)", text)
        assert found, f"dcf.h has no DCF_{name}"
        assert int(found[1]) == value, name


def test_element_types_have_the_widths_of_the_page() -> None:
    for name, number, width, bits in rows(r"\(DType\)"):
        dtype = ids.DType[name]
        assert (int(number), int(width), int(bits)) == (dtype, ids.WIDTH[dtype], ids.BITS[dtype])
        assert np.dtype(ids.NUMPY[dtype]).itemsize == int(width), name


def test_sections_have_the_flags_of_the_page() -> None:
    for name, _, flags, _ in rows(r"\(Section\)"):
        assert FLAGS[ids.Section[name]] == ids.SectionFlag[flags]


def test_the_legal_combinations_are_those_of_the_page() -> None:
    table = rows("Legal combinations")
    columns = ("PACKED", "HUFFMAN", "ZSTD", "CONTEXT")
    page = {
        (ids.Layout[row[0]], ids.Coder[coder])
        for row in table
        for coder, cell in zip(columns, row[1:], strict=True)
        if cell == "yes"
    }
    assert page == LEGAL


def test_magic_and_version_are_those_of_the_page() -> None:
    values = {row[0]: row[1] for row in rows("Magic and version")}
    assert bytes.fromhex(values["MAGIC"]) == ids.MAGIC
    assert (int(values["MAJOR"]), int(values["MINOR"])) == (ids.MAJOR, ids.MINOR)


def examples() -> list[tuple[str, dict[str, str]]]:
    """Return every ```vector block of the pages as (place, fields)."""
    found = []
    for page in sorted(SPEC.rglob("*.md")):
        blocks = re.findall(r"```vector\n(.*?)```", page.read_text(), re.S)
        for i, block in enumerate(blocks):
            lines = (line.split(":", 1) for line in block.splitlines() if line)
            found.append((f"{page.stem}-{i}", {key: value.strip() for key, value in lines}))
    return found


EXAMPLES = examples()


def built(fields: dict[str, str]) -> bytes:
    """Return the file that an example describes."""
    tables = bytes.fromhex(fields.get("tables", ""))
    sections = {ids.Section.TABLES: tables} if tables else {}
    record, payload = bytes.fromhex(fields["record"]), bytes.fromhex(fields["payload"])
    return file_of([record], payload, sections=sections)


def numbers(fields: dict[str, str]) -> list[int]:
    return [int(word, 0) for word in fields["numbers"].split()]


def as_integers(array: np.ndarray) -> list[int]:
    if array.dtype.kind in "fc":
        array = array.view(f"<u{array.itemsize}")
    return [int(x) for x in array]


def test_every_room_page_has_examples() -> None:
    pages = {page.stem for page in (SPEC / "encodings").glob("*.md")}
    assert pages == {name.rsplit("-", 1)[0] for name, _ in EXAMPLES}


@pytest.mark.parametrize(("name", "fields"), EXAMPLES, ids=[name for name, _ in EXAMPLES])
def test_the_reference_decoder_reads_the_example(name: str, fields: dict[str, str]) -> None:
    opened = decode.open_file(built(fields))
    assert as_integers(decode.decode_numbers(opened, 0)) == numbers(fields)


@pytest.mark.parametrize(("name", "fields"), EXAMPLES, ids=[name for name, _ in EXAMPLES])
def test_the_c_decoder_reads_the_example(name: str, fields: dict[str, str]) -> None:
    if not native.AVAILABLE:
        pytest.skip("the C extension is not built")
    opened = native.open_file(built(fields))
    if name.startswith("coder_zstd"):
        with pytest.raises(errors.UnsupportedError):
            native.decode_numbers(opened, 0)
    else:
        assert as_integers(native.decode_numbers(opened, 0)) == numbers(fields)


@pytest.mark.parametrize(("name", "fields"), EXAMPLES, ids=[name for name, _ in EXAMPLES])
def test_the_encoder_writes_the_example(name: str, fields: dict[str, str]) -> None:
    assert list(faults(File(built(fields)))) == []


def test_payloads_start_where_the_page_says() -> None:
    block = re.search(r"```payloads\n(.*?)```", (SPEC / "DCF.md").read_text(), re.S)
    assert block
    lines = [line.split(":", 1) for line in block[1].splitlines()]
    records = [bytes.fromhex(value) for key, value in lines if key == "record"]
    payload = b"".join(bytes.fromhex(value) for key, value in lines if key == "payload")
    data = file_of(records, payload)
    opened = decode.open_file(data)
    starts = [int(word) for key, value in lines if key == "starts" for word in value.split()]
    assert [record.offset for record in opened.records] == starts
    decode.check_file(opened)
    if native.AVAILABLE:
        native.check_file(native.open_file(data))


def sources() -> list[Path]:
    code = ROOT / "dcformat"
    return sorted([*code.rglob("*.py"), *code.rglob("*.c"), *code.rglob("*.h")])


def test_every_sentence_that_the_code_quotes_stands_in_the_spec() -> None:
    def plain(text: str) -> str:
        return re.sub(r"[\s*`]+", " ", text)

    pages = plain(" ".join(page.read_text() for page in SPEC.rglob("*.md")))
    for source in sources():
        comments = re.findall(r"(?:#|//)[^\n]*|/\*.*?\*/", source.read_text(), re.S)
        for sentence in re.findall(r'"([A-Z][^"]{15,}\.)"', " ".join(comments)):
            words = re.sub(r"\s*(?:#|//|\n \*)\s*", " ", sentence)
            assert plain(words) in pages, f"{source.name}: {sentence}"


def test_every_security_invariant_is_named_by_a_test_or_a_fuzzer() -> None:
    page = (SPEC / "SECURITY.md").read_text()
    wanted = set(re.findall(r"^\| (S\d+) \|", page, re.M))
    tests = " ".join(
        p.read_text() for p in (ROOT / "tests").rglob("*") if p.suffix in (".py", ".c", ".h")
    )
    assert wanted == {s for s in wanted if re.search(rf"\b{s}\b", tests)}
