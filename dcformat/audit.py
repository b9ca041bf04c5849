"""Where every byte of a `.dcf` went: the report of dcaudit as values.

    report = audit(dcformat.load("model.dcf"))
    for tensor in report.tensors:
        print(tensor.name, tensor.bytes, tensor.purposes)

Spec: spec/DCF.md. Sisters: audit_bytes.py (whose is a byte), audit_blocks.py (what bits are for),
audit_numbers.py (what numbers say), audit_diff.py and audit_budget.py (what follows)

*Bits and bytes*: the bits of a tensor's blocks are counted exactly, and then become whole bytes
that sum to the bytes of the blocks, by the largest remainder. *bits_per_element* is all bytes of a
tensor, record and own tables included, over its elements. *coded_bytes* are blocks, their offsets
and classes, and Huffman tables (of a shared one the tensor's share by elements): what stands for
the symbols. *efficiency* is coded_bytes over the order-0 entropy (audit_numbers.py); 1 equals it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from . import audit_blocks as blocks
from . import audit_bytes as own
from . import decode
from .audit_bytes import Extent, extents_of, share_out, users_of
from .audit_numbers import Errors, Facts, errors_of, facts_of, q_format, q_name
from .audit_report import (
    CODED,
    DAMAGED,
    OK,
    PURPOSES,
    TOO_LARGE,
    UNSUPPORTED,
    FrameRow,
    Problem,
    Purposes,
    Report,
    SectionRow,
    TensorRow,
)
from .coded import CodedTensor
from .container import section_name
from .decode import Record
from .encodings import VALUES
from .errors import Code, DcfError
from .file import File
from .graph import decode_graph
from .ids import Coder, DType, Layout, Section, SectionCodec, ValuesId
from .model import LayerFormat, Model, Tensor, Use
from .prints import fingerprint

Progress = Callable[[str, int, int], None]


@dataclass
class _Look:
    """What was seen of the numbers of one tensor."""

    status: str = OK
    reason: str = ""
    code: str = ""
    bits: Purposes = field(default_factory=dict)
    levels: int | None = None
    q_format: str | None = None
    facts: Facts | None = None
    errors: Errors | None = None
    content: str | None = None


def audit(
    file: File,
    uses: Mapping[int, Use] | None = None,
    source: Model | None = None,
    *,
    split_shared: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Return where every byte of `file` went.

    `uses` says of records what the graph uses them for. With `source` the elements are compared
    with those of its tensors, by name. With `split_shared` a table that several tensors use is
    divided among them in proportion to their elements. Damage in tensors, names, metadata or graph
    is in `problems`; a file that cannot be opened has raised its error before.
    """
    names, problems = _names(file)
    theirs = {tensor.name: tensor for tensor in source.tensors} if source else {}
    looks: list[_Look] = []
    for index, record in enumerate(file.opened.records):
        looks.append(_look(file, record, names[index], theirs.get(names[index])))
        if progress:
            progress(names[index], index + 1, len(names))
    problems += _found(file, names, looks)
    frame, purposes = _divided(file, looks, split_shared)
    layers = _formats(file)
    shares = _table_shares(file)
    tensors = tuple(
        _row(file, i, names[i], looks, purposes[i], (uses or {}).get(i), layers, shares)
        for i in range(len(names))
    )
    unique = tuple(dict.fromkeys(problems))
    report = Report(file.size, _sections(file), frame, tensors, unique)
    check_sum(report)
    return report


def check_sum(report: Report) -> None:
    """Raise ValueError where the rows do not sum to the size of the file: a fault of ours."""
    total = sum(report.purposes.values())
    if total != report.bytes:
        raise ValueError(f"rows of {total} bytes for a file of {report.bytes}")


def _names(file: File) -> tuple[tuple[str, ...], list[Problem]]:
    try:
        return file.names, []
    except DcfError as error:
        names = tuple(f"#{i}" for i in range(len(file.opened.records)))
        return names, [_problem(error, "section NAMES")]


