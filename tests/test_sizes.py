"""Small files that claim to be large: refused before anything of that size is allocated (S3).

What Python and NumPy allocate is traced; what C and libzstd allocate is bounded by a limit on the
address space of a child process, where a file that does decode to much shows that the limit works.
"""

from __future__ import annotations

import contextlib
import json
import struct
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from handmade import crc, file_of, fix_crcs, joined, taken_apart, unhex
from invalid import BODY, PLAIN, TIED, entry, whole

from dcformat import decode, native
from dcformat.coded import expand
from dcformat.errors import Code, DcfError, LimitError
from dcformat.file import File
from dcformat.ids import Section, SectionCodec
from dcformat.sections import write_names

MOST = 1 << 20  #: bytes that may be allocated for a file that is refused
DECODERS = [decode, native] if native.AVAILABLE else [decode]
BUDGET = 1 << 17  #: of the caller; a file that stays below it may be decoded
HUGE = (1 << 64) - 1


def read_all(data: bytes, budget: int = BUDGET) -> Code:
    """Read everything of a file; return the first error."""
    try:
        file = File(data, budget=budget)
        parts = file.names, file.hashes, file.metadata, file.layers, file.graph
        expand(file.coded_model())
        return Code.OK if parts else Code.ARGUMENT
    except DcfError as error:
        return error.code


def check(decoder: Any, data: bytes) -> None:
    """Read what there is with one decoder; an error is no matter here."""
    with contextlib.suppress(DcfError):
        decoder.check_file(decoder.open_file(data))


