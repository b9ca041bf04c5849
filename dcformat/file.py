"""A `.dcf` as its user sees it: a mapping from names to arrays, decoded when asked for.

Spec: spec/DCF.md    Sisters: dcformat/decode.py, dcformat/native.py (what does the decoding)
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, cast

import numpy as np

from . import decode, native
from .coded import F32, Affine, Codebook, CodedModel, CodedTensor, Raw, Values, expand_numbers
from .decode import Opened, Record
from .errors import Code, DcfError, error_of
from .files import read_container
from .ids import MAX_NAME_BYTES, WIDTH, Coder, DType, GraphFormat, Meta, Section
from .model import Array, Graph, LayerFormat, LazyTensor, Model, Window
from .plain import plain_file
from .predicted import Vector, can_predict, extremes_of, prediction_of, restore
from .records import Head
from .sections import parse_hashes, parse_layers, parse_meta, parse_names
from .stored import logical_values

#: Bytes that one decoded tensor may take unless the caller says otherwise.
DEFAULT_BUDGET = 1 << 32
LOG = logging.getLogger("dcformat")


class File(Mapping[str, Array]):
    """An opened file. `file[name]` is the tensor in its logical shape and type.

    Nothing is decoded before it is asked for, and nothing decoded is kept. Every number that is
    handed out was compared with its CRC. A tensor of more than `budget` bytes is refused before
    anything is allocated for it (LimitError).
    """

    def __init__(
        self, data: bytes | memoryview, name: str = "", budget: int = DEFAULT_BUDGET
    ) -> None:
        self.data = memoryview(data)
        self.label = name
        self.budget = budget
        self.opened: Opened = decode.open_file(data)
        if not native.AVAILABLE:
            LOG.info("%s: the C extension is not built; decoding is slower", name or "file")
        self._seen: dict[int, tuple[Array, Array]] = {}
        self._native: Any = native.open_file(self._plain(data)) if native.AVAILABLE else None

    def _plain(self, data: bytes | memoryview) -> bytes | memoryview:
        """Return what the C core reads of the file's tensors; it leaves out what is for hosts."""
        plain = plain_file(self.opened)
        return data if plain is None else plain

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names by record; `#<index>` where the file was stripped of names."""
        container = self.opened.container
        count = len(self.opened.records)
        entry = container.entries.get(Section.NAMES)
        if entry and entry.decoded_size > (2 + MAX_NAME_BYTES) * count:
            raise error_of(Code.LIMIT, f"{entry.decoded_size} bytes of names", "section NAMES")
        content = container.content(Section.NAMES)
        if not len(content):
            return tuple(f"#{i}" for i in range(count))
        return parse_names(content, count)

    @cached_property
    def _index(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self.names)}

    @cached_property
    def hashes(self) -> tuple[int, ...]:
        """CRC-32 of each name, where the file has them in place of names."""
        content = self.opened.container.content(Section.HASHES)
        return parse_hashes(content, len(self.opened.records)) if len(content) else ()

    @cached_property
    def metadata(self) -> dict[int, bytes]:
        """META by key (ids.Meta)."""
        return parse_meta(self.opened.container.content(Section.META))

    @cached_property
    def layers(self) -> tuple[LayerFormat, ...]:
        """Fixed-point formats of the layers."""
        return parse_layers(self.opened.container.content(Section.FIXED), self.names)

    @property
    def graph(self) -> Graph | None:
        """The source's graph, if the file has it."""
        return self._read_graph[0]

    @property
    def predicted(self) -> list[Vector] | None:
        """The vectors of the graph that tensors predict; None where it is stored as it is."""
        return self._read_graph[1]

    @cached_property
    def _read_graph(self) -> tuple[Graph | None, list[Vector] | None]:
        content = self.opened.container.content(Section.GRAPH)
        if not len(content):
            return None, None
        if content[0] not in set(GraphFormat):
            raise error_of(Code.UNSUPPORTED, f"graph format {content[0]}", "section GRAPH")
        data = bytes(content[1:])
        if content[0] != GraphFormat.PREDICTED:
            return Graph(content[0], data), None
        restored = restore(data, len(self.opened.records), self.predict)
        return restored.graph, restored.vectors

    def predict(self, index: int, kind: int) -> F32:
        """Return what a tensor says of a vector of the graph (spec/DCF.md, "PREDICTED")."""
        try:
            return prediction_of(self._values(index), kind, partial(self._extremes, index))
        except DcfError as error:
            raise error.at("section GRAPH") from None

    def _values(self, index: int) -> Affine:
        record = self.opened.records[index]
        if record.unsupported:
            raise error_of(Code.UNSUPPORTED, record.unsupported)
        values = None if record.head.tied is not None else decode.read_values(self.opened, record)
        if not can_predict(record.head.dtype, values, record.head.elements):
            raise error_of(Code.STRUCTURE, f"tensor {index} has no scale for each index of an axis")
        return cast(Affine, values)

    def _extremes(self, index: int) -> tuple[Array, Array]:
        """Return the least and the greatest number at each index of a tensor's axis."""
        if index not in self._seen:
            record = self.opened.records[index]
            self._check(record)
            numbers, values = self._numbers(record)
            axis = cast(Affine, values).axis or 0
            self._seen[index] = extremes_of(numbers.reshape(record.head.stored_shape), axis)
        return self._seen[index]

    def check_rewritable(self) -> None:
        """Raise UnsupportedError where a flag says that a reader like this must not rewrite."""
        flags = self.opened.container.ro_compat
        if flags:
            raise error_of(
                Code.FEATURE, f"unknown ro_compat flags {flags:#x}: may be read, not rewritten"
            )

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return len(self.data)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.opened.records)

    def __getitem__(self, name: str) -> Array:
        record = self.record(name)
        with self._at(name):
            return self._elements(record)

    def record(self, name: str) -> Record:
        """Return how a tensor is stored; tied names give the record they are tied to."""
        return self.opened.record(self._index[name])

    def check_budget(self, record: Record) -> None:
        """Raise LimitError where decoding a tensor would take more than the budget."""
        self._need(_decoded_bytes(record), f"tensor {record.index}")

    def check_aliases(self) -> None:
        """Raise LimitError where other names of tensors stand for more than the budget.

        A name takes 12 bytes of a file, whatever the tensor takes.
        """
        tied = (r.head.tied for r in self.opened.records if r.head.tied is not None)
        self._need(sum(_decoded_bytes(self.opened.records[i]) for i in tied), "tied tensors")

    def _need(self, size: int, place: str) -> None:
        if size > self.budget:
            message = f"decodes to {size} bytes; the budget is {self.budget}"
            raise error_of(Code.LIMIT, message, place)

    def coded(self, name: str) -> CodedTensor:
        """Return a tensor as symbols and values. Raises KeyError, or DcfError with the place."""
        record = self.record(name)
        with self._at(name):
            return self.coded_of(record, name)

    @contextmanager
    def _at(self, name: str) -> Iterator[None]:
        """Put the tensor's place before that of an error."""
        try:
            yield
        except DcfError as error:
            raise error.at(f"{self.label} / {name}" if self.label else name) from None

    def coded_of(self, record: Record, name: str) -> CodedTensor:
        """Return the tensor of a record that is not tied, under any name. Raises DcfError."""
        self._check(record)
        symbols, values = self.symbols(record)
        return CodedTensor(
            name,
            DType(record.head.dtype),
            _logical(symbols, record.head),
            logical_values(values, _order(record.head)),
            record.head.order or None,
            exact=isinstance(values, Raw),
        )

    def _elements(self, record: Record) -> Array:
        """Return what the numbers of a tensor mean; nobody needs to know a codebook's symbols."""
        self._check(record)
        numbers, values = self._numbers(record)
        values = logical_values(values, _order(record.head))
        logical = _logical(numbers, record.head)
        return expand_numbers(logical, values, DType(record.head.dtype), record.head.shape)

    def _check(self, record: Record) -> None:
        if record.plan is None:
            raise error_of(Code.UNSUPPORTED, record.unsupported)
        self.check_budget(record)

    def symbols(self, record: Record) -> tuple[Array, Values]:
        """Return what decode.decode_symbols does: through the C core where it can."""
        numbers, values = self._numbers(record)
        if isinstance(values, Codebook):
            return _indices(numbers, values, self.opened, record), values
        return numbers, values

    def _numbers(self, record: Record) -> tuple[Array, Values]:
        """Return the numbers in stored order; the values' axis is a stored axis."""
        if self._native is None or record.head.coder == Coder.ZSTD:
            numbers = decode.decode_numbers(self.opened, record.index)
        else:
            numbers = native.decode_numbers(self._native, record.index)
        return numbers, decode.read_values(self.opened, record)

    def coded_model(self) -> CodedModel:
        """Return everything in the file; tied tensors share their memory."""
        self.check_aliases()
        return CodedModel(tuple(self._each()), self.graph, self.layers, self.known_metadata)

    def _each(self) -> Iterator[CodedTensor]:
        """Yield every tensor; one that was decoded under another name is not decoded again."""
        firsts: dict[int, CodedTensor] = {}
        for i, name in enumerate(self.names):
            record = self.opened.record(i).index
            if record not in firsts:
                firsts[record] = self.coded(name)
            yield replace(firsts[record], name=name)

    @property
    def known_metadata(self) -> dict[Meta, bytes]:
        """The entries of META whose keys are in the registry."""
        known = {int(key) for key in Meta}
        return {Meta(k): v for k, v in self.metadata.items() if k in known}