def _problem(error: DcfError, place: str) -> Problem:
    inner = error.place.removeprefix(place).removeprefix(" / ")
    reason = f"{inner}: {error.message}" if inner else error.message
    return Problem(place, error.code.name, reason)


def _look(file: File, record: Record, name: str, source: Tensor | None) -> _Look:
    """Decode a tensor, if that can be done, and look at its numbers."""
    if record.head.tied is not None:
        return _Look()  # the row of the other name has it
    if record.unsupported:
        return _Look(UNSUPPORTED, record.unsupported)
    try:
        file.check_budget(record)
    except DcfError as error:
        return _Look(TOO_LARGE, error.message)
    try:
        return _seen(file, record, file.coded_of(record, name), source)
    except DcfError as error:
        return _Look(DAMAGED, error.message, error.code.name)


def _seen(file: File, record: Record, tensor: CodedTensor, source: Tensor | None) -> _Look:
    plan, head = record.plan, record.head
    if plan is None:
        raise ValueError(record.unsupported)
    order = head.order or tuple(range(len(head.shape)))
    stored = np.ascontiguousarray(np.transpose(tensor.symbols, order)).reshape(-1)
    same = source is not None and (source.dtype, source.shape) == (tensor.dtype, tensor.shape)
    return _Look(
        bits=blocks.bits_of_blocks(file.opened, record, plan, stored),
        levels=None if plan.table is None else plan.alphabets[0],
        q_format=q_format(tensor),
        facts=facts_of(tensor, VALUES[head.values].to_planes(plan, stored)),
        errors=errors_of(tensor, source) if source is not None and same else None,
        content=fingerprint(tensor).content.hex(),
    )


def _found(file: File, names: Sequence[str], looks: Sequence[_Look]) -> list[Problem]:
    """Return what is wrong with tensors, the padding before them, and sections."""
    found = [
        Problem(names[i], look.code, look.reason)
        for i, look in enumerate(looks)
        if look.status == DAMAGED
    ]
    for record in decode.bad_padding(file.opened):
        found.append(Problem(names[record.index], Code.PADDING.name, "padding before it not zero"))
    container = file.opened.container
    checks: list[tuple[str, Callable[[], object]]] = [
        (section_name(section), partial(container.check_crc, section))
        for section in container.entries
        if section != Section.NAMES  # which was read before
    ]
    checks += [
        ("section META", lambda: file.metadata),
        ("section GRAPH", partial(_check_graph, file)),
        ("section HASHES", lambda: file.hashes),
        ("section FIXED", lambda: file.layers),
    ]
    return found + [problem for place, check in checks for problem in _failing(place, check)]


def _check_graph(file: File) -> None:
    if file.graph is not None:
        decode_graph(file.graph.data, len(file.opened.records), file.graph.format)


def _failing(place: str, check: Callable[[], object]) -> Iterator[Problem]:
    """Yield the problem that `check` raises; what this reader does not know is none."""
    try:
        check()
    except DcfError as error:
        stated = error.place.split(" / ")[0]  # FIXED is read with NAMES
        if error.code is not Code.UNSUPPORTED:
            yield _problem(error, stated if stated.startswith("section ") else place)


def _formats(file: File) -> Mapping[str, LayerFormat]:
    """Return the fixed-point formats by weight; none where they cannot be read."""
    try:
        return {layer.weight: layer for layer in file.layers if layer.weight is not None}
    except DcfError:  # FIXED is damaged: its check has said so, or NAMES is
        return {}


