"""Is a file the one canonical writing of its content?

Spec: spec/DCF.md ("Canonical form"). What is written again is compared byte by byte.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from . import frames
from .coded import CodedTensor, Raw
from .container import HEADER_BYTES, Entry, section_name, smaller
from .decode import Opened, Record, read_front
from .encodings import CODERS, LAYOUTS, VALUES, coder_huffman, values_codebook
from .encodings.coder_huffman import Table
from .encodings.layout_gap import Gap
from .encodings.layout_run import Run
from .encodings.parts import Plan, Planes
from .encodings.values_codebook import Levels
from .errors import CorruptError, UnsupportedError
from .file import File
from .forms import Form, huffman_form, packed_form, zstd_form
from .forms_context import context_form
from .ids import Coder, DType, GraphFormat, Layout, Meta, Section, SectionCodec, TableKind
from .predicted import differ
from .prints import fingerprint
from .records import offset_width, write_record
from .sections import write_graph, write_hashes, write_layers, write_meta, write_names
from .stored import Stored
from .tables import tables_of

Counts = dict[int, npt.NDArray[np.int64]]


def faults(file: File) -> Iterator[str]:
    """Yield what is not canonical, each with its place; nothing if the file is.

    Tensors in rooms that this reader lacks are passed over, and tables that they may use.
    """
    yield from _container_faults(file)
    counts: Counts = {}
    shared = _shared(file)
    for index, (record, raw) in enumerate(zip(file.opened.records, _raw(file), strict=True)):
        if record.head.tied is None and not record.unsupported:
            found = chain(_record(file, record, raw), _faults(file, record, counts, shared))
            yield from (f"{file.names[index]}: {fault}" for fault in found)
    if not _foreign(file):
        yield from _table_faults(file, counts)
    yield from _tie_faults(file)


def _foreign(file: File) -> bool:
    """Tell whether there are tensors that this reader lacks a room for."""
    return any(record.unsupported for record in file.opened.records)


def frames_compared(file: File) -> bool:
    """Tell whether the libzstd that is at work is the one that the file names."""
    return file.metadata.get(Meta.LIBZSTD) == frames.VERSION.encode()


def _container_faults(file: File) -> Iterator[str]:
    """Header and sections: what the page fixes, and sections written again from what they mean."""
    container = file.opened.container
    if container.data[12] != HEADER_BYTES:
        yield "header: longer than its fields"
    if any(container.data[28:36]):
        yield "header: flags that nothing needs"
    for entry in container.entries.values():
        yield from (f"{section_name(entry.type)}: {fault}" for fault in _section(file, entry))


def _section(file: File, entry: Entry) -> Iterator[str]:
    if entry.type not in set(Section):
        yield "not known"
        return
    if entry.align_log2 and entry.type != Section.PAYLOAD:
        yield "aligned"
    section, stored = Section(entry.type), file.opened.container.stored(entry.type)
    content = _writers(file)[section]()
    if not content:
        yield "there, but empty"
    elif content != file.opened.container.content(section):
        yield "not written in the canonical way"
    elif entry.codec == SectionCodec.ZSTD and entry.stored_size >= entry.decoded_size:
        yield "compressed, but not smaller"
    elif frames_compared(file):
        codec, again = smaller(section, content)
        if codec != entry.codec or again != stored:
            yield "not compressed in the canonical way"


def _writers(file: File) -> dict[Section, Callable[[], bytes | memoryview]]:
    """Return what writes each section again; three are taken as they are, or left out."""
    stored, named = file.opened.container.stored, file.opened.container.has(Section.NAMES)
    index = {name: i for i, name in enumerate(file.names)}
    return {
        Section.RECORDS: lambda: stored(Section.RECORDS) if file.opened.records else b"",
        Section.TABLES: lambda: stored(Section.TABLES) if file.opened.tables else b"",
        Section.NAMES: lambda: write_names(file.names) if named else b"",
        Section.HASHES: lambda: write_hashes(file.names) if named else stored(Section.HASHES),
        Section.FIXED: lambda: write_layers(file.layers, index, named),
        Section.META: lambda: write_meta(file.metadata),
        Section.GRAPH: lambda: _graph(file),
        Section.PAYLOAD: lambda: stored(Section.PAYLOAD),
    }


def _graph(file: File) -> bytes:
    graph, vectors = file.graph, file.predicted
    if graph is None or vectors is None:
        return write_graph(graph)
    return bytes([GraphFormat.PREDICTED]) + differ(graph, vectors, file.predict)


def _raw(file: File) -> Iterator[memoryview]:
    """Yield the bytes of each record."""
    section, at = file.opened.container.stored(Section.RECORDS), 4
    for _ in file.opened.records:
        size = 4 * section[at]
        yield section[at : at + size]
        at += size


def _record(file: File, record: Record, raw: memoryview) -> Iterator[str]:
    """The record written again; blocks' offsets are as narrow as the last one allows."""
    head, plan, front = record.head, record.plan, read_front(file.opened, record)
    if plan is None:
        raise UnsupportedError(record.unsupported)
    parameters = LAYOUTS[head.layout].write_params(record.layout)
    values = replace(plan, values=front.values)
    parameters += VALUES[head.values].write_params(values, plan.table)
    parameters += CODERS[head.coder].write_params(record.coder_parameters)
    blocks = head.blocks
    if blocks is not None:
        last = sum(len(block) for block in front.blocks[:-1])
        blocks = replace(blocks, offset_width=offset_width(last))
    if write_record(replace(head, blocks=blocks), parameters) != raw:
        yield "record: not written in the canonical way"
    if len(set(front.classes)) < head.classes:
        yield f"a class of {head.classes} that no block has"