def model_of(file: File) -> Model:
    """Return the model in the file; each tensor is decoded when it is asked for.

    The last one decoded is kept, for writers that ask for its pieces. LimitError where other
    names of tensors stand for more than the budget.
    """
    file.check_aliases()
    kept: dict[int, Array] = {}

    def read(name: str, window: Window) -> Array:
        index = file.record(name).index
        whole = kept.get(index)
        if whole is None:
            kept.clear()  # before the next is made, not after
            whole = kept[index] = file[name]
        return np.array(whole[window])

    tensors, ties = [], {}
    for number, name in enumerate(file.names):
        record = file.record(name)
        if record.plan is None:
            raise error_of(Code.UNSUPPORTED, record.unsupported, name)
        if record.index != number:
            ties[name] = file.names[record.index]
        head = record.head
        tensors.append(LazyTensor(name, DType(head.dtype), head.shape, partial(read, name)))
    return Model(tuple(tensors), file.graph, metadata=file.known_metadata, ties=ties)


def _order(head: Head) -> tuple[int, ...]:
    return head.order or tuple(range(len(head.shape)))


def _logical(stored: Array, head: Head) -> Array:
    """Return elements in stored order in their logical shape, as an array of its own."""
    shaped = np.transpose(stored.reshape(head.stored_shape), np.argsort(_order(head)))
    own = shaped.flags.c_contiguous and shaped.flags.writeable
    return shaped if own else shaped.copy(order="C")


