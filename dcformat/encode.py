"""Writing a coded model: the smallest legal form of each tensor, then the file.

Spec: spec/DCF.md    Sisters: dcformat/forms.py (the choices), dcformat/pool.py (shared tables)
"""

from __future__ import annotations

import io
import math
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate
from typing import BinaryIO

from . import frames, pool
from .coded import Codebook, CodedModel, CodedTensor
from .container import Front
from .encodings import LAYOUTS, VALUES, values_codebook
from .errors import Code, ConvertError, CorruptError, error_of
from .fastest import fastest
from .fields import align
from .forms import Form, coder_parameters, forms_of
from .forms_context import context_forms
from .ids import (
    MAX_ALIGN_LOG2,
    MAX_ELEMENTS,
    MAX_NAME_BYTES,
    MAX_RANK,
    MAX_TABLES,
    MAX_TENSORS,
    TAIL_BYTES,
    Coder,
    Meta,
    Section,
)
from .jobs import in_order
from .predictable import content_of, sides_of
from .prints import Fingerprint, content_id_of, fingerprint
from .records import Head, payload_align, write_record
from .scratch import Scratch
from .sections import write_hashes, write_layers, write_meta, write_names
from .stored import Stored, store

TARGETS = ("mcu", "host", "smallest")
PRODUCER = "dcformat 0.1.0"
REORDERED_MOST = 1 << 22  #: elements; for host, larger tensors keep the logical order

SORTED_LEAST = 64  #: bytes that it saves, where levels are written as hosts alone read them
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Settings:
    """How to write: none of these changes what the file means.

    `target` "mcu" keeps to what the C decoder reads and stores tensors in kernel order; "host"
    adds zstd, and "smallest" the context coder. `row_access` makes every row a block. `align` is
    that of raw payloads, in bytes.
    """

    target: str = "mcu"
    prefer: str = "size"
    row_access: bool = False
    jobs: int = 1
    names: bool = True
    hashes: bool = True
    graph: bool = True
    metadata: bool = True
    align: int = 0

    @property
    def host(self) -> bool:
        return self.target != "mcu"

    @property
    def smallest(self) -> bool:
        return self.target == "smallest"

    @property
    def align_log2(self) -> int:
        return (self.align or (64 if self.target == "host" else 16)).bit_length() - 1


@dataclass
class _Tables:
    """TABLES in the making: entries in the order of first use, none twice."""

    smallest: bool = False
    index: dict[bytes, int] = field(default_factory=dict)

    def of_levels(self, values: Codebook) -> int:
        """Return the index of a codebook, in the form that hosts alone read if that saves much."""
        plain = values_codebook.write_table(values.level, values.levels)
        if self.smallest:
            packed = values_codebook.write_sorted(values.level, values.levels)
            if packed is not None and len(packed) + SORTED_LEAST <= len(plain):
                return self.of(packed)
        return self.of(plain)

    def of(self, entry: bytes) -> int:
        return self.index.setdefault(entry, len(self.index))

    def content(self) -> bytes:
        count = len(self.index)
        if count > MAX_TABLES:
            raise error_of(Code.LIMIT, f"{count} tables", "section TABLES")
        sizes = [len(entry) for entry in self.index]
        offsets = accumulate(sizes[:-1], initial=4 + 4 * count) if count else ()
        head = struct.pack(f"<I{count}I", count, *offsets)
        return head + b"".join(self.index) if count else b""


def encode_model(
    coded: CodedModel, settings: Settings = Settings(), progress: Progress | None = None
) -> bytes:
    """Return the file for `coded`; see `encode_to`."""
    stream = io.BytesIO()
    encode_to(stream, coded, settings, progress)
    return stream.getvalue()


def encode_to(
    stream: BinaryIO,
    coded: CodedModel,
    settings: Settings = Settings(),
    progress: Progress | None = None,
) -> Mapping[Section, int]:
    """Write the file for `coded` to `stream`, which can seek; return its sections' stored sizes.

    The same model and settings give the same bytes, whatever `jobs` is. Raises ConvertError or
    LimitError naming the tensor that cannot be stored.
    """
    _check_settings(settings)
    _check_model(coded)
    prints = list(in_order(_print, coded.tensors, settings.jobs))
    ties = _ties([one.whole for one in prints])
    own = [t for i, t in enumerate(coded.tensors) if i not in ties]
    forms = choose(own, settings, progress)
    metadata = _metadata(coded, forms, prints) if settings.metadata else {}
    return _write(stream, coded, forms, ties, settings, metadata)


def _check_settings(settings: Settings) -> None:
    if settings.target not in TARGETS:
        raise ConvertError(f"unknown target {settings.target!r}; known: {', '.join(TARGETS)}")
    if settings.prefer not in ("size", "speed"):
        raise ConvertError(f"unknown preference {settings.prefer!r}; known: size, speed")
    step = settings.align
    if step and (step & (step - 1) or not 16 <= step <= 1 << MAX_ALIGN_LOG2):
        raise ConvertError(f"alignment {settings.align} is not a power of two from 16 to 4096")