def _faults(file: File, record: Record, counts: Counts, shared: frozenset[int]) -> Iterator[str]:
    stored, params = _stored(file, record)
    if record.plan is not None and stored.plan.alphabets != record.plan.alphabets:
        if not shared & set(record.tables):
            yield f"alphabet of {record.plan.alphabets[0]} symbols, {stored.plan.alphabets[0]} used"
        stored = stored.rebased(record.plan.base, record.plan.alphabets[0])
        params = record.layout
    try:
        form = _form(file, record, stored, params)
        again = None if form is None else form.payload()
    except CorruptError as error:  # its tables lack a symbol that the canonical writing needs
        yield f"payload: not written in the canonical way ({error})"
        return
    if form is None or again is None:
        return
    _count(form, record, counts)
    start, stop = record.offset, record.offset + record.head.payload_size
    if again != file.opened.container.stored(Section.PAYLOAD)[start:stop]:
        yield "payload: not written in the canonical way"


def _stored(file: File, record: Record) -> tuple[Stored, Any]:
    """Return the tensor's symbols in the narrowest plan, and the layout's parameters for it."""
    head, plan = record.head, record.plan
    if plan is None:
        raise UnsupportedError(record.unsupported)
    symbols, values = file.symbols(record)
    room = VALUES[head.values]
    narrow = room.plan_of(values, DType(head.dtype), symbols)
    stored = stored_again(record, narrow, room.to_planes(narrow, symbols))
    return stored, _shifted(record.layout, plan.base - narrow.base)


def stored_again(record: Record, plan: Plan, planes: Planes) -> Stored:
    """Return a tensor of a file as the encoder has it; `planes` are its symbols in stored order."""
    head, columns = record.head, record.head.columns
    shell = np.broadcast_to(np.zeros((), np.uint8), head.shape)
    return Stored(
        CodedTensor(f"tensor {record.index}", DType(head.dtype), shell, Raw()),
        head.order or tuple(range(len(head.shape))),
        head.row_axes,
        plan,
        lambda start, stop: planes[start * columns : stop * columns],
        head.numbers_crc,
    )


def _shifted(params: Any, shift: int) -> Any:
    if isinstance(params, (Gap, Run)):
        return replace(params, background=params.background + shift)
    return params


def _shared(file: File) -> frozenset[int]:
    """Return the Huffman tables that more than one tensor uses, or may use."""
    if _foreign(file):
        return frozenset(range(len(file.opened.tables)))
    mine = (set(r.tables) for r in file.opened.records if r.head.tied is None)
    users = Counter(table for tables in mine for table in tables)
    return frozenset(table for table, count in users.items() if count > 1)


def _form(file: File, record: Record, stored: Stored, params: Any) -> Form | None:
    """Return the form that the record describes, written again; None if frames differ."""
    if record.head.coder != Coder.ZSTD:
        return form_again(file.opened, record, stored, params)
    return zstd_form(stored, record.head.block_rows or 1) if frames_compared(file) else None


def form_again(opened: Opened, record: Record, stored: Stored, params: Any) -> Form:
    """Return the form that a record describes, of another coder than ZSTD."""
    head = record.head
    rows = head.block_rows or 1
    if head.coder == Coder.PACKED:
        return packed_form(stored, Layout(head.layout), params, rows)
    if record.context is not None:
        return context_form(stored, record.context, rows)
    tables = tuple(t for i in record.tables if isinstance(t := opened.tables[i], Table))
    classes = np.array(read_front(opened, record).classes, np.uint8) if head.classes > 1 else None
    return huffman_form(stored, Layout(head.layout), params, rows, tables, classes)


def _count(form: Form, record: Record, counts: Counts) -> None:
    """Add the symbols of a Huffman form to the counts of its tables."""
    if form.coder is not Coder.HUFFMAN:
        return
    for index, symbols in zip(record.tables, form.counts, strict=True):
        counts[index] = counts.get(index, np.zeros(256, np.int64)) + symbols


def _table_faults(file: File, counts: Counts) -> Iterator[str]:
    """Tables: the smallest writing of the code that the symbols ask for, in order of use."""
    seen: set[bytes] = set()
    for index, (table, entry) in enumerate(
        zip(file.opened.tables, file.opened.table_entries, strict=True)
    ):
        if bytes(entry) in seen:
            yield f"table {index}: written twice"
        seen.add(bytes(entry))
        if isinstance(table, Levels) and _codebook(table, entry[0]) != bytes(entry):
            yield f"table {index}: codebook not written in the canonical way"
        if isinstance(table, Table) and index in counts:
            best = tables_of(counts[index][None])[0]
            if coder_huffman.write_table(best) != bytes(entry):
                yield f"table {index}: not the canonical code of its symbols"
    used = list(dict.fromkeys(i for r in file.opened.records for i in _uses(r)))
    if used != list(range(len(file.opened.tables))):
        yield "tables: not in the order of first use"


def _codebook(table: Levels, kind: int) -> bytes | None:
    if kind == TableKind.CODEBOOK_SORTED:
        return values_codebook.write_sorted(table.level, table.levels)
    return values_codebook.write_table(table.level, table.levels)


def _uses(record: Record) -> list[int]:
    table = record.plan.table if record.plan else None
    return [*([] if table is None else [table]), *record.tables]


def _tie_faults(file: File) -> Iterator[str]:
    """Equal tensors are tied to the first of them."""
    first: dict[bytes, str] = {}
    for index, record in enumerate(file.opened.records):
        if record.head.tied is None and not record.unsupported:
            name = file.names[index]
            original = first.setdefault(fingerprint(file.coded(name)).whole, name)
            if original != name:
                yield f"{name}: equal to {original}, but not tied to it"
