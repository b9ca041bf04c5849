"""A machine for the pickles that torch writes. It can build containers and nothing else.

Python's own unpickler imports and calls what a pickle names. This one has no way to: it knows the
instructions that build numbers, texts, tuples, lists and dicts, and hands names, calls and
references to storages to a table of words (torch_words.py), which refuses what it does not know.
Every other instruction is refused by name: INST, OBJ, EXT1 to EXT4, NEWOBJ_EX, buffers, and those
of protocol 0, in which torch cannot save.

Bounds: a size is compared with the bytes that are left before anything is made of it; an
instruction makes one value at most, and containers, which take hundreds of bytes each and are made
by one, are counted; there is no recursion. Texts and bytes above 64 KiB are passed over, not kept.

Spec: the comments of pickletools.py.    Sister: converters/torch_values.py
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Protocol

from dcformat.errors import ConvertError

from .torch_values import Inert, Script, Storage, Table, Unreadable, Value, View, Word
from .weights import shown

MAX_STEPS = 1 << 22  #: instructions of a pickle
_MAX_LINE = 512  # bytes of a module's or class's name
_MAX_KEPT = 1 << 16  # bytes of a text that is kept
_MAX_NUMBER = 1024  # bytes of an integer
_FREE, _BYTES_EACH = 1 << 16, 8  # containers of any pickle, and bytes of the file for one more
_MAKES = frozenset(bytes([n]) for n in b"t\x85\x86\x87]l}d\x8f\x91RQ\x81")  # containers

#: Instructions that are known and refused.
_REFUSED = {
    b"i": "INST", b"o": "OBJ", b"\x82": "EXT1", b"\x83": "EXT2", b"\x84": "EXT4",
    b"\x92": "NEWOBJ_EX", b"\x97": "NEXT_BUFFER", b"\x98": "READONLY_BUFFER", b"P": "PERSID",
    b"I": "INT", b"L": "LONG", b"F": "FLOAT", b"S": "STRING", b"V": "UNICODE", b"g": "GET",
    b"p": "PUT",
}  # fmt: skip


class Bytes(Protocol):
    """What a pickle is read from: bytes, or a file that gives slices."""

    def __len__(self) -> int: ...
    def __getitem__(self, part: slice, /) -> bytes: ...


class Words(Protocol):
    """What gives names, calls and references a meaning; each may raise ConvertError."""

    def named(self, module: str, name: str) -> Value:
        """Return what stands for a class or function."""

    def called(self, function: Value, arguments: Value) -> Value:
        """Return what REDUCE gives."""

    def made(self, cls: Value, arguments: Value) -> Value:
        """Return what NEWOBJ gives."""

    def built(self, instance: Value, state: Value) -> None:
        """Give `instance` the state of BUILD."""

    def found(self, reference: Value) -> Value:
        """Return what a persistent id refers to."""


def unpickle(
    source: Bytes, words: Words, start: int = 0, what: str = "pickle", most: int = MAX_STEPS
) -> tuple[Value, int]:
    """Return the value of the pickle at `start`, and where it ends.

    `most` is how many instructions it may have, up to MAX_STEPS: the bytes of the file, about.
    Raises ConvertError, which names `what`, the byte and the reason.
    """
    machine = Machine(source, words, start, min(most, MAX_STEPS))
    machine.room = _FREE + most // _BYTES_EACH
    try:
        return machine.run(), machine.place
    except ConvertError as error:
        message = f"{what}, byte {machine.begun}: {error.message}"
        raise ConvertError(message) from error.__cause__


class Machine:
    """The state of one run: a stack with marks, a memo, a place."""

    def __init__(self, source: Bytes, words: Words, start: int, most: int) -> None:
        self.source, self.words, self.place, self.begun = source, words, start, start
        self.most, self.room = most, _FREE
        self.stack: list[Value] = []
        self.marks: list[int] = []
        self.memo: dict[int, Value] = {}

    def run(self) -> Value:
        """Follow instructions until STOP; return what is left on the stack."""
        for _ in range(self.most):
            self.begun = self.place
            code = self.take(1)
            if code == b".":
                return self._last()
            step = _STEPS.get(code)
            if step is None:
                raise ConvertError(f"instruction {_REFUSED.get(code, code.hex())} is refused")
            if code in _MAKES:
                self.made()
            step(self)
        raise ConvertError(f"it has more than {self.most} instructions")

    def made(self) -> None:
        """Count a container; ConvertError where there are too many for the file's size."""
        self.room -= 1
        if self.room < 0:
            raise ConvertError("it makes too many containers for the size of the file")

    def _last(self) -> Value:
        if self.marks or len(self.stack) != 1:
            raise ConvertError(f"it ends with {len(self.stack)} values on the stack, not one")
        return self.stack[0]

    def take(self, size: int) -> bytes:
        """Return the next `size` bytes; sizes are compared before anything is read."""
        self.need(size)
        data = self.source[self.place : self.place + size]
        self.place += size
        return data

    def need(self, size: int) -> None:
        """Raise ConvertError where fewer than `size` bytes are left."""
        left = len(self.source) - self.place
        if size > left:
            raise ConvertError(f"it needs {size} bytes more, {left} are left: cut short")

    def number(self, form: str) -> int:
        """Return the next integer, of a format of `struct`."""
        size = struct.calcsize(form)
        return int(struct.unpack(form, self.take(size))[0])

    def counted(self, form: str) -> bytes | None:
        """Return the bytes that follow their count; None where they are too many to keep."""
        size = self.number(form)
        if size < 0:
            raise ConvertError(f"a length of {size}")
        if size <= _MAX_KEPT:
            return self.take(size)
        self.need(size)
        self.place += size
        return None

    def line(self) -> str:
        """Return the text up to the next line end."""
        head = self.source[self.place : min(self.place + _MAX_LINE, len(self.source))]
        end = head.find(b"\n")
        if end < 0:
            raise ConvertError("a name without an end")
        self.place += end + 1
        return _text(head[:end])

    def push(self, value: Value) -> None:
        """Put `value` on the stack."""
        self.stack.append(value)

    def pop(self) -> Value:
        """Take the top of the stack, which must be above the last mark."""
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise ConvertError("it takes a value from an empty stack")
        return self.stack.pop()

    def top(self) -> Value:
        """Return the top of the stack, and leave it there."""
        self.push(value := self.pop())
        return value

    def since_mark(self) -> list[Value]:
        """Take everything above the last mark, and the mark."""
        if not self.marks:
            raise ConvertError("it has no mark")
        start = self.marks.pop()
        values = self.stack[start:]
        del self.stack[start:]
        return values

    def put(self, index: int) -> None:
        """Remember the top of the stack."""
        self.memo[index] = self.top()

    def get(self, index: int) -> None:
        """Push what was remembered."""
        if index not in self.memo:
            raise ConvertError(f"it has not remembered value {index}")
        self.push(self.memo[index])


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        raise ConvertError("a text that is not UTF-8") from error


