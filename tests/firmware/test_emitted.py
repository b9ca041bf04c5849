"""C that dcconvert writes for the example decodes, on machines of 8, 32 and 64 bits and of both
byte orders, to the numbers whose CRCs are in it: the self-test beside it says so.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from benches import build, tools
from conftest import ROOT

import dcformat

HERE = Path(__file__).resolve().parent
FLAGS = ["-std=c99", "-Os", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror"]
WHOLE = "whole\n"
PRESETS = ["deep", pytest.param("int8", marks=pytest.mark.slow)]
MAIN = """\
#include <stdio.h>
#include "model.h"
static uint8_t scratch[MODEL_SCRATCH_BYTES];
int main(void)
{
    puts(model_selftest(scratch, sizeof scratch) == -1 ? "whole" : "broken");
    return 0;
}
"""
HOSTS = {
    "x86-64": (["gcc"], []),
    "x86-32": (["gcc", "-m32"], []),
    "s390x": (["clang-16", "--target=s390x-linux-gnu", "-static"], ["qemu-s390x"]),
}


def emitted(folder: Path, preset: str, damaged: bool = False) -> list[Path]:
    """Return the sources of the example, its self-test and the decoder."""
    model = dcformat.read(ROOT / "examples" / "digits" / "digits.onnx")
    options = {"prune": 0.8} if preset == "deep" else {}
    coded = dcformat.compress(model, preset, **options)
    folder.mkdir(exist_ok=True)
    dcformat.write(coded, folder / "model.c", selftest=True, with_decoder=True)
    if damaged:
        damage(folder / "model.c")
    return [folder / name for name in ("model.c", "model_selftest.c", "dcf.c")]


def damage(source: Path) -> None:
    """Change the last byte of the numbers but for the tail."""
    text = source.read_text()
    head, end = text.rsplit("};", 1)
    values = head.rsplit(",", 10)  # 8 bytes of tail and the end of the list
    values[1] = " 0xff" if values[1].strip() != "0xff" else " 0x00"
    source.write_text(",".join(values) + "};" + end)


def need(*programs: str) -> None:
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"no {program} on this machine")


def run(*command: str | Path) -> str:
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("name", ["M0+", "M4", "RV32"])
def test_the_emitted_example_is_whole_on_a_board(name: str, preset: str, tmp_path: Path) -> None:
    sources = [*emitted(tmp_path, preset), build.BOARD / "board.c", build.BOARD / "emitted.c"]
    target = build.TARGETS[name]
    with tools():
        objects = build.compile_all(target, sources, tmp_path, ["-Os"])
        elf = build.link(target, objects, tmp_path / "program.elf")
        assert build.emulate(target, elf) == [["selftest", "ffffffff"]]


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("name", HOSTS)
def test_the_emitted_example_is_whole_on_a_host(name: str, preset: str, tmp_path: Path) -> None:
    compiler, emulator = HOSTS[name]
    need(compiler[0], *emulator)
    (tmp_path / "empty.c").write_text(
        '#include <stdio.h>\nint main(void) { return puts("") < 0; }\n'
    )
    made = subprocess.run(
        [*compiler, "empty.c", "-o", "empty"], cwd=tmp_path, capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip(f"{compiler} makes no programs on this machine")
    (tmp_path / "main.c").write_text(MAIN)
    sources = [*emitted(tmp_path, preset), tmp_path / "main.c"]
    run(*compiler, *FLAGS, *sources, "-o", tmp_path / "program")
    assert run(*emulator, tmp_path / "program") == WHOLE


@pytest.mark.parametrize("damaged", [False, True])
def test_the_emitted_example_runs_where_flash_is_no_memory(damaged: bool, tmp_path: Path) -> None:
    """On an AVR: int has 16 bits, an array at most 32 KiB, and flash is read by an instruction."""
    need("avr-gcc", "simavr")
    sources = [*emitted(tmp_path, "deep", damaged), HERE / "emitted_avr.c"]
    flags = [*FLAGS, "-mmcu=atmega2560", "-include", HERE / "emitted_avr.h", f"-I{tmp_path}"]
    run("avr-gcc", *flags, *sources, "-o", tmp_path / "program.elf")
    said = run("simavr", "-m", "atmega2560", "-f", "16000000", tmp_path / "program.elf")
    assert ("broken" if damaged else "whole") in said


def test_the_decoder_compiles_for_16_bits_with_all_that_it_has(tmp_path: Path) -> None:
    need("avr-gcc")
    for wanted in ({}, {"FLOAT": True, "STRERROR": True}, {"READ_CALLBACK": True}):
        source = build.core(tmp_path, wanted)
        flags = [*FLAGS, "-mmcu=atmega2560", "-include", HERE / "emitted_avr.h"]
        run("avr-gcc", *flags, "-c", source, "-o", tmp_path / "dcf.o")