def _check_model(coded: CodedModel) -> None:
    names = [t.name for t in coded.tensors]
    if len(names) > MAX_TENSORS:
        raise error_of(Code.LIMIT, f"{len(names)} tensors, at most {MAX_TENSORS}")
    seen: set[str] = set()
    for tensor in coded.tensors:
        if tensor.name in seen:
            raise ConvertError("two tensors with this name", place=tensor.name)
        seen.add(tensor.name)
        size = len(tensor.name.encode("utf-8", "surrogatepass"))
        if not 1 <= size <= MAX_NAME_BYTES or "\0" in tensor.name or not _is_utf8(tensor.name):
            raise ConvertError(f"not a name that can be stored ({size} bytes)", place=tensor.name)
        if len(tensor.shape) > MAX_RANK or math.prod(tensor.shape) > MAX_ELEMENTS:
            raise error_of(Code.LIMIT, f"shape {tensor.shape}", tensor.name)


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _print(tensor: CodedTensor) -> Fingerprint:
    try:
        return fingerprint(tensor)
    except (ValueError, TypeError, IndexError) as error:
        raise ConvertError(f"cannot encode: {error}", place=tensor.name) from error


def _ties(prints: Sequence[bytes]) -> dict[int, int]:
    """Return, for each tensor that equals an earlier one but for its name, that one's index."""
    first: dict[bytes, int] = {}
    found = ((i, first.setdefault(one, i)) for i, one in enumerate(prints))
    return {i: original for i, original in found if original != i}


def choose(
    tensors: Sequence[CodedTensor], settings: Settings, progress: Progress | None = None
) -> list[Form]:
    """Return the form that each tensor is written in."""
    scratch = Scratch()

    def in_order_of(tensor: CodedTensor, kernel: bool) -> tuple[Form | None, Form]:
        stored = store(tensor, kernel, hold=True)
        try:
            return _draft(stored, settings, scratch)
        finally:
            stored.held.clear()

    def draft(tensor: CodedTensor) -> tuple[Form | None, Form]:
        try:
            drafts = [in_order_of(tensor, kernel) for kernel in _orders(tensor, settings)]
            return min(drafts, key=_least)  # at equal size the logical order
        except (ValueError, TypeError, IndexError) as error:
            raise ConvertError(f"cannot encode: {error}", place=tensor.name) from error

    drafts = []
    for i, one in enumerate(in_order(draft, tensors, settings.jobs)):
        drafts.append(one)
        if progress:
            progress(tensors[i].name, i + 1, len(tensors))
    return pool.share([huffman for huffman, _ in drafts], [other for _, other in drafts])


def _orders(tensor: CodedTensor, settings: Settings) -> list[bool]:
    """Return whether to store in kernel order: always for mcu, for others if it is smaller."""
    if not settings.host:
        return [True]
    return [False, True] if tensor.order and tensor.size <= REORDERED_MOST else [False]


def _least(draft: tuple[Form | None, Form]) -> int:
    huffman, other = draft
    return other.size() if huffman is None else min(huffman.size(), other.size())


def _draft(stored: Stored, settings: Settings, scratch: Scratch) -> tuple[Form | None, Form]:
    """Return the smallest Huffman form and the smallest other form."""
    forms = list(context_forms(stored, settings.row_access, scratch)) if settings.smallest else []
    plain = stored.order == tuple(range(len(stored.order)))
    zstd = settings.host and (plain or not forms)  # it is slow, and hardly minds the order
    forms += forms_of(stored, zstd, settings.row_access, scratch)
    legal = [form for form in forms if form.legal()]
    if not legal:
        raise error_of(Code.LIMIT, "decodes to far more than it stores", stored.tensor.name)
    huffman = [form for form in legal if form.coder is Coder.HUFFMAN]
    other = [form for form in legal if form.coder is not Coder.HUFFMAN]
    best = min(other, key=Form.size) if other else min(huffman, key=Form.size)
    if settings.prefer == "speed":
        fast = fastest(legal)
        return (fast if fast.coder is Coder.HUFFMAN else None), fast
    return (min(huffman, key=Form.size) if huffman else None), best


def _metadata(
    coded: CodedModel, forms: Sequence[Form], prints: Sequence[Fingerprint]
) -> dict[Meta, bytes]:
    """Return what META holds; of a model without tensors no recipe and no content id."""
    metadata = {**coded.metadata, Meta.PRODUCER: PRODUCER.encode()}
    contents = [one.content for one in prints]
    metadata[Meta.CONTENT_ID] = content_id_of([t.name for t in coded.tensors], contents)
    if not coded.tensors:
        metadata.pop(Meta.RECIPE, None)
        metadata.pop(Meta.CONTENT_ID)
    if coded.graph is not None or any(form.coder is Coder.ZSTD for form in forms):
        metadata[Meta.LIBZSTD] = frames.VERSION.encode()
    return metadata


