"""The C decoder in all its forms says the same: one file or many, sizes of 32 bits or more, read by
a function or through a hook; and what numbers mean is what the reference decoder says they mean.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from handmade import fix_crcs
from test_c_core import (
    CORE,
    CXX,
    GCC,
    HERE,
    SANITIZERS,
    SOURCES,
    VECTORS,
    WARNINGS,
    answers,
    build,
    compiler,
    run,
    sanitizers_work,
)
from test_differential import mutated

import dcformat
from dcformat import decode, firmware
from dcformat.errors import Code, DcfError

pytestmark = pytest.mark.skipif(GCC is None, reason="no gcc on this machine")

CLANG = shutil.which("clang-16") or shutil.which("clang")

#: A file of bytes that are not what they seem: only who asks the hook can read it.
HOOK = """
#include <stdint.h>
extern uint8_t dcf_hook(const uint8_t *p);
#define DCF_READ8(p) dcf_hook(p)
"""
#: Without these, tables give the numbers of all tensors.
MAPPED = ("PACKED", "RUN", "SYMBOLS")
SMALL = ("RUN", "AFFINE", "FIXED", "SYMBOLS", "BLOCKS", "CHECK", "INFO", "NAMES", "LAYERS")


def inputs() -> list[bytes]:
    """Return all vectors, and some damage."""
    files = [path.read_bytes() for path in sorted(VECTORS.rglob("*.dcf"))]
    rng = np.random.default_rng(31)
    small = [data for data in files if len(data) < 3000]
    return files + [fix_crcs(mutated(data, rng)) for data in small for _ in range(3)]


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> list[list[str]]:
    """What the many files with wide sizes say of `inputs`."""
    folder = tmp_path_factory.mktemp("whole")
    return answers(build(folder, "-O1", "-DDCF_WIDE=1", "-DDCF_MARKS=4096"), folder, inputs())


def agree(others: list[list[str]], said: list[list[str]]) -> int:
    """Return how many files are too large for smaller sizes; of others the answers are equal."""
    pairs = [(other, one) for other, one in zip(others, said, strict=True) if other != one]
    assert all(other[0].split()[2] == str(int(Code.LIMIT)) for other, _ in pairs)
    return len(pairs)


@pytest.mark.parametrize("flags", [(), ("-m32",)], ids=["64", "32"])
def test_sizes_of_32_bits_refuse_what_is_too_large_and_nothing_else(
    flags: tuple[str, ...], tmp_path: Path, said: list[list[str]]
) -> None:
    sanitizers = SANITIZERS if not flags and sanitizers_work(tmp_path) else ["-O1"]
    program = build(tmp_path, *sanitizers, *flags)
    assert 0 < agree(answers(program, tmp_path, inputs()), said) < 20


@pytest.mark.parametrize("left_out", [MAPPED, (*MAPPED, "BLOCKS", "GAP"), ("BLOCKS", "HUFFMAN")])
def test_what_a_smaller_form_decodes_is_what_the_whole_one_decodes(
    left_out: tuple[str, ...], tmp_path: Path, said: list[list[str]]
) -> None:
    sanitizers = SANITIZERS if sanitizers_work(tmp_path) else ["-O1"]
    switches = [f"-DDCF_WITH_{name}=0" for name in left_out]
    program = build(tmp_path, *sanitizers, "-DDCF_WIDE=1", "-DDCF_MARKS=4096", *switches)
    decoded = 0
    for some, all_ in zip(answers(program, tmp_path, inputs()), said, strict=True):
        assert "DIFFER" not in some
        if all_[0].split()[2] == "0":
            assert some[0] == all_[0]
            numbers = about_numbers(some)
            decoded += len(numbers)
            assert numbers.items() <= about_numbers(all_).items()
    assert decoded > 30


def about_numbers(lines: list[str]) -> dict[str, tuple[str, ...]]:
    """Return what was said of decoding each tensor, in its order."""
    found: dict[str, list[str]] = {}
    for line in lines:
        what, index, *_ = line.split()
        if what in ("prepare", "crc", "decode"):
            found.setdefault(index, []).append(line)
    return {index: tuple(said) for index, said in found.items()}


def test_a_file_that_a_function_reads_gives_the_same_answers(
    tmp_path: Path, said: list[list[str]]
) -> None:
    sanitizers = SANITIZERS if sanitizers_work(tmp_path) else ["-O1"]
    flags = ["-DDCF_WITH_READ_CALLBACK=1", "-DDCF_WIDE=1", "-DDCF_MARKS=4096"]
    assert agree(answers(build(tmp_path, *sanitizers, *flags), tmp_path, inputs()), said) == 0


def one_file(folder: Path, chosen: dict[str, bool] | None = None) -> Path:
    for name, text in firmware.sources(chosen).items():
        (folder / name).write_text(text)
    return folder / "dcf.c"


def one_file_program(folder: Path, *flags: str | Path) -> Path:
    """Return the harness with the decoder as one file."""
    parts = [one_file(folder), HERE / "exercise.c", HERE / "harness.c"]
    program = folder / "harness"
    run(compiler(GCC), "-std=c99", *flags, f"-I{folder}", f"-I{HERE}", *parts, "-o", program)
    return program


def test_one_file_gives_the_same_answers(tmp_path: Path, said: list[list[str]]) -> None:
    switches = ["-DDCF_WIDE=1", "-DDCF_MARKS=4096", "-DDCF_WITH_CRC_TABLE=1"]
    switches += ["-DDCF_WITH_CONTEXT=1"]
    program = one_file_program(tmp_path, *WARNINGS, "-Os", *switches)
    assert agree(answers(program, tmp_path, inputs()), said) == 0


def test_every_byte_of_a_file_goes_through_the_hook(tmp_path: Path, said: list[list[str]]) -> None:
    """The hook gives the complement of what is in memory, as of the decoder's own tables."""
    (tmp_path / "hook.h").write_text(HOOK)
    (tmp_path / "hook.c").write_text(
        "#include <stdint.h>\nuint8_t dcf_hook(const uint8_t *p);\n"
        "uint8_t dcf_hook(const uint8_t *p) { return (uint8_t)~*p; }\n"
    )
    code = one_file(tmp_path)
    text = code.read_text()
    flipped, count = re.subn(
        r"(DCF_PROGMEM \w+\[[^\]]*\] = \{)([^}]*)(\};)",
        lambda m: (
            m[1] + ",".join(f"(uint8_t)~({v.strip()})" for v in m[2].split(",") if v.strip()) + m[3]
        ),
        text,
    )
    assert count > 0
    code.write_text(flipped)
    program = tmp_path / "harness"
    exercise = (HERE / "exercise.c").read_text()
    assert "open_model(model, file," in exercise
    (tmp_path / "exercise.c").write_text(
        exercise.replace(
            "status = open_model(",
            "for (i = 0; i < size; i++) { file[i] = (uint8_t)~file[i]; }\n    status = open_model(",
        )
    )
    run(
        compiler(GCC), "-std=c99", "-O1", "-include", tmp_path / "hook.h", f"-I{tmp_path}",
        f"-I{HERE}", "-DDCF_WIDE=1", "-DDCF_MARKS=4096", "-DDCF_WITH_CONTEXT=1", code,
        tmp_path / "hook.c",
        tmp_path / "exercise.c", HERE / "harness.c", "-o", program,
    )  # fmt: skip
    assert agree(answers(program, tmp_path, inputs()), said) == 0