def _protocol(machine: Machine) -> None:
    if (version := machine.number("<B")) > 5:
        raise ConvertError(f"protocol {version} is not known")


def _frame(machine: Machine) -> None:
    machine.need(machine.number("<Q"))


def _pop(machine: Machine) -> None:
    if machine.marks and len(machine.stack) == machine.marks[-1]:
        machine.marks.pop()
    else:
        machine.pop()


def _mark(machine: Machine) -> None:
    machine.marks.append(len(machine.stack))


def _integer(size: int) -> Callable[[Machine], None]:
    """LONG1 and LONG4: two's complement, little-endian."""

    def step(machine: Machine) -> None:
        length = machine.number("<B" if size == 1 else "<i")
        if not 0 <= length <= _MAX_NUMBER:
            raise ConvertError(f"an integer of {length} bytes")
        machine.push(int.from_bytes(machine.take(length), "little", signed=True))

    return step


def _unicode(form: str) -> Callable[[Machine], None]:
    def step(machine: Machine) -> None:
        raw = machine.counted(form)
        machine.push(Inert("a long text") if raw is None else _text(raw))

    return step


def _bytes(form: str) -> Callable[[Machine], None]:
    def step(machine: Machine) -> None:
        raw = machine.counted(form)
        machine.push(Inert("long bytes") if raw is None else bytes(raw))

    return step


def _string(form: str) -> Callable[[Machine], None]:
    """Texts of Python 2: torch reads them as UTF-8; what is none is left as bytes."""

    def step(machine: Machine) -> None:
        raw = machine.counted(form)
        if raw is None:
            machine.push(Inert("long bytes"))
            return
        try:
            machine.push(raw.decode("utf-8"))
        except UnicodeDecodeError:
            machine.push(bytes(raw))

    return step


def _tuple(size: int) -> Callable[[Machine], None]:
    def step(machine: Machine) -> None:
        machine.push(tuple([machine.pop() for _ in range(size)][::-1]))

    return step


def _append(machine: Machine) -> None:
    value = machine.pop()
    _extend(machine, [value])


def _extend(machine: Machine, values: list[Value]) -> None:
    target = machine.top()
    if not isinstance(target, list):
        raise ConvertError(f"it appends to {kind(target)}, which is no list")
    target.extend(values)


