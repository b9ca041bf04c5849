"""Stack and instructions are what the tools say; docs/firmware-sizes.md is what they measure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from benches import build, sizes, speed, stack, tools
from conftest import ROOT

PAGE = ROOT / "docs" / "firmware-sizes.md"
NEAR = 0.05

ARM = """
00000000 <outer>:
       0:\tb5f0      \tpush\t{r4, r5, r6, r7, lr}
       2:\tb0a5      \tsub\tsp, #148\t@ 0x94
       4:\tf7ff fffe \tbl\t0 <inner>
       8:\tb025      \tadd\tsp, #148\t@ 0x94
       a:\te7fe      \tb.n\t10 <last>

00000010 <inner>:
      10:\te92d 41f0 \tstmdb\tsp!, {r4, r5, r6, r7, r8, lr}
      14:\tf84d ed04 \tstr.w\tlr, [sp, #-4]!
      18:\tbd10      \tpop\t{r4, pc}

00000020 <last>:
      20:\tb09e      \tsub\tsp, #120\t@ 0x78
      22:\t4798      \tbx\tlr
"""
RISCV = """
80000000 <outer>:
80000000:\t1101                \tadd\tsp,sp,-32 # 80fffff0 <bss_end+0x7fe6e8>
80000002:\t00000097          \tjal\tra,80000010 <inner>
80000004:\t6105                \tadd\tsp,sp,32
80000008:\ta021                \tj\t80000020 <last>

80000010 <inner>:
80000010:\t7139                \taddi\tsp,sp,-64

80000020 <last>:
80000020:\t715d                \taddi\tsp,sp,-80
"""


@pytest.mark.parametrize(("listing", "frames"), [(ARM, (168, 28, 120)), (RISCV, (32, 64, 80))])
def test_the_stack_of_a_call_is_that_of_its_deepest_chain(
    listing: str, frames: tuple[int, int, int]
) -> None:
    functions = stack.read_listing(listing)
    outer, inner, last = frames
    assert [functions[name].frame for name in ("outer", "inner", "last")] == [*frames]
    most, chain = stack.worst(functions, ["outer"])
    assert most == max(outer + inner, last)  # `last` begins when the frame of `outer` is gone
    assert chain == ["outer", "inner"]


@pytest.mark.parametrize(
    ("word", "operands", "said"),
    [("blx", "r3", "blx r3"), ("bl", "0 <outer>", "recursion: outer outer"),
     ("sub", "sp, r4", "sub sp, r4")],
)  # fmt: skip
def test_stack_without_a_bound_is_an_error(word: str, operands: str, said: str) -> None:
    listing = f"00000000 <outer>:\n       0:\t4798      \t{word}\t{operands}\n"
    functions = stack.read_listing(listing)
    with pytest.raises(stack.UnknownStackError, match=said):
        stack.worst(functions, ["outer"])


def test_a_function_of_the_caller_takes_no_stack_of_ours() -> None:
    functions = stack.read_listing(ARM + "      24:\t4798      \tblx\tr3\n")
    with pytest.raises(stack.UnknownStackError, match="last: blx r3"):
        stack.worst(functions, ["outer"])
    assert stack.worst(functions, ["outer"], pointers=True) == (196, ["outer", "inner"])


@pytest.mark.parametrize("name", ["M0+", "M4", "RV32"])
def test_frames_are_those_that_the_compiler_says(name: str, tmp_path: Path) -> None:
    target = build.TARGETS[name]
    with tools():
        (core,) = build.compile_all(target, [build.core(tmp_path)], tmp_path, ["-Os"])
        functions = stack.read_listing(build.call(target.tool("objdump"), "-d", core))
    said: dict[str, set[int]] = {}
    for line in core.with_suffix(".su").read_text().splitlines():
        place, size, kind = line.split("\t")
        assert kind == "static"
        said.setdefault(place.rsplit(":", 1)[1].split(".")[0], set()).add(int(size))
    assert len(said) > 20
    assert {
        function: read.frame
        for function, read in functions.items()
        if read.frame not in said[function.split(".")[0]]
    } == {}


@pytest.mark.parametrize(("name", "most"), [("M0", 3), ("M4", 3), ("RV32", 2)])
def test_instructions_are_counted_one_by_one(name: str, most: int, tmp_path: Path) -> None:
    target = build.TARGETS[name]
    with tools():
        elf = build.program(target, "loop.c", b"", tmp_path)
        _, (short, long) = build.count(target, elf)
    assert long.of("rounds") - short.of("rounds") == 2000 * most
    assert short.of("rounds") == 1000 * most + 1  # the return
    assert short.total - short.of("rounds") < 10


def cells_of(line: str) -> list[str]:
    """Return the cells of a line of a page's table."""
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def rows_of(page: str, columns: Sequence[str]) -> list[list[str]]:
    """Return the rows of the page's table with these columns."""
    lines = page.splitlines()
    (start,) = (i for i, line in enumerate(lines) if cells_of(line) == list(columns))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append(cells_of(line))
    return rows


def near(shown: str, cell: str | float) -> bool:
    """Tell whether a page shows a cell: words as they are, numbers to within NEAR."""
    if isinstance(cell, str):
        return shown == cell
    return abs(float(shown) - cell) <= NEAR * max(float(shown), cell)


def differing(page: str, tables: Sequence[Any]) -> list[str]:
    """Return the rows of a page that are not what was measured."""
    faults = []
    for table in tables:
        shown = rows_of(page, table.columns)
        if len(shown) != len(table.rows):
            faults.append(f"{len(table.rows)} rows, not {len(shown)}")
        for cells, row in zip(shown, table.rows, strict=False):
            if not all(near(*pair) for pair in zip(cells, row, strict=True)):
                faults.append(f"{row}, not {cells}")
    return faults


def test_the_page_has_the_sizes_that_are_measured(tmp_path: Path) -> None:
    with tools():
        measured = sizes.tables(tmp_path)[0]
    assert differing(PAGE.read_text(), [measured]) == []
    other = [*measured.rows[0][:2], measured.rows[0][2] * 1.1, *measured.rows[0][3:]]
    wrong = replace(measured, rows=[other, *measured.rows[1:]])
    assert len(differing(PAGE.read_text(), [wrong])) == 1


@pytest.mark.slow
@pytest.mark.realdata
def test_the_page_has_the_instructions_that_are_counted(tmp_path: Path) -> None:
    with tools():
        *own, peers = speed.tables(tmp_path, with_peers=True)
    assert differing(PAGE.read_text(), own) == []
    if {"heatshrink", "zlib"} <= {row[0] for row in peers.rows}:  # what PyPI gave
        assert differing(PAGE.read_text(), [peers]) == []


#: Instructions a weight at -Os, and of one row anywhere in proportion to (k + 1) / 2 rows.
MOST = {"P4_90": 12, "P4_80": 20, "D4": 20, "D8": 28}


def test_the_page_keeps_what_was_asked_of_instructions() -> None:
    page = PAGE.read_text()
    rows = rows_of(page, ["weights", "bits/weight", "-Os", "prepare", "-O2", "prepare"])
    assert [name for name, _, per_weight, *_ in rows[:4] if float(per_weight) > MOST[name]] == []
    for _, _, row in rows_of(page, ["weights", "cursor, all rows", "one row, anywhere"]):
        assert float(row) <= 1.1
