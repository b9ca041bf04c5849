"""Is a file whole, canonical and what its source says? The checks of dcverify, without printing.

Spec: spec/DCF.md ("Full check", "Canonical form", "Content id").
Sister: dcformat/verify_source.py and dcformat/verify_run.py, the comparisons with a source
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from . import decode, encode
from .checks import Check, Report, failed, passed, skipped, verdict
from .decode import Opened, open_file
from .errors import Code, ConvertError, DcfError
from .fields import all_zero
from .file import File
from .ids import MAJOR, MINOR, Meta, Section
from .sections import parse_hashes, parse_layers, parse_meta, parse_names
from .verify_run import need_onnxruntime
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
    made from `seed`, in onnxruntime. Raises ConvertError where a file or onnxruntime is missing and where `run`
    has no source to compare with; whatever is wrong inside the file is a failed check.
    """
    if run and against is None:
        raise ConvertError("running needs the source to compare with", place=str(path))
    if run:
        need_onnxruntime()
    data = _read(Path(path))
    checks, opened = _check_file(data)
    if against is None:
        return Report(checks)
    if opened is None or not Report(checks).ok:
        return Report((*checks, skipped("source", "the file itself is not in order")))
    outputs = (runs, seed) if run else None
    more, largest = check_source(File.from_bytes(data), Path(against), outputs)
    return Report((*checks, *more), largest)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConvertError(f"cannot read: {error.strerror}", place=str(path)) from error


def _check_file(data: bytes) -> tuple[tuple[Check, ...], Opened | None]:
    try:
        opened = open_file(data)
    except DcfError as error:
        return _not_opened(error), None
    size = f"{len(opened.container.entries)} sections, {len(opened.records)} tensors"
    checks = [
        passed("structure", f"version {MAJOR}.{MINOR}, {size}, {len(opened.tables)} tables"),
        passed("limits"),
        _check_padding(opened),
        _check_sections(opened),
        _guarded("names", _check_names, opened),
        _guarded("metadata", _check_metadata, opened),
        _guarded("graph", _check_graph, opened),
        *_check_numbers(opened, data),
    ]
    sound = Report(tuple(checks)).ok
    for name, check in (("canonical", _check_canonical), ("content id", _check_content_id)):
        checks.append(
            _guarded(name, check, opened) if sound else skipped(name, "needs all checks before it")
        )
    return tuple(checks), opened


def _not_opened(error: DcfError) -> tuple[Check, ...]:
    """Return the failed check that `error` belongs to; the others could not be made."""
    fault = _CHECK_OF.get(error.code, "structure")
    reason = "the file cannot be opened"
    return tuple(failed(n, _says(error)) if n == fault else skipped(n, reason) for n in FILE_CHECKS)


def _says(error: DcfError) -> str:
    return f"{error} ({error.code.name})"


def _guarded(name: str, check: Callable[[Opened], Check], opened: Opened) -> Check:
    """Return the check's answer; an error of the file's is a no."""
    try:
        return check(opened)
    except DcfError as error:
        return failed(name, _says(error))


def _check_padding(opened: Opened) -> Check:
    payload = opened.container.stored(Section.PAYLOAD)
    faults, end = [], 0
    for record in opened.records:
        if record.head.tied is None:
            if not all_zero(payload[end : record.offset]):
                faults.append(f"not zero before the payload of {_name(opened, record.index)}")
            end = record.offset + record.head.payload_size
    return verdict("padding", faults, "zero")


def _check_sections(opened: Opened) -> Check:
    faults = []
    for section in opened.container.entries:
        try:
            opened.container.check_crc(section)
        except DcfError as error:
            faults.append(_says(error))
    return verdict("checksums", faults, f"{len(opened.container.entries)} sections")


def _check_names(opened: Opened) -> Check:
    container, count = opened.container, len(opened.records)
    names, hashes = container.entries.get(Section.NAMES), container.entries.get(Section.HASHES)
    wanted: tuple[int, ...] = ()
    if names is not None:
        given = parse_names(container.content(Section.NAMES), count)
        wanted = tuple(zlib.crc32(name.encode()) for name in given)
    if hashes is not None:
        stored = parse_hashes(container.content(Section.HASHES), count)
        if wanted and stored != wanted:
            return failed("names", "section HASHES: not the hashes of section NAMES")
    if names is None:
        return passed("names", "left out" + (", hashes only" if hashes is not None else ""))
    return passed("names", f"{count} names, UTF-8, all different")


def _check_metadata(opened: Opened) -> Check:
    container = opened.container
    entries = parse_meta(container.content(Section.META))
    places = tuple(str(i) for i in range(len(opened.records)))
    layers = parse_layers(container.content(Section.FIXED), places)
    for key in (Meta.SOURCE_SHA256, Meta.CONTENT_ID):
        if key in entries and len(entries[key]) != 32:
            return failed("metadata", f"section META: {key.name} of {len(entries[key])} bytes")
    known = [Meta(key).name.lower() for key in entries if key in set(Meta)]
    fixed = f"; {len(layers)} fixed-point layers" if layers else ""
    return passed("metadata", (", ".join(known) or "none") + fixed)


def _check_graph(opened: Opened) -> Check:
    content = opened.container.content(Section.GRAPH)
    return passed("graph", f"{len(content):,} B" if len(content) else "left out")


def _check_numbers(opened: Opened, data: bytes) -> list[Check]:
    """Decode every tensor with the reference decoder and with the C core."""
    core, why = _core(data)
    faults, differing, unknown, left_out = [], [], [], []
    for record in opened.records:
        if record.head.tied is not None:
            continue
        name = _name(opened, record.index)
        code, numbers = _attempt(decode, opened, record.index)
        if code is Code.UNSUPPORTED:
            unknown.append(f"{name}: {record.unsupported}")
        elif code is not Code.OK:
            faults.append(f"{name}: {numbers.decode()} ({code.name})")
        if core is not None:
            theirs, answer = _attempt(*core, record.index)
            if theirs is Code.UNSUPPORTED:
                left_out.append(f"{name}: {answer.decode()}")
            elif theirs is not code or (code is Code.OK and answer != numbers):
                differing.append(f"{name}: reference {code.name}, C {theirs.name}")
    count = sum(record.head.tied is None for record in opened.records)
    decoded = f"{count - len(unknown)} tensors decode to the numbers that were written"
    if unknown:
        decoded += f"; {len(unknown)} use what this reader does not know"
    checks = [verdict("numbers", faults, decoded, tuple(unknown))]
    if core is None:
        return [*checks, skipped("decoders", why)]
    equal = f"reference and C agree on {count - len(left_out)} tensors"
    if left_out:
        equal += f"; C leaves out {len(left_out)}"
    return [*checks, verdict("decoders", differing, equal, tuple(left_out))]


def _attempt(decoder: ModuleType, opened: object, index: int) -> tuple[Code, bytes]:
    """Return the verdict on a tensor with its numbers, or with the reason."""
    try:
        return Code.OK, decoder.decode_numbers(opened, index).tobytes()
    except DcfError as error:
        return error.code, str(error).encode()


def _core(data: bytes) -> tuple[tuple[ModuleType, object] | None, str]:
    """Return the C core with the file opened in it, or why it cannot take part."""
    from . import native

    if not native.AVAILABLE:
        return None, "the C core is not built; the reference decoder was used alone"
    try:
        return (native, native.open_file(data)), ""
    except DcfError as error:
        return None, f"the C core does not open the file: {_says(error)}"


def _name(opened: Opened, index: int) -> str:
    """Return "tensor 3": names are checked on their own and may be missing."""
    return f"tensor {index}"
