"""Compiling generated C in tests, with every compiler that is here, as strictly as they can."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from conftest import ROOT

CORE = ROOT / "dcformat" / "c"
WARNINGS = ("-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror")
CAST = {"gcc": "-Wcast-align=strict", "clang": "-Wcast-align"}
#: name -> (program, flags)
COMPILERS = {
    "gcc": ("gcc", ("-std=c99", CAST["gcc"])),
    "clang": ("clang", ("-std=c99", CAST["clang"])),
    "g++": ("g++", ("-x", "c++", "-std=c++11", CAST["gcc"])),
    "clang++": ("clang++", ("-x", "c++", "-std=c++11", CAST["clang"])),
}
ARM = "arm-none-eabi-gcc"


def run(*command: str | Path, folder: Path | None = None) -> str:
    """Run a command; its error output is the failure."""
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, check=False, cwd=folder
    )
    assert done.returncode == 0, f"{done.returncode}\n{done.stdout[-2000:]}{done.stderr[-4000:]}"
    return done.stdout


def need(program: str) -> str:
    """Return the path of a program; the test is skipped where it is not here."""
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"no {program} on this machine")
    return found


def compiled(source: Path, compiler: str, *flags: str) -> Path:
    """Return the object of one source, compiled without a warning."""
    program, own = COMPILERS[compiler]
    made = source.with_name(f"{source.stem}-{compiler}.o")
    run(need(program), *own, *WARNINGS, f"-I{CORE}", *flags, "-c", source, "-o", made)
    return made


def refused(source: Path, *flags: str) -> str:
    """Return what gcc says of a source that it must not compile."""
    command = [need("gcc"), "-std=c99", f"-I{CORE}", *flags, "-fsyntax-only", str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    return done.stderr


def flash_bytes(source: Path, folder: Path, *flags: str) -> int:
    """Return what arm-none-eabi-size counts as text, data and bss of a source's object."""
    made = folder / "arm.o"
    options = ("-mcpu=cortex-m3", "-mthumb", "-Os", "-ffunction-sections", "-fdata-sections")
    run(need(ARM), "-std=c99", *options, f"-I{CORE}", *flags, "-c", source, "-o", made)
    text, data, bss = run(need("arm-none-eabi-size"), made).splitlines()[1].split()[:3]
    assert (data, bss) == ("0", "0"), "constants are in RAM"
    return int(text)


def macros(header: Path, names: Sequence[str]) -> dict[str, int]:
    """Return the values of macros of a header, as a compiler sees them."""
    source = header.with_name("macros.c")
    prints = "\n".join(f'    printf("%lu\\n", (unsigned long)({name}));' for name in names)
    source.write_text(
        f'#include <stdio.h>\n#include "{header.name}"\nint main(void)\n{{\n{prints}\n}}\n'
    )
    program = header.with_name("macros")
    run(need("gcc"), "-std=c99", f"-I{CORE}", source, "-o", program)
    return dict(zip(names, map(int, run(program).split()), strict=True))
