"""All tables of a TFLite FlatBuffer as a tree that can be changed, and written again.

Format: https://flatbuffers.dev/internals; which fields are pointers: tensorflow/lite/schema/
schema.fbs. Sisters: tflite_tables.py (reads), tflm_plan.py (changes). A table's numbers are kept as
they stand, and only what it points to is known; so a model with tables that are not known here is
refused. Buffers stand at multiples of 16 bytes, as TFLite Micro reads them in place.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Union

import numpy as np

from dcformat.errors import ConvertError

from .tflite_schema import IDENTIFIER
from .tflite_tables import Bytes, Table

_BUFFER_ALIGN = 16


@dataclass
class Vector:
    """Numbers one after the other, of `width` bytes each; `zero` stands behind a string."""

    data: bytes
    width: int = 4
    align: int = 4
    zero: bool = False


@dataclass
class Node:
    """A table: `body` are its numbers, by `offsets` of its fields; `links` what fields point to."""

    body: bytearray = field(default_factory=lambda: bytearray(4))
    offsets: list[int] = field(default_factory=list)
    links: dict[int, Link] = field(default_factory=dict)

    def put(self, number: int, form: str, value: int) -> None:
        """Give field `number` a number, in the place that it has or in a new one."""
        at = self._room(number, struct.calcsize(form))
        struct.pack_into(f"<{form}", self.body, at, value)

    def link(self, number: int, target: Link) -> None:
        """Let field `number` point to `target`."""
        self._room(number, 4)
        self.links[number] = target

    def drop(self, number: int) -> None:
        """Take field `number` away."""
        if number < len(self.offsets):
            self.offsets[number] = 0
            self.links.pop(number, None)

    def nodes(self, number: int) -> list[Node]:
        """Return the vector of tables that field `number` points to; it may be changed."""
        found = self.links.setdefault(number, [])
        if not isinstance(found, list):
            raise ConvertError(f"field {number} is no vector of tables")
        self._room(number, 4)
        return found

    def get(self, number: int, form: str, default: int = 0) -> int:
        """Return the number in field `number`."""
        at = self.offsets[number] if number < len(self.offsets) else 0
        found: int = struct.unpack_from(f"<{form}", self.body, at)[0] if at else default
        return found

    def ints(self, number: int) -> list[int]:
        found = self.links.get(number)
        data = found.data if isinstance(found, Vector) else b""
        return [int(n) for n in np.frombuffer(data, "<i4")]

    def _room(self, number: int, width: int) -> int:
        self.offsets += [0] * (number + 1 - len(self.offsets))
        if not self.offsets[number]:
            self.body += bytes(-len(self.body) % width)
            self.offsets[number] = len(self.body)
            self.body += bytes(width)
        return self.offsets[number]


Link = Union[Node, Vector, "list[Node]"]
#: What a field points to: a width of numbers, "text", a table, or a vector of tables (in a list).
Spec = Mapping[int, "int | str | Spec | list[Spec]"]

_METADATA: Spec = {0: "text"}
_QUANTIZATION: Spec = {0: 4, 1: 4, 2: 4, 3: 8}
_TENSOR: Spec = {0: 4, 3: "text", 4: _QUANTIZATION, 7: 4}
_OPERATOR: Spec = {1: 4, 2: 4, 4: "options", 5: 1, 7: 1, 8: 4}
_SUBGRAPH: Spec = {0: [_TENSOR], 1: 4, 2: 4, 3: [_OPERATOR], 4: "text"}
_SIGNATURE: Spec = {0: [{0: "text"}], 1: [{0: "text"}], 2: "text"}
MODEL: Spec = {
    1: [{1: "text"}],
    2: [_SUBGRAPH],
    3: "text",
    4: [{0: "buffer"}],
    5: 4,
    6: [_METADATA],
    7: [_SIGNATURE],
}
#: Pointers in options of operators, by BuiltinOptions; the others up to the last have none.
_OPTIONS: Mapping[int, Spec] = {
    3: {1: 4, 2: 4},
    8: {5: 1},
    17: {0: 4},
    30: {0: 4},
    111: {0: "text", 1: "text"},
    115: {0: 4},
}
_LAST_OPTIONS = 126
#: Pointers that no specification above has: of sparse and variant tensors, of newer operators.
_REFUSED = {
    id(_TENSOR): (6, 9),
    id(_QUANTIZATION): (5,),
    id(_OPERATOR): (9, 12),
    id(MODEL): (8, 9),
}


def tree_of(data: bytes) -> Node:
    """Return the tables of a file. Raises ConvertError where it holds what is not known here."""
    return _node(Bytes(data).root("the model"), MODEL)


def _node(table: Table, spec: Spec) -> Node:
    for number in _REFUSED.get(id(spec), ()):
        if number < len(table.offsets) and table.offsets[number]:
            raise ConvertError(f"{table.what}: field {number} is not for TFLite Micro")
    body = bytearray(table.file.take(table.at, table.size, table.what))
    node = Node(body, list(table.offsets))
    for number, kind in spec.items():
        if number < len(table.offsets) and table.offsets[number]:
            node.links[number] = _link(table, number, kind)
    return node


def _link(table: Table, number: int, kind: object) -> Link:
    if isinstance(kind, int):
        return _vector(table, number, kind, max(4, kind))
    if kind == "text":
        return Vector(_vector(table, number, 1, 4).data, 1, zero=True)
    if kind == "buffer":
        return _vector(table, number, 1, _BUFFER_ALIGN)
    if isinstance(kind, list):
        return [_node(one, kind[0]) for one in table.tables(number, f"field {number},")]
    spec = _options(table) if kind == "options" else kind
    found = table.table(number, f"field {number}")
    if found is None or not isinstance(spec, Mapping):
        raise ConvertError(f"{table.what}: field {number} leads nowhere")
    return _node(found, spec)


def _options(table: Table) -> Spec:
    kind = table.scalar(3, 1) & 0xFF
    if kind > _LAST_OPTIONS:
        raise ConvertError(f"{table.what}: options of kind {kind} are not known")
    return _OPTIONS.get(kind, {})


def _vector(table: Table, number: int, width: int, align: int) -> Vector:
    found = table.numbers(number, {1: "u1", 4: "<u4", 8: "<u8"}[width])
    return Vector(b"" if found is None else found.tobytes(), width, align)


def bytes_of(root: Node) -> bytes:
    """Return a file of the tree: what a table points to stands behind it."""
    writer = _Writer()
    writer.point(0, writer.node(root))
    return bytes(writer.out)


@dataclass
class _Writer:
    """The bytes so far, and where which vtable stands: tables of one form share it."""

    out: bytearray = field(default_factory=lambda: bytearray(4) + IDENTIFIER)
    vtables: dict[bytes, int] = field(default_factory=dict)

    def add(self, link: Link) -> int:
        """Write what a field points to; return where it begins."""
        if isinstance(link, Node):
            return self.node(link)
        if isinstance(link, Vector):
            return self._vector(link)
        self._pad(4)
        at = len(self.out)
        self.out += struct.pack("<I", len(link)) + bytes(4 * len(link))
        for number, one in enumerate(link):
            self.point(at + 4 + 4 * number, self.node(one))
        return at

    def point(self, place: int, target: int) -> None:
        struct.pack_into("<I", self.out, place, target - place)

    def node(self, node: Node) -> int:
        vtable = self._vtable(node)
        self._pad(8)  # so that numbers of 8 bytes stand as they stood
        at = len(self.out)
        self.out += node.body
        struct.pack_into("<i", self.out, at, at - vtable)
        for number, link in sorted(node.links.items()):
            self.point(at + node.offsets[number], self.add(link))
        return at

    def _vtable(self, node: Node) -> int:
        offsets = node.offsets
        raw = struct.pack(f"<HH{len(offsets)}H", 4 + 2 * len(offsets), len(node.body), *offsets)
        if raw not in self.vtables:
            self._pad(2)
            self.vtables[raw] = len(self.out)
            self.out += raw
        return self.vtables[raw]

    def _vector(self, vector: Vector) -> int:
        self._pad(4)
        self._pad(max(4, vector.align), 4)
        at = len(self.out)
        self.out += struct.pack("<I", len(vector.data) // vector.width) + vector.data
        self.out += b"\0" if vector.zero else b""
        return at

    def _pad(self, width: int, ahead: int = 0) -> None:
        self.out += bytes(-(len(self.out) + ahead) % width)
