"""The C decoder by itself: builds without warnings, without a C library, without some rooms; and
under sanitizers never leaves its buffers, whatever it reads (spec/SECURITY.md, S1, S2, S4, S6).
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tables
from handmade import fix_crcs, joined, taken_apart
from mutants import large_files, mutants

from dcformat.coded import CodedModel, CodedTensor, Raw
from dcformat.encode import Settings, encode_model
from dcformat.errors import Code
from dcformat.ids import NO_TENSOR, DType, Rounding, Section
from dcformat.model import LayerFormat

HERE = Path(__file__).resolve().parent
CORE = HERE.parents[1] / "dcformat" / "c"
SOURCES = sorted(CORE.glob("*.c"))
VECTORS = HERE.parent / "vectors"
GCC = shutil.which("gcc")
CXX = shutil.which("g++")

WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Wcast-align=strict"]
WARNINGS += ["-Werror"]
SANITIZERS = ["-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
SWITCHES = ("GAP", "RUN", "PACKED", "HUFFMAN", "CONTEXT", "FIXED", "AFFINE", "CODEBOOK", "POW2")
MUTANTS = 3000

pytestmark = pytest.mark.skipif(GCC is None, reason="no gcc on this machine")


def run(*command: str | Path) -> str:
    """Run a command; its error output is the failure."""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.returncode}\n{done.stderr[-4000:]}"
    return done.stdout


def compiler(name: str | None) -> str:
    if name is None:
        pytest.skip("no such compiler on this machine")
    return name


def build(folder: Path, *flags: str) -> Path:
    """Return the harness, built with `flags`."""
    program = folder / "harness"
    parts = [*SOURCES, HERE / "exercise.c", HERE / "harness.c"]
    rooms = [] if any("CONTEXT" in flag for flag in flags) else ["-DDCF_WITH_CONTEXT=1"]
    includes = [f"-I{CORE}", f"-I{HERE}"]
    run(compiler(GCC), "-std=c99", *rooms, *flags, *includes, *parts, "-o", program)
    return program


def sanitizers_work(folder: Path) -> bool:
    source = folder / "empty.c"
    source.write_text("int main(void) { return 0; }\n")
    flags = [compiler(GCC), *SANITIZERS, str(source), "-o", str(folder / "empty")]
    return subprocess.run(flags, capture_output=True, check=False).returncode == 0


def valid_files() -> list[bytes]:
    return [path.with_suffix(".dcf").read_bytes() for path in sorted(VECTORS.rglob("*.json"))]


def answers(program: Path, folder: Path, files: Iterable[bytes]) -> list[list[str]]:
    """Return what the harness says of each file, line by line."""
    batch = folder / "batch.bin"
    batch.write_bytes(b"".join(struct.pack("<I", len(data)) + data for data in files))
    said: list[list[str]] = [[]]
    for line in run(program, batch).splitlines():
        if line == "end":
            said.append([])
        else:
            said[-1].append(line)
    return said[:-1]


@pytest.mark.parametrize("host", [0, 1])
def test_every_file_compiles_as_c99_without_a_warning(tmp_path: Path, host: int) -> None:
    for source in SOURCES:
        out = tmp_path / "core.o"
        flags = [*WARNINGS, "-O2", f"-DDCF_HOST={host}", "-DDCF_WITH_CONTEXT=1"]
        run(compiler(GCC), "-std=c99", *flags, "-c", source, "-o", out)


@pytest.mark.parametrize("host", [0, 1])
def test_every_file_compiles_as_cxx11(host: int) -> None:
    flags = ["-std=c++11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only"]
    for source in SOURCES:
        run(compiler(CXX), *flags, f"-DDCF_HOST={host}", "-x", "c++", source)


@pytest.mark.parametrize("room", [*SWITCHES, None])
def test_every_room_can_be_left_out(room: str | None) -> None:
    """None stands for all of them."""
    left_out = SWITCHES if room is None else (room,)
    switches = [f"-DDCF_WITH_{name}=0" for name in left_out]
    for source in SOURCES:
        run(compiler(GCC), "-std=c99", *WARNINGS, *switches, "-fsyntax-only", source)


def sample_header() -> str:
    """Return sample.h: a file that uses every room of target mcu in small tensors."""
    data = (VECTORS / "valid" / "everything_by_row.dcf").read_bytes()
    body = ",".join(map(str, data))
    return (
        f"enum {{ SAMPLE_BYTES = {len(data)} }};\n"
        f"static const uint8_t SAMPLE[SAMPLE_BYTES] = {{{body}}};\n"
    )


@pytest.mark.parametrize("flags", [("-Os",), ("-O2",), ("-Os", "-m32")], ids=" ".join)
def test_it_links_and_decodes_without_a_c_library(tmp_path: Path, flags: tuple[str, ...]) -> None:
    if os.name != "posix" or os.uname().machine not in ("x86_64", "aarch64"):
        pytest.skip("freestanding.c cannot end a process on this machine")
    if "-m32" in flags and os.uname().machine != "x86_64":
        pytest.skip("-m32 is for x86_64")
    (tmp_path / "sample.h").write_text(sample_header())
    program = tmp_path / "freestanding"
    run(
        compiler(GCC), "-std=c99", "-ffreestanding", "-nostdlib", "-static", "-fno-stack-protector",
        *flags, f"-I{CORE}", f"-I{tmp_path}", *SOURCES, HERE / "freestanding.c", "-o", program,
    )  # fmt: skip
    run(program)


def test_a_build_without_rooms_reads_the_other_tensors(tmp_path: Path) -> None:
    files = valid_files()
    whole = answers(build(tmp_path, "-O1"), tmp_path, files)
    part = answers(
        build(tmp_path, "-O1", "-DDCF_WITH_RUN=0", "-DDCF_WITH_CODEBOOK=0"), tmp_path, files
    )
    decoded = [{line for line in said if line.startswith("crc")} for said in whole]
    fewer = [{line for line in said if line.startswith("crc")} for said in part]
    assert all(few <= all_of for few, all_of in zip(fewer, decoded, strict=True))
    assert 0 < sum(map(len, fewer)) < sum(map(len, decoded))
    assert all(said[0].split()[2] == "0" for said in part)


def layered(**settings: bool) -> bytes:
    """Return a file of two tensors, the second named "weight", and one layer."""
    numbers = np.arange(12, dtype=np.int8).reshape(3, 4)
    tensors = [CodedTensor(name, DType.INT8, numbers + i, Raw()) for i, name in enumerate("ab")]
    tensors[1] = replace(tensors[1], name="weight")
    layer = LayerFormat("dense", "weight", "a", 5, 8, 7, 8, 12, 32, 4, 8, Rounding.HALF_EVEN)
    return encode_model(CodedModel(tuple(tensors), layers=(layer,)), Settings(**settings))


def fixed_section(data: bytes) -> int:
    """Return where section FIXED begins."""
    entries = range(48, len(data), 32)
    entry = next(at for at in entries if data[at] == Section.FIXED)
    return int.from_bytes(data[entry + 8 : entry + 16], "little")


def test_tensors_are_found_by_name_and_by_hash_and_layers_are_read(tmp_path: Path) -> None:
    program = build(tmp_path, "-O1")
    named = layered()
    stripped = layered(names=False)
    neither = layered(names=False, hashes=False)
    emptied = with_empty_sections(stripped)
    shift, zero = fixed_section(named) + 4 + 16, fixed_section(named) + 4 + 22
    for files, expected in (
        ((named, stripped), ["find 1 0 0", "layer 0 0 0", "layer 1 -1 0"]),
        ((emptied,), ["find 1 0 0", "layer 0 -1 0"]),
        ((neither,), [f"find {NO_TENSOR} -1 0", "layer 0 0 0"]),
        ((changed(named, shift),), ["layer 0 -14 0"]),
        ((changed(named, zero),), ["layer 0 -15 0"]),
    ):
        for lines in answers(program, tmp_path, files):
            assert set(expected) <= set(lines)


#: What C leaves to host readers, and frames, which it cannot read.
OF_HOST = ("name_not_utf8", "nul_in_name", "byte_left_over")
FRAMES = ("frame", "frame_of_another_size", "size_before_the_frame")


def c_answer(section: str, code: str, diagnosis: str) -> str:
    """Return what C says where it reads the section of a vector."""
    found = Code[code]
    if section == "FIXED":
        if diagnosis == "count_0":
            found = Code.ARGUMENT
        return f"layer 0 {int(Code.OK if diagnosis in OF_HOST else found)} "
    if section == "NAMES" and diagnosis in FRAMES:
        return f"find {NO_TENSOR} {int(Code.UNSUPPORTED)} "
    if diagnosis == "not_utf8_before_the_cut":  # C meets what stands behind it
        found = Code.TRUNCATED
    met = (Code.TRUNCATED, Code.LIMIT) if section == "NAMES" else (Code.STRUCTURE,)
    return f"find {NO_TENSOR} {int(found if found in met else Code.ARGUMENT)} "


def test_sections_give_the_errors_of_their_vectors(tmp_path: Path) -> None:
    paths = [p for kind in ("NAMES", "HASHES", "FIXED") for p in VECTORS.glob(f"sections/{kind}-*")]
    said = answers(build(tmp_path, "-O1"), tmp_path, [path.read_bytes() for path in paths])
    assert len(paths) > 40
    for path, lines in zip(paths, said, strict=True):
        answer = c_answer(*path.stem.split("-"))
        assert any(line.startswith(answer) for line in lines), path.stem


def with_empty_sections(data: bytes) -> bytes:
    """Return `data` with NAMES and FIXED there, but with no bytes."""
    header, parts = taken_apart(data)
    parts = [part for part in parts if part[0][0] != Section.FIXED]
    for section in (Section.NAMES, Section.FIXED):
        parts.append((bytearray([section, 2, *bytes(30)]), bytearray()))
    return joined(header, sorted(parts))


def changed(data: bytes, at: int) -> bytes:
    """Return a valid file again after changing one byte."""
    return fix_crcs(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """The harness under sanitizers: for firmware (0) and for hosts (1)."""
    folder = tmp_path_factory.mktemp("sanitized")
    if not sanitizers_work(folder):
        pytest.skip("no sanitizers with this gcc")

    def one(host: int) -> Path:
        place = folder / str(host)
        place.mkdir()
        # the same limit for both, so that they answer LIMIT alike
        return build(place, *SANITIZERS, "-DDCF_MARKS=4096", "-DDCF_WIDE=1", f"-DDCF_HOST={host}")

    with ThreadPoolExecutor() as both:
        return dict(zip((0, 1), both.map(one, (0, 1)), strict=True))


def test_s1_s2_s6_every_way_to_the_numbers_of_a_valid_file_gives_them(
    sanitized: dict[int, Path], tmp_path: Path
) -> None:
    coded = [data for _, data, _ in tables.files()]
    files = [*valid_files(), *large_files(), *coded]
    said = {host: answers(program, tmp_path, files) for host, program in sanitized.items()}
    assert said[0] == said[1]
    for lines in said[0]:
        assert lines[0].split()[2] == "0"
        crcs = [line.split() for line in lines if line.startswith("crc")]
        assert all(matches == "1" for _, _, matches, _ in crcs)


def test_tables_of_several_symbols_give_up_on_no_valid_file(tmp_path: Path) -> None:
    """The plain decoder would do it again, right and slow."""
    if sys.byteorder == "big":
        pytest.skip("these tables are for little-endian machines")
    program = tmp_path / "host_blocks"
    parts = [f"-I{CORE}", *SOURCES, HERE / "host_blocks.c", "-o", program]
    run(compiler(GCC), "-std=c99", "-O1", *WARNINGS, "-DDCF_HOST=1", *parts)
    places = []
    for i, (_, data, _) in enumerate(tables.files()):
        places.append(tmp_path / f"{i}.dcf")
        places[-1].write_bytes(data)
    answers = [tuple(map(int, line.split())) for line in run(program, *places).splitlines()]
    assert len(answers) == len(places)
    for (elements, given), (name, _, _) in zip(answers, tables.files(), strict=True):
        assert given == (elements if elements >= 2048 else 0), name


def test_s1_s2_s4_damaged_files_stay_inside_the_buffers_and_both_builds_agree(
    sanitized: dict[int, Path], tmp_path: Path
) -> None:
    files = [data for data in valid_files() if len(data) < 20000]
    bad = [*mutants(files, MUTANTS, seed=20), *mutants(list(large_files()), 200, seed=21)]
    bad += tables.damaged(MUTANTS // 3, seed=22)
    said = {host: answers(program, tmp_path, bad) for host, program in sanitized.items()}
    assert said[0] == said[1]
    seen = Counter(lines[0].split()[2] for lines in said[0])
    assert len(seen) > 8, seen


def test_s1_files_cut_anywhere_are_refused(sanitized: dict[int, Path], tmp_path: Path) -> None:
    data = (VECTORS / "valid" / "everything_by_row.dcf").read_bytes()
    cuts = [data[:n] for n in [*range(600), *range(600, len(data), 97)] if n < len(data)]
    for lines in answers(sanitized[1], tmp_path, cuts):
        assert lines[0].split()[2] == "-10"