@pytest.mark.parametrize("left_out", [(), *[(name,) for name in firmware.features()], SMALL])
def test_one_file_compiles_without_a_feature_and_has_nothing_of_it(
    left_out: tuple[str, ...], tmp_path: Path
) -> None:
    code = one_file(tmp_path, dict.fromkeys(left_out, False))
    plain = ["-std=c99", *WARNINGS, "-Os", "-c", code, "-o", tmp_path / "dcf.o"]
    run(compiler(GCC), *plain)
    run(compiler(GCC), "-m32", *plain)
    if CLANG is not None:
        known = [str(flag).removesuffix("=strict") for flag in plain]
        run(CLANG, *known)
        run(CLANG, "-m32", *known)
    text = code.read_text()
    assert not [name for name in left_out if re.search(rf"^#if DCF_WITH_{name}\b", text, re.M)]
    assert "DCF_HOST" not in text


@pytest.mark.parametrize("added", ["READ_CALLBACK", "FLOAT", "STRERROR"])
def test_one_file_compiles_with_what_is_not_there_unless_asked_for(
    added: str, tmp_path: Path
) -> None:
    code = one_file(tmp_path, {added: True})
    run(compiler(GCC), "-std=c99", *WARNINGS, "-Os", "-c", code, "-o", tmp_path / "dcf.o")
    run(compiler(CXX), "-x", "c++", "-std=c++11", "-Wall", "-Wextra", "-fsyntax-only", code)


def test_one_file_is_cxx_too(tmp_path: Path) -> None:
    flags = ["-std=c++11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only"]
    run(compiler(CXX), *flags, "-x", "c++", one_file(tmp_path))


def test_the_command_writes_what_the_function_gives(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "dcformat.firmware",
        "-o",
        tmp_path / "new",
        "--without",
        "RUN",
    ]
    subprocess.run(list(map(str, command)), check=True, timeout=60)
    written = {path.name: path.read_text() for path in (tmp_path / "new").iterdir()}
    assert written == firmware.sources({"RUN": False})
    with pytest.raises(DcfError, match="there is no feature RUNS") as caught:
        firmware.sources({"RUNS": True})
    assert caught.value.code is Code.ARGUMENT


def test_what_a_number_means_is_what_the_reference_says(tmp_path: Path) -> None:
    """Of every tensor of type FLOAT, to the bit; others say that they are no such numbers."""
    program = tmp_path / "floats"
    flags = ["-std=c99", *WARNINGS, "-O2", "-ffp-contract=off", "-DDCF_WITH_FLOAT=1"]
    run(compiler(GCC), *flags, f"-I{CORE}", *SOURCES, HERE / "floats.c", "-o", program)
    seen = 0
    for path in sorted(VECTORS.rglob("*.json")):
        data = path.with_suffix(".dcf")
        lines = run(program, data).splitlines()[:-1]
        file, opened = dcformat.load(data), decode.open_file(data.read_bytes())
        for i, (line, name) in enumerate(zip(lines, file, strict=True)):
            order = opened.record(i).head.order or range(file[name].ndim)
            seen += floats_agree(line.split()[1:], np.transpose(file[name], tuple(order)))
    assert seen > 20


def floats_agree(line: list[str], array: np.ndarray) -> int:
    """Compare what C says of a tensor with its elements; 1 where there was something."""
    count, bits = int(line[0]), [int(word, 16) for word in line[1:]]
    if count < 0:
        assert count == Code.UNSUPPORTED
        return 0
    if array.dtype != np.float32 or not bits:
        return 0
    got = np.array(bits, np.uint32).view(np.float32)
    assert got.tobytes() == np.ascontiguousarray(array).tobytes()
    return 1
