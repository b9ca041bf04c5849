"""Programs for small machines: build the C core for them, run it under QEMU, count instructions.

Nothing but the compiler is used: start-up, semihosting and linker script are ours (tests/firmware),
no C library is linked, and what the compiler asks of libgcc is seen.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dcformat import firmware

ROOT = Path(__file__).resolve().parents[1]
BOARD = ROOT / "tests" / "firmware"
PAGE = ROOT / "docs" / "firmware-sizes.md"
WARNINGS = ["-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Wcast-align=strict", "-Werror"]
FLAGS = ["-std=c99", "-ffreestanding", "-ffunction-sections", "-fdata-sections", *WARNINGS]
SECONDS = 120  #: until a program on an emulated machine is taken for one that hangs


class MissingToolError(Exception):
    """A tool is not on this machine, or one that is there cannot do what is needed."""


@dataclass(frozen=True)
class Target:
    """A kind of processor, its compiler, and an emulated board that has it."""

    name: str
    tools: str
    flags: tuple[str, ...]
    machine: tuple[str, ...]
    flash: tuple[int, int]
    ram: tuple[int, int]

    def tool(self, name: str) -> str:
        """Return a program of the compiler's set, or raise MissingToolError."""
        return need(self.tools + name)


def _arm(name: str, cpu: str, board: str, flash: tuple[int, int], ram: tuple[int, int]) -> Target:
    machine = ("qemu-system-arm", "-M", board)
    return Target(
        name, "arm-none-eabi-", (f"-mcpu={cpu}", "-mthumb", "-mfloat-abi=soft"), machine, flash, ram
    )


_MPS2 = ((0, 4 << 20), (0x20000000, 4 << 20))
_MICROBIT = ((0, 256 << 10), (0x20000000, 16 << 10))
_RISCV = ("-march=rv32imac", "-misa-spec=2.2", "-mabi=ilp32", "-mcmodel=medany")
TARGETS = {
    target.name: target
    for target in (
        _arm("M0", "cortex-m0", "microbit", *_MICROBIT),
        _arm("M0+", "cortex-m0plus", "microbit", *_MICROBIT),
        _arm("M3", "cortex-m3", "mps2-an385", *_MPS2),
        _arm("M4", "cortex-m4", "mps2-an386", *_MPS2),
        _arm("M7", "cortex-m7", "mps2-an500", *_MPS2),
        _arm("M33", "cortex-m33", "mps2-an505", (0x10000000, 4 << 20), (0x38000000, 2 << 20)),
        Target(
            "RV32", "riscv64-unknown-elf-", _RISCV,
            ("qemu-system-riscv32", "-M", "virt", "-bios", "none"),
            (0x80000000, 8 << 20), (0x80800000, 8 << 20),
        ),
    )
}  # fmt: skip


def need(tool: str) -> str:
    """Return the path of a program, or raise MissingToolError."""
    path = shutil.which(tool)
    if path is None:
        raise MissingToolError(f"no {tool} on this machine")
    return path


def call(*command: str | Path) -> str:
    """Run a program of this machine and return what it printed."""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{Path(command[0]).name}: {done.returncode}\n{done.stderr[-4000:]}")
    return done.stdout


def core(folder: Path, features: Mapping[str, bool] | None = None) -> Path:
    """Write the C core as one file, with its header beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in firmware.sources(features).items():
        (folder / name).write_text(text)
    return folder / "dcf.c"


def compile_all(
    target: Target, sources: Sequence[Path], folder: Path, flags: Sequence[str]
) -> list[Path]:
    """Compile each source to an object in `folder`; beside it stands its `.su`."""
    folder.mkdir(parents=True, exist_ok=True)
    gcc = target.tool("gcc")
    made = []
    for source in sources:
        out = folder / f"{source.stem}.o"
        includes = [f"-I{BOARD}", f"-I{folder}"]
        call(gcc, *target.flags, *FLAGS, "-fstack-usage", *flags, *includes,
             "-c", source, "-o", out)  # fmt: skip
        made.append(out)
    return made


def blob_object(target: Target, data: bytes, folder: Path) -> Path:
    """Return an object with `data` as `blob`, at an odd address: no alignment is promised."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "blob.bin").write_bytes(data)
    text = f""".section .rodata.blob, "a"
.balign 4
.byte 0
.global blob
blob: .incbin "{folder / "blob.bin"}"
.global blob_end
blob_end: .byte 0
"""
    source, out = folder / "blob.s", folder / "blob.o"
    source.write_text(text)
    call(target.tool("gcc"), *target.flags, "-c", source, "-o", out)
    return out


