"""What the C core takes on small machines: `python bench/firmware_sizes.py [--json | --write]`.

Each configuration is compiled with -Os and linked with nothing but libgcc and the functions that
a firmware would call; what they do not need, the linker leaves out. `text` and `rodata` are flash,
libgcc's part included, which stands beside too. RAM is what the caller owns while a tensor is
decoded: structures and Huffman codes, no output buffer. `stack` is the most that a call takes,
along the calls of the linked code.
"""

from __future__ import annotations

import argparse
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from firmware_build import PAGE, TARGETS, MissingToolError, Target, call, compile_all, core, link
from firmware_stack import read_listing, worst
from show import Cell, Table, json_of, put_into, text_of

MACHINES = ("M0+", "M4", "RV32")
#: Functions that are there with a switch only.
WANTING = {"dcf_floats": "FLOAT", "dcf_open_read": "READ_CALLBACK"}


@dataclass(frozen=True)
class Configuration:
    """Features that are left out, functions that are called, and C expressions of RAM."""

    name: str
    without: Sequence[str]
    entries: Sequence[str]
    context: Sequence[str]
    tables: str
    least: str

    def features(self) -> dict[str, bool]:
        """Return the switches of the C core that differ from its defaults."""
        wanted = {name: True for entry, name in WANTING.items() if entry in self.entries}
        return {**dict.fromkeys(self.without, False), **wanted}


@dataclass(frozen=True)
class Sizes:
    """Bytes of one configuration on one machine, and the calls that take the most stack."""

    text: int
    rodata: int
    libgcc: int
    context: int
    tables: int
    least: int
    stack: int
    chain: Sequence[str]


OPENED = ("dcf_prepare", "dcf_decode")
DECODING = (
    "dcf_open", "dcf_tensor_at", *OPENED, "dcf_rows", "dcf_cursor_init", "dcf_cursor_next",
    "dcf_check",
)  # fmt: skip
LOOKING = ("dcf_info_of", "dcf_find", "dcf_name", "dcf_layer_at")
ALL = ("sizeof(dcf_model)", "sizeof(dcf_tensor)", "sizeof(dcf_cursor)")
BYTES_ONLY = ("RUN", "PACKED", "FIXED", "POW2", "SYMBOLS", "BLOCKS")


def _tables(count: int, symbols: int) -> tuple[str, str]:
    """Return RAM of Huffman codes: with small lookup tables, and without."""
    needs = f"({count}, {symbols})"
    return f"DCF_WORKSPACE_BYTES{needs}", f"DCF_WORKSPACE_LEAST{needs}"


CONFIGURATIONS = (
    Configuration("all rooms", (), DECODING, ALL, *_tables(2, 256)),
    Configuration("and names, layers, info", (), (*DECODING, *LOOKING), ALL, *_tables(2, 256)),
    Configuration("all rooms, float32", (), (*DECODING, "dcf_floats"), ALL, *_tables(2, 256)),
    Configuration(
        "all rooms, read callback", (), ("dcf_open_read", *DECODING[1:]),
        (*ALL, "sizeof(dcf_source)", "48U"), *_tables(2, 256),
    ),
    Configuration(
        "gap codebook huffman", (*BYTES_ONLY, "AFFINE"), OPENED, ALL[:2], *_tables(2, 64)
    ),
    Configuration(
        "of it dcf_decode", (*BYTES_ONLY, "AFFINE"), OPENED[1:], ALL[:2], *_tables(2, 64)
    ),
    Configuration(
        "dense affine huffman", (*BYTES_ONLY, "GAP", "CODEBOOK"), OPENED, ALL[:2],
        *_tables(1, 256),
    ),
)  # fmt: skip
#: What is asked of a Cortex-M0+: configuration, column, bytes at most.
LIMITS = (
    ("all rooms", "flash", 4096),
    ("all rooms", "RAM", 1000),
    ("of it dcf_decode", "flash", 800),
    ("gap codebook huffman", "RAM", 512),
    ("all rooms", "stack", 160),
)