def _divided(
    file: File, looks: Sequence[_Look], split: bool
) -> tuple[tuple[FrameRow, ...], list[Purposes]]:
    """Return rows of no tensor, and the bytes by purpose of each tensor."""
    users = users_of(file.opened)
    purposes: list[Counter[str]] = [Counter() for _ in looks]
    frame: Counter[tuple[str, int | None, int | None]] = Counter()
    for extent in extents_of(file.opened):
        tensor = extent.tensor
        if extent.table is not None and len(users[extent.table]) == 1:
            tensor = users[extent.table][0]
        if tensor is None:
            frame[extent.purpose, extent.section, extent.table] += extent.size
        else:
            purposes[tensor].update(_parts(extent, looks[tensor]))
    if split:
        for purpose, section, table in [key for key in frame if key[2] is not None]:
            if users[table or 0]:
                size = frame.pop((purpose, section, table))
                for user, part in _split(file, size, users[table or 0]):
                    purposes[user][purpose] += part
    rows = tuple(
        FrameRow(purpose, size, section, table, tuple(users[table]) if table is not None else ())
        for (purpose, section, table), size in frame.items()
    )
    return rows, [{p: one[p] for p in PURPOSES if one[p]} for one in purposes]


def _split(file: File, size: int, users: Sequence[int]) -> list[tuple[int, int]]:
    weights = [file.opened.records[user].head.elements for user in users]
    return list(zip(users, share_out(size, weights), strict=True))


def _parts(extent: Extent, look: _Look) -> Purposes:
    """Return bytes by purpose of an extent: those of blocks by their bits, in whole bytes."""
    if extent.purpose != own.BLOCKS:
        return {extent.purpose: extent.size}
    if look.status != OK:
        return {blocks.UNREAD: extent.size}
    sizes = share_out(extent.size, list(look.bits.values()))
    return dict(zip(look.bits, sizes, strict=True))


def _table_shares(file: File) -> list[int]:
    """Return the bytes of Huffman tables that each tensor answers for, shared ones by elements."""
    shares = [0] * len(file.opened.records)
    tables = zip(users_of(file.opened), file.opened.table_entries, strict=True)
    for users, entry in tables:
        if users and own.table_purpose(entry[0]) == own.HUFFMAN:
            for user, part in _split(file, 4 + len(entry), users):
                shares[user] += part
    return shares


def _row(
    file: File,
    index: int,
    name: str,
    looks: Sequence[_Look],
    purposes: Purposes,
    use: Use | None,
    layers: Mapping[str, LayerFormat],
    shares: Sequence[int],
) -> TensorRow:
    tied = file.opened.records[index].head.tied
    record, look = file.opened.record(index), looks[index]
    seen = looks[index if tied is None else tied]
    head, known = record.head, look.status == OK and tied is None
    coded = sum(purposes.get(purpose, 0) for purpose in CODED) + shares[index]
    layer = layers.get(name)
    q = q_name(layer.weight_bits, layer.weight_fraction) if layer and layer.weight_bits else None
    return TensorRow(
        index=index,
        name=name,
        tied_to=tied,
        use=use,
        dtype=_word(DType, head.dtype),
        shape=head.shape,
        layout=_word(Layout, head.layout),
        values=_word(ValuesId, head.values),
        coder=_word(Coder, head.coder),
        number=record.plan.number.name if record.plan else None,
        status=seen.status,
        reason=seen.reason,
        purposes=purposes,
        bits=look.bits,
        elements=head.elements,
        levels=look.levels,
        q_format=look.q_format or q,
        facts=look.facts,
        coded_bytes=coded if known else None,
        errors=look.errors,
        content=look.content,
    )


def _word(kind: type[DType] | type[Layout] | type[ValuesId] | type[Coder], id: int) -> str | None:
    return kind(id).name if id in set(kind) else None


def _sections(file: File) -> tuple[SectionRow, ...]:
    codecs = {int(codec): codec.name for codec in SectionCodec}
    return tuple(
        SectionRow(
            section_name(entry.type).removeprefix("section "),
            entry.type,
            codecs.get(entry.codec, str(entry.codec)),
            entry.stored_size,
            entry.decoded_size,
        )
        for entry in file.opened.container.entries.values()
    )
