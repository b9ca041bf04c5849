"""What the C core takes on small machines: `python bench/firmware_sizes.py [--markdown | --json]`.

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

from firmware_build import TARGETS, MissingToolError, Target, call, compile_all, core_sources, link
from firmware_stack import read_listing, worst
from show import Cell, Table, json_of, text_of

MACHINES = ("M0+", "M4", "RV32")
SWITCHES = ("GAP", "RUN", "HUFFMAN", "FIXED", "AFFINE", "CODEBOOK")


@dataclass(frozen=True)
class Configuration:
    """Rooms that are built in, functions that are called, and C expressions of the RAM they ask."""

    name: str
    rooms: Sequence[str]
    entries: Sequence[str]
    ram: Sequence[str]

    def flags(self) -> list[str]:
        """Return the switches for the compiler."""
        return [f"-DDCF_WITH_{room}=0" for room in SWITCHES if room not in self.rooms]


@dataclass(frozen=True)
class Sizes:
    """Bytes of one configuration on one machine, and the calls that take the most stack."""

    text: int
    rodata: int
    libgcc: int
    ram: int
    stack: int
    chain: Sequence[str]


OPENED = ("dcf_prepare", "dcf_decode", "dcf_cursor_init", "dcf_cursor_next")
EVERYTHING = ("dcf_open", "dcf_tensor_at", *OPENED, "dcf_rows", "dcf_check", "dcf_find")
CONTEXT = ("sizeof(dcf_tensor)", "sizeof(dcf_cursor)")
CONFIGURATIONS = (
    Configuration(
        "all rooms, all functions", SWITCHES, EVERYTHING,
        ("sizeof(dcf_model)", *CONTEXT, "DCF_WORKSPACE_BYTES(2, 256)"),
    ),
    Configuration(
        "gap, codebook, huffman: an opened tensor", ("GAP", "CODEBOOK", "HUFFMAN"), OPENED,
        (*CONTEXT, "DCF_WORKSPACE_BYTES(2, 64)"),
    ),
    Configuration(
        "dense, affine, huffman: an opened tensor", ("AFFINE", "HUFFMAN"), OPENED,
        (*CONTEXT, "DCF_WORKSPACE_BYTES(1, 256)"),
    ),
)  # fmt: skip
#: What the first configuration may take at most, and where.
LIMITS = (("text + rodata", "M0+", 4096), ("RAM", "M0+", 1000), ("stack", "M0+", 160))


def measure(target: Target, configuration: Configuration, folder: Path) -> Sizes:
    """Build a configuration and read its sizes off the linked program."""
    flags = ["-Os", *configuration.flags()]
    objects = compile_all(target, core_sources(), folder, flags)
    wanted = [f"-Wl,-u,{entry}" for entry in configuration.entries]
    table = folder / "program.map"
    entry = f"-Wl,-e,{configuration.entries[0]}"
    elf = link(target, objects, folder / "program.elf", [entry, *wanted, f"-Wl,-Map,{table}"])
    sections = _sections(target, elf)
    functions = read_listing(call(target.tool("objdump"), "-d", elf))
    stack, chain = worst(functions, configuration.entries)
    return Sizes(
        sections.get(".text", 0), sections.get(".rodata", 0), _libgcc(table),
        _ram(target, configuration, folder), stack, chain,
    )  # fmt: skip


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


def _ram(target: Target, configuration: Configuration, folder: Path) -> int:
    """Let the compiler say how large the expressions are: as the sizes of arrays."""
    source, out = folder / "ram.c", folder / "ram.o"
    arrays = [f"char array{i}[{size}];" for i, size in enumerate(configuration.ram)]
    source.write_text('#include "dcf.h"\n' + "\n".join(arrays) + "\n")
    (out,) = compile_all(target, [source], folder, configuration.flags())
    listed = call(target.tool("nm"), "-S", out).splitlines()
    return sum(int(line.split()[1], 16) for line in listed if " array" in line)


def table(folder: Path) -> Table:
    """Measure every configuration on every machine."""
    rows: list[list[Cell]] = []
    for configuration in CONFIGURATIONS:
        for name in MACHINES:
            place = folder / re.sub(r"\W+", "_", f"{configuration.name}-{name}")
            sizes = measure(TARGETS[name], configuration, place)
            flash = sizes.text + sizes.rodata
            rows.append(
                [configuration.name, name, sizes.text, sizes.rodata, flash, sizes.libgcc,
                 sizes.ram, sizes.stack, " > ".join(sizes.chain)]
            )  # fmt: skip
    columns = ["configuration", "machine", "text", "rodata", "flash", "libgcc", "RAM", "stack"]
    return Table("firmware sizes in bytes", "", [*columns, "deepest call"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="for programs")
    wishes = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as folder:
            measured = table(Path(folder))
    except MissingToolError as missing:
        raise SystemExit(f"not measured: {missing}") from None
    print(json_of([measured]) if wishes.json else text_of(measured))


if __name__ == "__main__":
    main()