def _write(
    stream: BinaryIO,
    coded: CodedModel,
    forms: Sequence[Form],
    ties: Mapping[int, int],
    settings: Settings,
    metadata: Mapping[Meta, bytes],
) -> Mapping[Section, int]:
    """Write the file: the payload first, behind a gap, then into that gap what is before it."""
    names = [t.name for t in coded.tensors]
    layout = lay_out(forms, ties, len(names), settings.align_log2, settings.smallest)
    index = {name: i for i, name in enumerate(names)}
    head = Front(
        {
            Section.RECORDS: layout.records,
            Section.TABLES: layout.tables,
            Section.NAMES: write_names(names) if settings.names else b"",
            Section.HASHES: write_hashes(names) if settings.hashes and not settings.names else b"",
            Section.FIXED: write_layers(coded.layers, index, settings.names),
            Section.META: write_meta(metadata),
            Section.GRAPH: _graph(coded, ties) if settings.graph else b"",
        },
        layout.size,
        settings.align_log2,
    )
    stream.seek(head.size)
    crc = write_payload(stream, forms, layout, settings.jobs)
    stream.write(bytes(TAIL_BYTES))
    stream.truncate()
    stream.seek(0)
    stream.write(head.written(crc))
    return head.sizes


def _graph(coded: CodedModel, ties: Mapping[int, int]) -> bytes:
    if coded.graph is None:
        return b""
    sides = [side for side in sides_of(coded.tensors) if side.index not in ties]
    return content_of(coded.graph, sides)


@dataclass(frozen=True)
class PayloadLayout:
    """RECORDS and TABLES, and the padding before the payload of each form; `size` is all of it."""

    records: bytes
    tables: bytes
    padding: tuple[int, ...]
    size: int


def lay_out(
    forms: Sequence[Form],
    ties: Mapping[int, int],
    count: int,
    align_log2: int,
    smallest: bool = False,
) -> PayloadLayout:
    """Return where the payloads of `count` tensors go, `ties` among them."""
    tables = _Tables(smallest)
    records, padding, end = [], [], 0
    rest = iter(forms)
    for index in range(count):
        if index in ties:
            records.append(write_record(Head(tied=ties[index]), b""))
            continue
        head, parameters = _record(next(rest), tables)
        start = align(end, payload_align(head, 1 << align_log2))
        padding.append(start - end)
        end = start + head.payload_size
        records.append(write_record(head, parameters))
    content = struct.pack("<I", count) + b"".join(records) if count else b""
    return PayloadLayout(content, tables.content(), tuple(padding), end)


def write_payload(
    stream: BinaryIO, forms: Sequence[Form], layout: PayloadLayout, jobs: int = 1
) -> int:
    """Write PAYLOAD to `stream`; return its CRC."""
    crc = 0
    for part in in_order(lambda give: give(), _parts(forms, layout), jobs):
        stream.write(part)
        crc = zlib.crc32(part, crc)
    return crc


def _parts(forms: Sequence[Form], layout: PayloadLayout) -> Iterator[Callable[[], bytes]]:
    for padding, form in zip(layout.padding, forms, strict=True):
        yield partial(bytes, padding)
        yield from (partial(_unchanged, form, part) for part in form.parts())


def _unchanged(form: Form, part: Callable[[], bytes]) -> bytes:
    """Return a part; its tables were made for the numbers that stood there before."""
    try:
        return part()
    except CorruptError as error:
        changed = ConvertError("changed while it was written", place=form.stored.tensor.name)
        raise changed from error


def write_tensors(
    forms: Sequence[Form], ties: Mapping[int, int], count: int, align_log2: int
) -> tuple[bytes, bytes, bytes]:
    """Return RECORDS, TABLES and PAYLOAD for `count` tensors, `ties` among them."""
    layout = lay_out(forms, ties, count, align_log2)
    payload = io.BytesIO()
    write_payload(payload, forms, layout)
    return layout.records, layout.tables, payload.getvalue()


def _record(form: Form, tables: _Tables) -> tuple[Head, bytes]:
    """Return head and parameters; codebook and Huffman tables enter `tables` in their order."""
    stored = form.stored
    values, codebook = stored.plan.values, None
    if isinstance(values, Codebook):
        codebook = tables.of_levels(values)
    named = tuple(tables.of(t.entry) for t in form.tables)
    parameters = LAYOUTS[form.layout].write_params(form.params)
    parameters += VALUES[stored.room].write_params(stored.plan, codebook)
    parameters += coder_parameters(form, named)
    order = stored.order if stored.order != tuple(range(len(stored.order))) else ()
    head = Head(
        dtype=stored.tensor.dtype,
        shape=stored.tensor.shape,
        row_axes=stored.row_axes,
        layout=form.layout,
        values=stored.room,
        coder=form.coder,
        numbers_crc=stored.numbers_crc,
        payload_size=form.payload_size(),
        order=order,
        blocks=form.blocks,
    )
    return head, bytes(parameters)