def _decoded_bytes(record: Record) -> int:
    head, plan = record.head, record.plan
    return head.elements * max(WIDTH[plan.number], WIDTH[DType(head.dtype)]) if plan else 0


def _indices(numbers: Array, values: Codebook, opened: Opened, record: Record) -> Array:
    """Return codebook indices of decoded numbers; levels that are equal need the symbols."""
    bits = _patterns(np.ascontiguousarray(values.levels))
    order = np.argsort(bits, kind="stable")
    if len(np.unique(bits)) < len(bits):
        return decode.decode_symbols(opened, record.index)[0]
    found = np.searchsorted(bits[order], _patterns(numbers))
    return np.asarray(order[found], np.uint8)


def _patterns(array: Array) -> Any:
    """Return elements as unsigned bit patterns, 16-byte ones as raw bytes."""
    size = array.dtype.itemsize
    return array.view(f"<u{size}" if size <= 8 else f"S{size}")


def load(path: str | Path, budget: int = DEFAULT_BUDGET) -> File:
    """Open a `.dcf` file. Raises DcfError naming the file and the place.

    `budget` bounds the bytes that one decoded tensor may take.
    """
    data = read_container(path)
    try:
        return File(data, str(path), budget)
    except DcfError as error:
        raise error.at(str(path)) from None
