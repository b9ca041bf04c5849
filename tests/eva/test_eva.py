"""Frama-C's Eva proves that the C core stays inside its buffers, on all inputs of a bounded size.

Eva follows every path with sets of values in place of values. It reports each operation that it
cannot show to be defined; here there must be none. The texts put into the code for it change
nothing that the code does: an assertion with two sides makes Eva follow both, and a workspace's
odd address, of which it knows nothing, is one of both by turns.

Bounded are: tensors of four numbers in one block or two, of each layout, values and coder, with
any bytes as payload; files of up to 88 bytes that have no section, with any bytes behind the first
16 of the header. Not shown are classes of blocks, and records and tables of any bytes: there Eva
meets more states than it can keep apart. Fuzzing with sanitizers covers those.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from conftest import ROOT

from dcformat import firmware
from dcformat.coded import Affine, Codebook, CodedTensor, Fixed, Raw, Values
from dcformat.container import parse_container
from dcformat.decode import open_file
from dcformat.encodings.layout_gap import Gap
from dcformat.encodings.layout_run import Run
from dcformat.forms import Form, huffman_form, packed_form
from dcformat.ids import WIDTH, DType, Layout, Section
from dcformat.stored import Stored, store

sys.path.insert(0, str(ROOT / "bench"))
from decoding import file_of

HERE = Path(__file__).resolve().parent
FRAMA_C = shutil.which("frama-c")
LOOKUP = re.compile(r"^ *(?:uint32_t )?item = \S*table\[(\S+) >> [^]]+\];$", re.MULTILINE)
RUN = re.compile(r"^ +run = (item);$", re.MULTILINE)
NUMBERS = np.array([[0, 1], [0, 2]], np.int8)
FLAGS = ["-eva", "-eva-precision", "1", "-eva-slevel", "10000", "-eva-split-return", "full"]
FLAGS += ["-machdep", "x86_32", "-eva-msg-key=-final-states,-initial-state"]
FLAGS += ["-warn-special-float", "none"]  # a scale may be infinite: that is defined

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(FRAMA_C is None, reason="no frama-c on this machine"),
]


def once(text: str, old: str, new: str) -> str:
    """Replace what occurs once."""
    assert text.count(old) == 1, old
    return text.replace(old, new)


def two_sides(lookup: re.Match[str]) -> str:
    """Return a lookup by the first of some bits, before which Eva takes it for 0 and for 1."""
    bits = lookup[1]
    return f"/*@ assert {bits} < 0x80000000 || 0x80000000 <= {bits}; */\n{lookup[0]}"


def by_gap(run: re.Match[str]) -> str:
    """Return how a gap is kept, before which Eva takes each small one by itself."""
    gap = run[1]
    return f"/*@ assert {gap} == 0 || {gap} == 1 || {gap} == 2 || {gap} > 2; */\n{run[0]}"


#: An offset of one byte, as all are here, is the first of the four that are loaded.
OFFSET = "return DCF_U32(t->model, at) << spare >> spare;"
OFFSET_BYTE = "(void)spare;\n        return DCF_BYTE(t->model, at);"


def core(folder: Path) -> Path:
    """Write the core as Eva is to see it."""
    texts = firmware.sources({"FLOAT": True})
    code = once(texts["dcf.c"], "((uintptr_t)workspace & 1U)", "ODD")
    code = once(code, "\nuint32_t dcf_crc(uint32_t crc,", "\nuint32_t dcf_crc_itself(uint32_t crc,")
    code, lookups = LOOKUP.subn(two_sides, code)
    assert lookups == 1
    code, runs = RUN.subn(by_gap, code)
    assert runs == 1
    code = once(code, OFFSET, OFFSET_BYTE)
    (folder / "dcf.h").write_text(texts["dcf.h"])
    (folder / "dcf.c").write_text(code)
    return folder / "dcf.c"


def alarms(folder: Path, entry: str, *defines: str) -> str:
    """Return what Eva cannot prove, and where; nothing where all is well."""
    includes = " ".join([f"-I{folder}", *(f"-D{define}" for define in defines)])
    command = [str(FRAMA_C), *FLAGS, f"-cpp-extra-args={includes}", str(core(folder))]
    run = subprocess.run([*command, str(HERE / entry)], capture_output=True, text=True, check=False)
    assert "ANALYSIS SUMMARY" in run.stdout, run.stdout[-4000:] + run.stderr[-2000:]
    assert not re.search(r"\[eva\] .*(degenerat|abort)", run.stdout)
    found = re.findall(r"\[eva:alarm\] .*?(?=\n\[|\Z)", run.stdout, re.DOTALL)
    said = re.search(r"(\d+) alarms? generated", run.stdout)
    assert said is not None
    assert (int(said[1]) == 0) == (found == [])
    return "\n".join(found)


def integers(values: Values, numbers: npt.NDArray[np.generic] = NUMBERS) -> Stored:
    """Return a matrix of numbers that stand for floats."""
    return store(CodedTensor("w", DType.FLOAT, numbers, values), kernel_order=False)


def forms() -> dict[str, Form]:
    """Return four numbers in every room for mcu."""
    stored = store(CodedTensor("w", DType.INT8, NUMBERS, Raw()), kernel_order=False)
    wide = store(CodedTensor("w", DType.INT16, NUMBERS.astype("<i2"), Raw()), kernel_order=False)
    scale, zero = np.ones(2, "<f4"), np.ones(2, "<i4")
    affine = integers(Affine(DType.INT8, scale, zero, 0))
    fixed = integers(Fixed(DType.INT8, np.array([3, 4], "<i4"), 0))
    levels = np.array([-1, 0, 1], np.int8)
    book = integers(Codebook(DType.INT8, levels, scale, 0), NUMBERS.astype(np.uint8))
    rows = len(NUMBERS)
    gap, run = Gap(2, 0), Run(0)
    return {
        "dense packed": packed_form(stored, Layout.DENSE, None, rows),
        "gap packed": packed_form(stored, Layout.GAP, gap, rows),
        "dense huffman": huffman_form(stored, Layout.DENSE, None, rows, tables=None),
        "gap huffman": huffman_form(stored, Layout.GAP, gap, rows, tables=None),
        "run huffman": huffman_form(stored, Layout.RUN, run, rows, tables=None),
        "int16 packed": packed_form(wide, Layout.DENSE, None, rows),
        "int16 huffman": huffman_form(wide, Layout.DENSE, None, rows, tables=None),
        "affine packed": packed_form(affine, Layout.DENSE, None, rows),
        "affine huffman": huffman_form(affine, Layout.DENSE, None, rows, tables=None),
        "fixed packed": packed_form(fixed, Layout.DENSE, None, rows),
        "codebook packed": packed_form(book, Layout.DENSE, None, rows),
        "codebook gap huffman": huffman_form(book, Layout.GAP, gap, rows, tables=None),
        "huffman blocks": huffman_form(stored, Layout.DENSE, None, 1, tables=None),
        "gap huffman blocks": huffman_form(stored, Layout.GAP, gap, 1, tables=None),
        "gap packed blocks": packed_form(stored, Layout.GAP, gap, 1),
        "run huffman blocks": huffman_form(stored, Layout.RUN, run, 1, tables=None),
    }


#: Functions of room.c, and forms for `floats`, which asks no layout and no coder.
WAYS = ("whole", "rows", "pieces", "floats")
FOR_FLOATS = ("dense packed", "int16 packed", "affine packed", "fixed packed", "codebook packed")


def pairs() -> list[tuple[str, str]]:
    """Return forms and what is to be done with them."""
    found = [(name, way) for name in forms() for way in WAYS]
    return [(name, way) for name, way in found if way != "floats" or name in FOR_FLOATS]


def write_tensor(folder: Path, data: bytes) -> None:
    """Write tensor.h."""
    payload = parse_container(data).entries[Section.PAYLOAD]
    opened = open_file(data)
    record = opened.records[0]
    blocks = record.head.blocks
    assert blocks is None or blocks.offset_width == 1
    tables = [opened.table_entries[i][2] + 1 for i in record.tables]
    sizes = {
        "FILE_BYTES": len(data), "PAYLOAD_AT": payload.offset,
        "PAYLOAD_BYTES": payload.stored_size, "NUMBERS": NUMBERS.size, "ROWS": len(NUMBERS),
        "WIDTH": WIDTH[record.plan.number], "TABLES": len(tables),
        "SYMBOLS": max(tables, default=0), "BLOCKS": 1 if blocks is None else 2,
    }  # fmt: skip
    (folder / "tensor.h").write_text(
        f"enum {{ {', '.join(f'{name} = {size}' for name, size in sizes.items())} }};\n"
        f"static uint8_t file[FILE_BYTES] = {{{', '.join(map(str, data))}}};\n"
    )


@pytest.mark.parametrize(("name", "way"), pairs())
def test_any_payload_is_decoded_without_an_alarm(name: str, way: str, tmp_path: Path) -> None:
    write_tensor(tmp_path, file_of(forms()[name]))
    assert alarms(tmp_path, "room.c", f"WAY={way}", "ODD=0", "SHORT=0") == ""


@pytest.mark.parametrize("size", [8, 47, 48, 56, 88])
def test_any_header_is_read_without_an_alarm(size: int, tmp_path: Path) -> None:
    assert alarms(tmp_path, "open.c", "ODD=0", f"SIZE={size}") == ""


def test_an_alarm_is_seen(tmp_path: Path) -> None:
    """A file that is said to be larger than it is."""
    assert "out of bounds read" in alarms(tmp_path, "open.c", "ODD=0", "SIZE=48", "BYTES=40")


@pytest.mark.parametrize("name", ["dense packed", "gap huffman blocks", "run huffman"])
def test_a_write_behind_the_buffer_is_seen(name: str, tmp_path: Path) -> None:
    """Of a buffer that is said to be larger than it is."""
    write_tensor(tmp_path, file_of(forms()[name]))
    said = alarms(tmp_path, "room.c", "WAY=whole", "ODD=0", "SHORT=1")
    assert "out of bounds write" in said