def _setitem(machine: Machine) -> None:
    value, key = machine.pop(), machine.pop()
    _update(machine, [key, value])


def _update(machine: Machine, values: list[Value]) -> None:
    target = machine.top()
    if not isinstance(target, Table):
        raise ConvertError(f"it sets items of {kind(target)}, which is no dict")
    target.items.extend(_pairs(values))


def _pairs(values: list[Value]) -> list[tuple[Value, Value]]:
    if len(values) % 2:
        raise ConvertError("a key without a value")
    return list(zip(values[::2], values[1::2], strict=True))


def _additems(machine: Machine) -> None:
    values, target = machine.since_mark(), machine.top()
    if not isinstance(target, Inert) or target.what != "a set":
        raise ConvertError(f"it adds to {kind(target)}, which is no set")
    target.parts.extend(values)


def _stack_global(machine: Machine) -> None:
    name, module = machine.pop(), machine.pop()
    if not isinstance(module, str) or not isinstance(name, str):
        raise ConvertError(f"a global named by {kind(module)} and {kind(name)}, not by texts")
    machine.push(machine.words.named(module, name))


def _reduce(machine: Machine) -> None:
    arguments, function = machine.pop(), machine.pop()
    machine.push(machine.words.called(function, arguments))


def _newobj(machine: Machine) -> None:
    arguments, cls = machine.pop(), machine.pop()
    machine.push(machine.words.made(cls, arguments))


def _build(machine: Machine) -> None:
    state = machine.pop()
    machine.words.built(machine.top(), state)


_NAMES = {
    type(None): "None", bool: "a bool", int: "an integer", float: "a float", str: "a text",
    bytes: "bytes", tuple: "a tuple", list: "a list", Table: "a dict", View: "a tensor",
    Unreadable: "a tensor", Storage: "a storage", Script: "an object of TorchScript",
}  # fmt: skip


def kind(value: Value) -> str:
    """Say what a value is, for errors."""
    if isinstance(value, Inert):
        return value.what
    if isinstance(value, Word):
        return shown(str(value))
    return _NAMES[type(value)]


_STEPS: dict[bytes, Callable[[Machine], None]] = {
    b"\x80": _protocol,
    b"\x95": _frame,
    b"(": _mark,
    b"0": _pop,
    b"1": lambda m: m.since_mark().clear(),
    b"2": lambda m: m.push(m.top()),
    b"N": lambda m: m.push(None),
    b"\x88": lambda m: m.push(True),
    b"\x89": lambda m: m.push(False),
    b"J": lambda m: m.push(m.number("<i")),
    b"K": lambda m: m.push(m.number("<B")),
    b"M": lambda m: m.push(m.number("<H")),
    b"\x8a": _integer(1),
    b"\x8b": _integer(4),
    b"G": lambda m: m.push(struct.unpack(">d", m.take(8))[0]),
    b"X": _unicode("<I"),
    b"\x8c": _unicode("<B"),
    b"\x8d": _unicode("<Q"),
    b"T": _string("<i"),
    b"U": _string("<B"),
    b"B": _bytes("<I"),
    b"C": _bytes("<B"),
    b"\x8e": _bytes("<Q"),
    b"\x96": _bytes("<Q"),
    b")": lambda m: m.push(()),
    b"t": lambda m: m.push(tuple(m.since_mark())),
    b"\x85": _tuple(1),
    b"\x86": _tuple(2),
    b"\x87": _tuple(3),
    b"]": lambda m: m.push([]),
    b"l": lambda m: m.push(m.since_mark()),
    b"a": _append,
    b"e": lambda m: _extend(m, m.since_mark()),
    b"}": lambda m: m.push(Table()),
    b"d": lambda m: m.push(Table(_pairs(m.since_mark()))),
    b"s": _setitem,
    b"u": lambda m: _update(m, m.since_mark()),
    b"\x8f": lambda m: m.push(Inert("a set")),
    b"\x90": _additems,
    b"\x91": lambda m: m.push(Inert("a frozen set", m.since_mark())),
    b"q": lambda m: m.put(m.number("<B")),
    b"r": lambda m: m.put(m.number("<I")),
    b"\x94": lambda m: m.put(len(m.memo)),
    b"h": lambda m: m.get(m.number("<B")),
    b"j": lambda m: m.get(m.number("<I")),
    b"c": lambda m: m.push(m.words.named(m.line(), m.line())),
    b"\x93": _stack_global,
    b"R": _reduce,
    b"\x81": _newobj,
    b"b": _build,
    b"Q": lambda m: m.push(m.words.found(m.pop())),
}  # fmt: skip
