"""Fields in both directions: one function a part, called with a Reader or a Writer.

A Reader takes a field from bytes and writes its line; a Writer takes it from its line and writes
bytes. A field whose value is the one that the rules imply (`auto`) has no line.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag
from typing import TypeVar, Union

from ..errors import CorruptError
from ..fields import Fields
from ..ids import DType
from .lines import Node, data_node, data_of, fail, rows_of, words_node

AUTO = "auto"
_INT = re.compile(r"(-?[0-9]{1,20})|0x([0-9a-f]{1,16})")
_REAL = re.compile(r"-?[0-9]{1,40}(\.[0-9]{1,40})?(e[+-]?[0-9]{1,3})?")
T = TypeVar("T")


@dataclass(frozen=True)
class Kind:
    """How a number is written; `parse` gives None for what is not one."""

    show: Callable[[int], str]
    parse: Callable[[str], int | None]


def parse_int(text: str) -> int | None:
    found = _INT.fullmatch(text)
    if found is None:
        return None
    return int(found[1]) if found[1] else int(found[2], 16)


def _show_real(bits: int) -> str:
    (value,) = struct.unpack("<f", struct.pack("<I", bits))
    for digits in (6, 7, 8, 9):
        text = f"{value:.{digits}g}"
        if parse_real(text) == bits:
            return text
    return f"0x{bits:08x}"


def parse_real(text: str) -> int | None:
    """Return the bits of a binary32 number, which may also be written as such."""
    if text.startswith("0x"):
        return parse_int(text)
    if not _REAL.fullmatch(text):
        return None
    try:
        bits = int.from_bytes(struct.pack("<f", float(text)), "little")
    except OverflowError:
        return None
    return bits if bits & 0x7F800000 != 0x7F800000 else None


def one_of(kind: type[IntEnum], **more: int) -> Kind:
    """Return the kind of ids: by name, or by number where there is none."""
    numbers = {member.name: int(member) for member in kind} | more
    names = {number: name for name, number in numbers.items()}
    return Kind(
        lambda value: names.get(value, str(value)),
        lambda text: numbers[text] if text in numbers else parse_int(text),
    )


def flags_of(kind: type[IntFlag]) -> Kind:
    """Return the kind of flags: names, and what has no name as a number."""
    names = {member.name or "": int(member) for member in kind}

    def show(value: int) -> str:
        rest = value & ~sum(names.values())
        words = [name for name, bit in names.items() if value & bit]
        return " ".join([*words, *([hex(rest)] if rest or not words else [])])

    def parse(text: str) -> int | None:
        total = 0
        for word in text.split():
            bits = names[word] if word in names else parse_int(word)
            if bits is None or bits < 0:
                return None
            total |= bits
        return total if text else None

    return Kind(show, parse)


def or_none(none: int) -> Kind:
    """Return the kind of indices where one number says that there is none."""
    return Kind(
        lambda value: "none" if value == none else str(value),
        lambda text: none if text == "none" else parse_int(text),
    )


DECIMAL = Kind(str, parse_int)
HEX = Kind(hex, parse_int)
REAL = Kind(_show_real, parse_real)
DTYPE = one_of(DType)


@dataclass(frozen=True)
class Bits:
    """Some bits of a word; `bias` is added to what is stored."""

    name: str
    width: int
    bias: int = 0
    auto: int | None = None


@dataclass
class Reader:
    """Takes fields from `data` and puts their lines into `out`; with `full` those of auto too."""

    data: Fields
    out: list[Node] = field(default_factory=list)
    full: bool = False

    def _line(self, name: str, text: str, auto: bool) -> None:
        if not auto:
            self.out.append(Node(f"{name} {text}"))
        elif self.full:
            self.out.append(Node(f"{name} {AUTO}", comment=text))

    def number(
        self, name: str, code: str, kind: Kind = DECIMAL, auto: int | None = None, bias: int = 0
    ) -> int:
        """Return a field of struct's type `code`."""
        value: int = struct.unpack("<" + code, self.data.take(struct.calcsize("<" + code)))[0]
        self._line(name, kind.show(value + bias), value + bias == auto)
        return value + bias

    def bits(self, code: str, parts: Sequence[Bits]) -> list[int]:
        """Return the fields of a word, lowest bits first."""
        (word,) = struct.unpack("<" + code, self.data.take(struct.calcsize("<" + code)))
        values = []
        for part in parts:
            value = (word & ((1 << part.width) - 1)) + part.bias
            word >>= part.width
            self._line(part.name, str(value), value == part.auto)
            values.append(value)
        return values

    def numbers(self, name: str, code: str, count: int, kind: Kind = DECIMAL) -> list[int]:
        """Return `count` fields of struct's type `code`."""
        raw = self.data.take(count * struct.calcsize("<" + code))
        values = [row[0] for row in struct.iter_unpack("<" + code, raw)]
        if values:
            self.out.append(words_node(name, [kind.show(value) for value in values]))
        return values

    def fixed(self, name: str, auto: bytes) -> bytes:
        """Return bytes that are `auto` unless something is wrong."""
        value = bytes(self.data.take(len(auto)))
        if value != auto:
            self.out.append(data_node(name, value))
        return value

    def rest(self, name: str = "rest") -> None:
        """Take what is left, for which there is no field."""
        if self.data.left:
            self.out.append(data_node(name, self.data.take(self.data.left)))

    def given(self, name: str, present: bool) -> bool:
        """Tell whether a part is there, and write its line."""
        if present:
            self.out.append(Node(name))
        return present

    def inside(self, name: str) -> Reader:
        """Return a reader whose lines stand below the line of `name`."""
        node = next((n for n in reversed(self.out) if n.key == name), None)
        if node is None:
            node = Node(name)
            self.out.append(node)
        return Reader(self.data, node.children, self.full)

    def attempt(self, parse: Callable[[], T]) -> T | None:
        """Return what `parse` does; where it fails, take what is left as `hex` and return None."""
        start, lines = self.data.pos, len(self.out)
        try:
            return parse()
        except CorruptError:
            self.data.pos = start
            del self.out[lines:]
            self.out.append(data_node("hex", self.data.take(self.data.left)))
            return None


