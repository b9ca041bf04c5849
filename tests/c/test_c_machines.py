"""The C decoder says the same on every machine: of every vector, valid or not, on 64 and 32 bits,
little- and big-endian, unoptimized and optimized, as firmware (0) and as host (1) are built.

What is compared with the reference decoder: the verdict on the file, the full check, and of each
tensor the verdict and the decoded bytes, by their number and CRC.
"""

from __future__ import annotations

import shutil
import struct
import subprocess
import zlib
from pathlib import Path
from typing import Any

import pytest
from comparing import checked_by, for_hosts, opened_by, outcome

from dcformat import decode
from dcformat.errors import Code

HERE = Path(__file__).resolve().parent
CORE = HERE.parents[1] / "dcformat" / "c"
PARTS = [*sorted(CORE.glob("*.c")), HERE / "exercise.c", HERE / "harness.c"]
VECTORS = sorted((HERE.parent / "vectors").rglob("*.dcf"))

S390X = ["clang-16", "--target=s390x-linux-gnu", "-static"]
MACHINES = {
    "gcc -O0": ["gcc", "-O0"],
    "gcc -O3": ["gcc", "-O3"],
    "gcc -funsigned-char": ["gcc", "-O2", "-funsigned-char"],
    "gcc 32 bits": ["gcc", "-m32", "-O2"],
    "gcc 32 bits -O0": ["gcc", "-m32", "-O0"],
    "clang": ["clang-16", "-O2"],
    "s390x": [*S390X, "-O2"],
    "s390x -O0": [*S390X, "-O0"],
}
#: Elements that exercise.c decodes alone; of larger tensors the full check tells.
ALONE = 1 << 16
#: What a build of 32 bits, whose limit on elements is smaller, says of a product of 2^40.
TOO_FAR = "OK-dims_of_2_40_and_0"
BEYOND = {"open": Code.LIMIT}


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)


def emulator(machine: str) -> list[str]:
    return ["qemu-s390x"] if machine.startswith("s390x") else []


def need(machine: str, folder: Path) -> None:
    """Skip the test where this machine cannot build such programs, or run them."""
    compiler, *flags = MACHINES[machine]
    for tool in (compiler, *emulator(machine)):
        if shutil.which(tool) is None:
            pytest.skip(f"no {tool} on this machine")
    source = folder / "empty.c"
    source.write_text("#include <stdlib.h>\nint main(void) { return abs(0); }\n")
    made = run(compiler, *flags, source, "-o", folder / "empty")
    if made.returncode:
        pytest.skip(f"{machine}: {made.stderr.strip().splitlines()[-1]}")
    if run(*emulator(machine), folder / "empty").returncode:
        pytest.skip(f"programs for {machine} do not run on this machine")


def answers(machine: str, host: int, folder: Path) -> list[list[str]]:
    """Return what the harness says of each vector, line by line."""
    compiler, *flags = MACHINES[machine]
    warnings = ["-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror"]
    # the limit on Huffman tables is that of a host for both, so that they answer LIMIT alike
    flags = [
        "-std=c99",
        *warnings,
        *flags,
        f"-DDCF_HOST={host}",
        "-DDCF_MARKS=4096",
        "-DDCF_WIDE=1",
        "-DDCF_WITH_CONTEXT=1",
    ]
    made = run(compiler, *flags, f"-I{CORE}", f"-I{HERE}", *PARTS, "-o", folder / "harness")
    assert made.returncode == 0, made.stderr[-4000:]
    files = [path.read_bytes() for path in VECTORS]
    batch = folder / "batch"
    batch.write_bytes(b"".join(struct.pack("<I", len(data)) + data for data in files))
    done = run(*emulator(machine), folder / "harness", batch)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    said = done.stdout.split("end\n")
    assert len(said) == len(VECTORS) + 1
    return [one.splitlines() for one in said[:-1]]


def summary(lines: list[str]) -> dict[str, Any]:
    """Return the verdicts that the harness gave, and bytes and CRC of what it decoded."""
    found: dict[str, Any] = {}
    for line in lines:
        what, index, status, more = line.split()
        if what in ("open", "check"):
            found[what] = Code(int(status))
        elif what == "crc":
            found[f"crc {index}"] = (int(status), int(more))
        elif what in ("prepare", "decode") and f"decode {index}" not in found:
            found[f"{what} {index}"] = (Code(int(status)), int(more))
    return found


@pytest.fixture(scope="module")
def expected() -> list[dict[str, Any]]:
    """What the reference decoder says, in the form of `summary`."""
    return [reference(path.read_bytes()) for path in VECTORS]


def reference(data: bytes) -> dict[str, Any]:
    opened, code = opened_by(decode, data)
    found: dict[str, Any] = {"open": code}
    for record in opened.records if opened else ():
        head = opened.record(record.index).head
        if record.unsupported or for_hosts(opened, opened.record(record.index)):
            found["leaves out"] = True
            continue
        if head.elements <= ALONE:
            found[f"decode {record.index}"] = outcome(decode, opened, record.index)
    if opened and "leaves out" not in found:
        found["check"] = checked_by(decode, opened)
    return found


def differs(said: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """Return where the harness and the reference decoder differ."""
    faults = [
        f"{what}: {said.get(what)}, not {wanted[what]}"
        for what in ("open", "check")
        if what in wanted and said.get(what) != wanted[what]
    ]
    for what, got in wanted.items():
        if what.startswith("decode ") and not same(said, what.split()[1], got):
            faults.append(f"{what}: {said.get(what)}")
    return faults


def same(said: dict[str, Any], index: str, wanted: bytes | Code) -> bool:
    """Tell whether a tensor has the same verdict and bytes; decoding alone compares no CRC."""
    code, size = said.get(f"decode {index}", said.get(f"prepare {index}", (None, 0)))
    if isinstance(wanted, bytes):
        crc = (1, zlib.crc32(wanted))
        return bool((code, size) == (Code.OK, len(wanted)) and said.get(f"crc {index}") == crc)
    if wanted is Code.CHECKSUM:
        return bool(code is Code.OK and said[f"crc {index}"][0] == 0)
    return bool(code is wanted)


@pytest.mark.parametrize("host", [0, 1])
@pytest.mark.parametrize("machine", MACHINES)
def test_every_machine_says_what_the_reference_decoder_says(
    machine: str, host: int, tmp_path: Path, expected: list[dict[str, Any]]
) -> None:
    need(machine, tmp_path)
    said = [summary(lines) for lines in answers(machine, host, tmp_path)]
    narrow = machine.startswith("gcc 32 bits")
    faults = {
        path.name: found
        for path, one, wanted in zip(VECTORS, said, expected, strict=True)
        if (found := differs(one, BEYOND if narrow and path.stem == TOO_FAR else wanted))
    }
    assert faults == {}


def test_the_vectors_show_what_is_to_be_compared(expected: list[dict[str, Any]]) -> None:
    decoded = [got for one in expected for what, got in one.items() if what.startswith("decode")]
    assert sum(isinstance(got, bytes) for got in decoded) > 100
    assert len({one["open"] for one in expected}) > 8
    assert len({one["check"] for one in expected if "check" in one}) > 4