def peak_of(data: bytes) -> tuple[Code, int]:
    """Return what reading `data` says, and the most bytes that Python held meanwhile."""
    tracemalloc.start()
    code = read_all(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return code, peak


def lone(elements: int, count: int = 1) -> bytes:
    """Return a file of `count` UINT8 tensors whose one symbol takes no bits."""
    head = unhex("07 02 01 00 00 00 01 00") + crc(bytes(elements)) + bytes(4)
    record = head + struct.pack("<I", elements) + unhex("01 00 00 00 00 00 00 00")
    names = write_names([f"n{i}" for i in range(count)])
    return file_of([record] * count, b"", [unhex("02 00 00")], {Section.NAMES: names})


def aliases(count: int, elements: int) -> bytes:
    """Return a file of one tensor of that many bytes, and as many other names of it."""
    header, parts = taken_apart(lone(elements))
    for part, body in parts:
        if part[0] == Section.RECORDS:
            body[:4] = struct.pack("<I", 1 + count)
            body.extend(TIED * count)
        if part[0] == Section.NAMES:
            part[2] = SectionCodec.STORED
            body[:] = write_names([f"n{i}" for i in range(1 + count)])
    return joined(header, parts)


def with_window(log2: int, single: bool = False) -> bytes:
    """Return a frame of 8 bytes (of 2^log2 if it is a single segment) as a tensor's payload."""
    size = 1 << log2 if single else 8
    frame = unhex("28 b5 2f fd") + (b"\xe0" if single else bytes([0xC0, log2 - 10 << 3]))
    frame += struct.pack("<Q", size) + unhex("41 00 00") + bytes(8)
    head = unhex("06 02 01 00 00 00 02 00") + crc(bytes(8)) + struct.pack("<I", len(frame))
    return file_of([head + struct.pack("<I", 8) + unhex("01 00 00 00")], frame)


def large_claims() -> Iterator[tuple[str, bytes, Code]]:
    """Yield (what it claims, file, the error)."""
    good = whole()
    payload, graph = entry(good, Section.PAYLOAD), entry(good, Section.GRAPH)

    def put(at: int, form: str, value: int) -> bytes:
        return good[:at] + struct.pack(form, value) + good[at + struct.calcsize(form) :]

    yield "file_size", fix_crcs(put(16, "<Q", HUGE)), Code.TRUNCATED
    yield "stored_size", fix_crcs(put(payload + 16, "<Q", HUGE)), Code.TRUNCATED
    yield "offset", fix_crcs(put(payload + 8, "<Q", HUGE)), Code.STRUCTURE
    overlap = struct.unpack_from("<Q", good, graph + 8)[0]
    yield "overlapping sections", fix_crcs(put(payload + 8, "<Q", overlap)), Code.STRUCTURE
    yield "decoded_size", fix_crcs(put(graph + 24, "<Q", 1 << 30)), Code.STRUCTURE
    zstd = put(graph + 2, "<B", SectionCodec.ZSTD)
    zstd = fix_crcs(zstd[: graph + 24] + struct.pack("<Q", 1 << 30) + zstd[graph + 32 :])
    yield "decoded_size of a frame", zstd, Code.LIMIT
    short = good[:14] + b"\x40\0" + good[16:]
    header = short[:44] + crc(short[:44]) + short[48:]
    yield "a section table past the end", header, Code.TRUNCATED
    yield from _records()
    yield "a window of 2 GiB", with_window(31), Code.CODE
    yield "a single segment of 2 GiB", with_window(31, single=True), Code.CODE
    yield "names", file_of([PLAIN], BODY, sections={Section.NAMES: b"\xff\xff"}), Code.TRUNCATED
    for section in (Section.FIXED, Section.META):
        content = {Section.NAMES: write_names(["a"]), section: b"\xff" * 8}
        yield section.name, file_of([PLAIN], BODY, sections=content), Code.TRUNCATED


def _records() -> Iterator[tuple[str, bytes, Code]]:
    count = struct.pack("<I", (1 << 32) - 1)
    for section in (Section.RECORDS, Section.TABLES):
        yield f"2^32 - 1 in {section.name}", file_of([], sections={section: count}), Code.LIMIT
    most = {Section.RECORDS: struct.pack("<I", 1 << 20)}
    yield "2^20 records", file_of([], sections=most), Code.TRUNCATED
    tables = {Section.TABLES: struct.pack("<I", 65536)}
    yield "2^16 tables", file_of([], sections=tables), Code.TRUNCATED
    for rank in (2, 8):
        size = struct.pack("<B", 5 + rank)
        head = size + bytes([2, rank, 0, 0, 0, 0, 0]) + crc(b"") + bytes(4)
        vast = file_of([head + b"\xff" * 4 * rank + unhex("01 00 00 00")])
        yield f"{rank} dims of 2^32 - 1", vast, Code.LIMIT
    half = unhex("07 02 02 00 00 00 00 00") + crc(b"") + bytes(4)
    half += struct.pack("<II", 1 << 20, 1 << 20)
    yield "2^40 elements", file_of([half + unhex("01 00 00 00")]), Code.LIMIT
    wide = unhex("07 02 01 00 00 00 00 08") + crc(b"") + b"\xff" * 8 + struct.pack("<I", 4)
    yield "a payload of 2^64 - 1", file_of([wide + unhex("04 00 00 00")], BODY), Code.STRUCTURE
    yield "a tensor above the budget", lone(1 << 20), Code.LIMIT
    yield "ten thousand aliases", aliases(10_000, 1 << 16), Code.LIMIT


CLAIMS = {name: (data, code) for name, data, code in large_claims()}


@pytest.mark.parametrize("name", CLAIMS)
def test_a_large_claim_is_refused_before_it_is_believed(name: str) -> None:
    data, code = CLAIMS[name]
    small = len(data) < 1000
    assert small or "aliases" in name
    said, peak = peak_of(data)
    assert said == code
    assert peak < MOST + 100 * len(data) * (not small)


def test_what_is_decoded_is_seen_by_the_measure() -> None:
    tracemalloc.start()
    assert read_all(lone(1 << 20, 8), budget=1 << 20) == Code.OK
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak > 1 << 23


def test_aliases_share_what_they_are_aliases_of() -> None:
    data = aliases(10_000, 1 << 16)
    with pytest.raises(LimitError, match="tied tensors: decodes to 655360000 bytes"):
        File(data, budget=1 << 29).coded_model()
    model = expand(File(data, budget=1 << 30).coded_model())
    assert len({id(tensor.data) for tensor in model.tensors}) == 1
    assert File(data, budget=BUDGET)["n9999"].size == 1 << 16


def fields_of(data: bytes) -> Iterator[bytes]:
    """Yield `data` with each field of each width, wherever it may be, set to large values."""
    for at in range(8, len(data)):
        for piece in (b"\xff", b"\xff\xff", b"\xff\xff\xff\x7f", b"\xff" * 4, b"\xff" * 8):
            cut = piece[: len(data) - at]
            yield fix_crcs(data[:at] + cut + data[at + len(cut) :])


@cache
def small_files() -> list[bytes]:
    two = unhex("09 02 02 01 00 00 01 04") + crc(bytes(8)) + unhex("04 00 00 00 02 00 00 00")
    two += unhex("04 00 00 00", "01 00 00 04", "04 00 00 00 00 00 01 00")
    tables = [unhex("02 00 01"), unhex("02 02 01")]
    blocked = unhex("09 01 02 01 00 02 00 00 24 77 f6 81 13 00 00 00 02 00 00 00 03 00 00 00")
    blocked += unhex("03 01 02 00 06 00 01 00 02 00 00 00")
    scales = unhex("00 00 00 3f 00 00 80 3f 00 00 00 40 00 00 80 40 88 c6 02")
    return [whole(), file_of([two], bytes([1, 4, 0x50, 0x60]), tables),
            file_of([blocked], scales), lone(1 << 12), with_window(12)]  # fmt: skip


@pytest.mark.parametrize("index", range(5))
def test_any_field_may_be_huge(index: int) -> None:
    data = small_files()[index]
    assert len(data) < 700
    worst = 0
    tracemalloc.start()
    for claim in fields_of(data):
        tracemalloc.reset_peak()
        read_all(claim)
        worst = max(worst, tracemalloc.get_traced_memory()[1])
    tracemalloc.stop()
    assert worst < 3 * MOST // 2  # the budget, a few times over, and what the interpreter holds


CHILD = """
import json, resource, sys
sys.path[:0] = sys.argv[1:2]
from pathlib import Path
from test_sizes import DECODERS, check, read_all, lone, whole
for warm in (whole(), lone(100)):
    read_all(warm)
    for decoder in DECODERS:
        check(decoder, warm)
def status(key):
    line = next(l for l in Path("/proc/self/status").read_text().splitlines() if l.startswith(key))
    return int(line.split()[1]) * 1024
answers = {}
limit = status("VmSize") + int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
before = status("VmHWM")
for path in sorted(Path(sys.argv[2]).iterdir()):
    try:
        answers[path.name] = read_all(path.read_bytes(), budget=1 << 40).name
        for decoder in DECODERS:
            check(decoder, path.read_bytes())
    except MemoryError:
        answers[path.name] = "MemoryError"
print(json.dumps([answers, status("VmHWM") - before]))
"""


def child(folder: Path, room: int) -> tuple[dict[str, str], int]:
    """Read the files of a folder in a process that may grow by `room` bytes."""
    command = [sys.executable, "-c", CHILD, str(Path(__file__).parent), str(folder), str(room)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answers, grown = json.loads(done.stdout)
    return answers, grown


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_a_process_that_may_not_grow_refuses_them_too(tmp_path: Path) -> None:
    wanted = {}
    for name, (data, code) in CLAIMS.items():
        if "budget" not in name and "aliases" not in name:
            (tmp_path / name).write_bytes(data)
            wanted[name] = code.name
    (tmp_path / "~ decodes to much").write_bytes(lone(1 << 20, 8))
    said, grown = child(tmp_path, 4 * MOST)
    assert said.pop("~ decodes to much") == "MemoryError"
    assert said == wanted
    assert grown < 4 * MOST
    assert len(said) > 15