def measure(target: Target, configuration: Configuration, folder: Path) -> Sizes:
    """Build a configuration and read its sizes off the linked program."""
    objects = compile_all(target, [core(folder, configuration.features())], folder, ["-Os"])
    wanted = [f"-Wl,-u,{entry}" for entry in configuration.entries]
    table = folder / "program.map"
    entry = f"-Wl,-e,{configuration.entries[0]}"
    elf = link(target, objects, folder / "program.elf", [entry, *wanted, f"-Wl,-Map,{table}"])
    sections = _sections(target, elf)
    functions = read_listing(call(target.tool("objdump"), "-d", elf))
    by_pointer = "dcf_open_read" in configuration.entries  # the caller's function reads the file
    stack, chain = worst(functions, configuration.entries, by_pointer)
    context, tables, least = (
        bytes_of(target, size, folder)
        for size in (" + ".join(configuration.context), configuration.tables, configuration.least)
    )
    text, rodata = sections.get(".text", 0), sections.get(".rodata", 0)
    return Sizes(text, rodata, _libgcc(table), context, tables, least, stack, chain)


def _sections(target: Target, elf: Path) -> dict[str, int]:
    found = {}
    for line in call(target.tool("size"), "-A", elf).splitlines():
        words = line.split()
        if len(words) == 3 and words[0].startswith("."):
            found[words[0]] = int(words[1])
    return found


def _libgcc(table: Path) -> int:
    """Return the bytes of code and constants that the linker took from libgcc."""
    placed = table.read_text().split("Linker script and memory map")[1]
    part = re.compile(
        r"^ \.(?:text|rodata)\S*\s+0x[0-9a-f]+\s+0x([0-9a-f]+) \S*libgcc\.a\(", re.MULTILINE
    )
    return sum(int(size, 16) for size in part.findall(placed))


def bytes_of(target: Target, expression: str, folder: Path) -> int:
    """Let the compiler say what an expression is: as the size of an array."""
    source = folder / "ram.c"
    source.write_text(f'#include "dcf.h"\nchar array[{expression}];\n')
    (out,) = compile_all(target, [source], folder, [])
    (line,) = call(target.tool("nm"), "-S", out).splitlines()
    return int(line.split()[1], 16)


COLUMNS = (
    "configuration", "machine", "flash", "of it rodata", "of it libgcc", "RAM", "of it tables",
    "least RAM", "stack",
)  # fmt: skip


def tables(folder: Path) -> list[Table]:
    """Measure every configuration on every machine; also say which calls take the most stack."""
    rows: list[list[Cell]] = []
    chains: list[list[Cell]] = []
    for configuration in CONFIGURATIONS:
        for name in MACHINES:
            place = folder / re.sub(r"\W+", "_", f"{configuration.name}-{name}")
            one = measure(TARGETS[name], configuration, place)
            flash = one.text + one.rodata
            ram = [one.context + one.tables, one.tables, one.context + one.least]
            rows.append([configuration.name, name, flash, one.rodata, one.libgcc, *ram, one.stack])
            chains.append([configuration.name, name, " > ".join(one.chain)])
    sizes = Table("firmware sizes in bytes", "", COLUMNS, rows)
    return [sizes, limits_of(sizes), Table("deepest calls", "", [*COLUMNS[:2], "calls"], chains)]


def limits_of(sizes: Table) -> Table:
    """Compare what was measured on a Cortex-M0+ with what is asked for."""
    found: list[list[Cell]] = []
    for configuration, column, most in LIMITS:
        (row,) = (row for row in sizes.rows if list(row[:2]) == [configuration, "M0+"])
        size = int(row[COLUMNS.index(column)])
        said = "met" if size <= most else f"{size - most} above"
        found.append([configuration, column, size, most, said])
    return Table("on Cortex-M0+", "", ["configuration", "of", "bytes", "at most", ""], found)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument("--write", action="store_true", help="put the sizes on the page")
    wishes = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as folder:
            measured = tables(Path(folder))
    except MissingToolError as missing:
        raise SystemExit(f"not measured: {missing}") from None
    if wishes.write:
        PAGE.write_text(put_into(PAGE.read_text(), measured[0]))
    print(json_of(measured) if wishes.json else "\n\n".join(map(text_of, measured)))


if __name__ == "__main__":
    main()