def linker_script(target: Target) -> str:
    """Return where code and data stand; the stack grows down from the end of memory."""
    (flash, flash_bytes), (ram, ram_bytes) = target.flash, target.ram
    return f"""
MEMORY {{ FLASH (rx) : ORIGIN = {flash:#x}, LENGTH = {flash_bytes:#x}
         RAM (rwx) : ORIGIN = {ram:#x}, LENGTH = {ram_bytes:#x} }}
ENTRY(start)
SECTIONS {{
  .text : {{ KEEP(*(.first)) *(.text*) }} > FLASH
  .rodata : {{ *(.rodata*) *(.srodata*) }} > FLASH
  .bss (NOLOAD) : {{ bss_start = .; *(.bss*) *(.sbss*) *(COMMON) bss_end = .; }} > RAM
  stack_low = ALIGN(bss_end, 8);
  stack_top = {ram + ram_bytes:#x};
  .data : {{ *(.data*) *(.sdata*) }} > RAM
  ASSERT(SIZEOF(.data) == 0, "initialized data: nobody copies it")
  /DISCARD/ : {{ *(.comment) *(.ARM.exidx*) *(.ARM.attributes) *(.riscv.attributes) *(.eh_frame*) }}
}}
"""


def link(
    target: Target,
    objects: Sequence[Path],
    out: Path,
    flags: Sequence[str] = (),
    end: Sequence[str] = (),
) -> Path:
    """Link a program for the board, with nothing but libgcc."""
    script = out.with_suffix(".ld")
    script.write_text(linker_script(target))
    call(
        target.tool("gcc"), *target.flags, "-nostdlib", "-nostartfiles", f"-T{script}",
        "-Wl,--gc-sections", *flags, *objects, *end, "-lgcc", "-o", out,
    )  # fmt: skip
    return out


def program(
    target: Target,
    main: str,
    data: bytes,
    folder: Path,
    flags: Sequence[str] = ("-Os",),
    foreign: Sequence[Path] = (),
    libraries: Sequence[str] = (),
) -> Path:
    """Build the core and a test program with `data` inside, and foreign sources as they are."""
    sources = [core(folder), BOARD / "board.c", BOARD / main]
    objects = compile_all(target, sources, folder, flags)
    objects += compile_all(target, foreign, folder / "foreign", [*flags, "-w"])
    objects.append(blob_object(target, data, folder))
    return link(target, objects, folder / "program.elf", end=libraries)


def emulate(target: Target, elf: Path, more: Sequence[str] = ()) -> list[list[str]]:
    """Run a program on its board and return the words of each line; it has to end with 0."""
    qemu, *machine = target.machine
    command = [
        need(qemu), *machine, "-kernel", str(elf), "-display", "none", "-monitor", "none",
        "-serial", "null", "-semihosting-config", "enable=on,target=native", *more,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)
    lines = (done.stdout + done.stderr).splitlines()  # semihosting writes to stderr
    if done.returncode:
        raise RuntimeError(f"{target.name}: exit code {done.returncode}\n" + "\n".join(lines[-20:]))
    return [line.split() for line in lines]


# ---- counting instructions ----


@dataclass(frozen=True)
class Counts:
    """Instructions that ran from one call of mark() to the next, by function."""

    functions: Counter[str]

    @property
    def total(self) -> int:
        """All instructions."""
        return self.functions.total()

    def of(self, pattern: str) -> int:
        """Return the instructions of the functions whose name the pattern matches whole."""
        return sum(n for name, n in self.functions.items() if re.fullmatch(pattern, name))


def plugin(folder: Path) -> Path:
    """Build the plugin that counts."""
    out = folder / "counts.so"
    if not out.exists():
        call(need("gcc"), "-O2", "-shared", "-fPIC", BOARD / "counts.c", "-o", out)
    return out


def symbols(target: Target, elf: Path) -> list[tuple[int, int, str]]:
    """Return address, size and name of each function, in the order of addresses."""
    found = []
    for line in call(target.tool("nm"), "-S", "--defined-only", elf).splitlines():
        words = line.split()
        if len(words) == 4 and words[2] in "tTwW":
            found.append((int(words[0], 16) & ~1, int(words[1], 16), words[3]))
    return sorted(found)


def count(target: Target, elf: Path) -> tuple[list[list[str]], list[Counts]]:
    """Run a program; return its lines, and counts between its calls of mark()."""
    functions = symbols(target, elf)
    (mark,) = [address for address, _, name in functions if name == "mark"]
    out = elf.with_suffix(".counts")
    options = f"{plugin(elf.parent)},out={out},mark={mark:#x}"
    lines = emulate(target, elf, ["-plugin", options])
    return lines, [_by_function(part, functions) for part in out.read_text().split("mark\n")[2:-1]]


def _by_function(text: str, functions: Sequence[tuple[int, int, str]]) -> Counts:
    """Add up counts of addresses; mark() itself counts nowhere."""
    names = {
        address: name for start, size, name in functions for address in range(start, start + size)
    }
    found: Counter[str] = Counter()
    for line in text.splitlines():
        address, runs = line.split()
        found[names.get(int(address, 16), "?")] += int(runs)
    del found["mark"]
    return Counts(found)