@dataclass
class Writer:
    """Takes fields from the lines below `node` and puts their bytes into `out`."""

    node: Node
    out: bytearray = field(default_factory=bytearray)
    lines: dict[str, list[Node]] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    plain: set[str] = field(default_factory=set)  #: fields with nothing below their line

    def __post_init__(self) -> None:
        for child in self.node.children:
            self.lines.setdefault(child.key, []).append(child)

    def all(self, name: str) -> list[Node]:
        """Return the lines of `name`, which may be many."""
        self.used.add(name)
        return self.lines.get(name, [])

    def one(self, name: str) -> Node | None:
        """Return the line of `name`, None where there is none or it says `auto`."""
        found = self.all(name)
        if len(found) > 1:
            found[1].fail(f"{name!r} is already in line {found[0].number}")
        return found[0] if found and found[0].value != AUTO else None

    def done(self) -> None:
        """Raise ConvertError where a line was not asked for."""
        for name, nodes in self.lines.items():
            if name not in self.used:
                known = ", ".join(sorted(self.used))
                nodes[0].fail(f"no field {name[:40]!r} here; known are {known}")
            if name in self.plain and nodes[0].children:
                nodes[0].children[0].fail(f"nothing may stand below {name!r}")

    def _value(self, name: str, kind: Kind, auto: int | None) -> tuple[int, Node]:
        node = self.one(name)
        self.plain.add(name)
        if node is None:
            if auto is None:
                self.node.fail(f"{self.node.key!r} needs a line {name!r}")
            return auto, self.node
        value = kind.parse(node.value)
        if value is None:
            node.fail(f"{name!r} cannot be {node.value[:40]!r}")
        return value, node

    def value(self, name: str, auto: int) -> int:
        """Return the number of a line, `auto` without one."""
        return self._value(name, DECIMAL, auto)[0]

    def number(
        self, name: str, code: str, kind: Kind = DECIMAL, auto: int | None = None, bias: int = 0
    ) -> int:
        """Return a field of struct's type `code`; without a line it is `auto`."""
        value, node = self._value(name, kind, auto)
        self.out += pack(code, [value - bias], node)
        return value

    def bits(self, code: str, parts: Sequence[Bits]) -> list[int]:
        """Return the fields of a word, lowest bits first."""
        word, shift = 0, 0
        values = []
        for part in parts:
            value, node = self._value(part.name, DECIMAL, part.auto)
            if not 0 <= value - part.bias < 1 << part.width:
                node.fail(f"{part.name!r} cannot be {value}")
            word |= (value - part.bias) << shift
            shift += part.width
            values.append(value)
        self.out += struct.pack("<" + code, word)
        return values

    def numbers(self, name: str, code: str, count: int, kind: Kind = DECIMAL) -> list[int]:
        """Return as many fields of struct's type `code` as the line has."""
        values = self.words(name, kind)
        self.out += pack(code, values, self.one(name) or self.node)
        return values

    def words(self, name: str, kind: Kind = DECIMAL) -> list[int]:
        """Return the numbers of a line and the lines below it, none without a line."""
        node = self.one(name)
        return [] if node is None else numbers_of(node, kind)

    def fixed(self, name: str, auto: bytes) -> bytes:
        """Return the bytes of a line, `auto` without one."""
        node = self.one(name)
        value = auto if node is None else data_of(node)
        self.out += value
        return value

    def rest(self, name: str = "rest") -> None:
        """Add bytes for which there is no field."""
        self.fixed(name, b"")

    def given(self, name: str, present: bool) -> bool:
        """Tell whether a part is there."""
        return self.one(name) is not None

    def inside(self, name: str) -> Writer:
        """Return a writer of what stands below the line of `name`."""
        self.plain.discard(name)
        return Writer(self.one(name) or Node(name, [], self.node.number), self.out)

    def attempt(self, parse: Callable[[], T]) -> T | None:
        """Return what `parse` does, or None where the bytes are given as `hex`."""
        node = self.one("hex")
        result = None
        if node is None:
            result = parse()
        else:
            self.out += data_of(node)
        self.done()
        return result


Io = Union[Reader, Writer]


def numbers_of(node: Node, kind: Kind = DECIMAL) -> list[int]:
    """Return the numbers of a line and the lines below it."""
    values = []
    for text, number in rows_of(node):
        for word in text.split():
            value = kind.parse(word)
            if value is None:
                fail(number, f"{node.key!r} cannot hold {word[:40]!r}")
            values.append(value)
    return values


def pack(code: str, values: Sequence[int], node: Node) -> bytes:
    """Return numbers as fields of struct's type `code`; ConvertError where one does not fit."""
    try:
        return struct.pack(f"<{len(values)}{code}", *values)
    except struct.error:
        size = struct.calcsize("<" + code)
        node.fail(f"{node.key!r}: a number that does not fit {size} byte{'s'[: size - 1]}")
