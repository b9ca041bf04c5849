"""Is a file whole, canonical and what its source says? The checks of dcverify, without printing.

Spec: spec/DCF.md ("Full check", "Canonical form", "Content id").
Sister: dcformat/verify_source.py and dcformat/verify_run.py, the comparisons with a source
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from . import decode, native
from .canonical import faults, frames_compared
from .checks import FAILED, Check, Report, failed, passed, skipped, verdict
from .decode import Record
from .errors import Code, ConvertError, DcfError
from .file import File
from .files import read_container
from .graph import decode_graph
from .ids import MAJOR, MINOR, Meta, Section
from .plain import plain_file
from .prints import content_id
from .verify_run import need_runtime
from .verify_source import check_source

#: The checks of a file alone, in the order in which they are reported.
FILE_CHECKS = (
    "structure", "limits", "padding", "checksums", "names", "metadata", "graph", "numbers",
    "decoders", "canonical", "content id",
)  # fmt: skip
_CHECK_OF = {
    Code.LIMIT: "limits",
    Code.SPACE: "limits",
    Code.PADDING: "padding",
    Code.CHECKSUM: "checksums",
}


def verify(
    path: str | Path,
    against: str | Path | None = None,
    run: bool = False,
    *,
    runs: int = 3,
    seed: int = 0,
) -> Report:
    """Return the checks of the .dcf file at `path`, and of its source if `against` names it.

    With `run` the source and the model built back from the file also answer `runs` random inputs
    made from `seed`, in onnxruntime or, of TFLite, in LiteRT. Raises ConvertError where a file
    or what runs it is missing and where `run` has no source to compare with; what is wrong in the
    file is a failed check.
    """
    if run and against is None:
        raise ConvertError("running needs the source to compare with", place=str(path))
    if run and against is not None:
        need_runtime(against)
    data = read_container(path)
    checks, file = _check_file(data)
    if against is None:
        return Report(checks)
    if file is None or not Report(checks).ok:
        return Report((*checks, skipped("source", "the file itself is not in order")))
    more, largest = check_source(file, Path(against), (runs, seed) if run else None)
    return Report((*checks, *more), largest)


def _check_file(data: bytes) -> tuple[tuple[Check, ...], File | None]:
    try:
        file = File(data)
    except DcfError as error:
        return _not_opened(error), None
    limits = _check_budget(file)
    if limits.status == FAILED:
        return (limits, skipped("numbers", "they would take more than the limits allow")), None
    opened = file.opened
    size = f"{len(opened.container.entries)} sections, {len(opened.records)} tensors"
    checks = [
        passed("structure", f"version {MAJOR}.{MINOR}, {size}, {len(opened.tables)} tables"),
        limits,
        _check_padding(file),
        _check_sections(file),
        _guarded("names", _check_names, file),
        _guarded("metadata", _check_metadata, file),
        _guarded("graph", _check_graph, file),
        *_check_numbers(file),
    ]
    sound = Report(tuple(checks)).ok
    for name, check in (("canonical", _check_canonical), ("content id", _check_content_id)):
        unmade = skipped(name, "a check before it says no")
        checks.append(_guarded(name, check, file) if sound else unmade)
    return tuple(checks), file


def _check_budget(file: File) -> Check:
    faults = []
    checks: list[Callable[[], None]] = [file.check_aliases]
    checks += [partial(file.check_budget, record) for record in file.opened.records]
    for check in checks:
        try:
            check()
        except DcfError as error:
            faults.append(_says(error))
    return verdict("limits", faults, "none exceeded")


def _not_opened(error: DcfError) -> tuple[Check, ...]:
    """Return the failed check that `error` belongs to; the others could not be made."""
    fault = _CHECK_OF.get(error.code, "structure")
    reason = "the file cannot be opened"
    return tuple(failed(n, _says(error)) if n == fault else skipped(n, reason) for n in FILE_CHECKS)


def _says(error: DcfError) -> str:
    return f"{error} ({error.code.name})"


def _guarded(name: str, check: Callable[[File], Check], file: File) -> Check:
    """Return the check's answer; an error of the file's is a no."""
    try:
        return check(file)
    except DcfError as error:
        return failed(name, _says(error))


def _check_padding(file: File) -> Check:
    faults = [
        f"tensor {record.index}: not zero before its payload (PADDING)"
        for record in decode.bad_padding(file.opened)
    ]
    return verdict("padding", faults, "zero")


def _check_sections(file: File) -> Check:
    faults = []
    for section in file.opened.container.entries:
        try:
            file.opened.container.check_crc(section)
        except DcfError as error:
            faults.append(_says(error))
    return verdict("checksums", faults, f"those of {len(file.opened.container.entries)} sections")


def _check_names(file: File) -> Check:
    names = file.names
    if not file.opened.container.has(Section.NAMES):
        hashes = len(file.hashes)
        return passed("names", f"left out, {hashes} hashes" if hashes else "left out")
    if file.hashes and file.hashes != tuple(zlib.crc32(name.encode()) for name in names):
        return failed("names", "section HASHES: not those of section NAMES")
    return passed("names", f"{len(names)}, UTF-8, no two equal")


def _check_metadata(file: File) -> Check:
    known = [key.name.lower() for key in Meta if key in file.metadata]
    fixed = f"; {len(file.layers)} fixed-point layers" if file.layers else ""
    return passed("metadata", (", ".join(known) or "left out") + fixed)


def _check_graph(file: File) -> Check:
    if file.graph is None:
        return passed("graph", "none")
    holes, skeleton = decode_graph(file.graph.data, len(file.opened.records), file.graph.format)
    return passed("graph", f"{len(holes)} tensors belong into {len(skeleton):,} B")


@dataclass
class _Decoded:
    """What the two decoders said of the tensors of a file."""

    faults: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    differing: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    count: int = 0


def _check_numbers(file: File) -> list[Check]:
    """Decode every tensor with the reference decoder and with the C core."""
    core, unmade = _core(file)
    found = _Decoded()
    for record in file.opened.records:
        if record.head.tied is None:
            _decode_twice(file, record, core, found)
    decoded = f"{found.count - len(found.unknown)} tensors decode to what was written"
    if found.unknown:
        decoded += f"; {len(found.unknown)} use what this reader does not know"
    numbers = verdict("numbers", found.faults, decoded, tuple(found.unknown))
    if unmade is not None:
        return [numbers, unmade]
    equal = f"reference and C agree on {found.count - len(found.left_out)} tensors"
    if found.left_out:
        equal += f"; C leaves out {len(found.left_out)}"
    return [numbers, verdict("decoders", found.differing, equal, tuple(found.left_out))]


def _decode_twice(file: File, record: Record, core: Any, found: _Decoded) -> None:
    found.count += 1
    place = f"tensor {record.index}"
    code, said = _attempt(decode, file.opened, record.index)
    if code is Code.UNSUPPORTED:
        found.unknown.append(f"{place}: {record.unsupported}")
    elif code is not Code.OK:
        found.faults.append(said.decode())
    if core is None:
        return
    theirs, answer = _attempt(native, core, record.index)
    if theirs is Code.UNSUPPORTED:
        found.left_out.append(f"{place}: not in the C core")
    elif theirs is not code or (code is Code.OK and answer != said):
        found.differing.append(f"{place}: reference says {code.name}, C says {theirs.name}")


def _attempt(decoder: ModuleType, opened: object, index: int) -> tuple[Code, bytes]:
    """Return the verdict on a tensor with its numbers, or with the reason."""
    try:
        return Code.OK, decoder.decode_numbers(opened, index).tobytes()
    except DcfError as error:
        return error.code, _says(error).encode()


def _core(file: File) -> tuple[Any, Check | None]:
    """Return the file opened by the C core, or the check that says why it cannot take part."""
    if not native.AVAILABLE:
        return None, skipped("decoders", "the C core is not built; the reference decoder is alone")
    try:
        return native.open_file(plain_file(file.opened) or file.data), None
    except DcfError as error:
        if error.code in (Code.UNSUPPORTED, Code.LIMIT):
            return None, skipped("decoders", f"the C core cannot open it: {_says(error)}")
        return None, failed("decoders", f"the C core does not open it: {_says(error)}")


def _check_canonical(file: File) -> Check:
    """Write the file again and compare; zstd frames only where one libzstd made both."""
    detail = "written again, the same bytes"
    if not frames_compared(file):
        theirs = file.metadata.get(Meta.LIBZSTD, b"").decode(errors="replace")
        if theirs:
            detail += f"; not compared: frames of another libzstd ({theirs})"
    return verdict("canonical", [f"{fault} (STRUCTURE)" for fault in faults(file)], detail)


def _check_content_id(file: File) -> Check:
    noted = file.metadata.get(Meta.CONTENT_ID)
    if noted is None:
        return skipped("content id", "the file does not state it")
    if not file.opened.container.has(Section.NAMES):
        return skipped("content id", f"{noted.hex()[:16]}, of the names that were left out")
    if content_id(file.coded_model().tensors) != noted:
        return failed("content id", "section META: not the one of the tensors (CHECKSUM)")
    return passed("content id", noted.hex())
