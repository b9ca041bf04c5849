"""The text form of protocol buffers, as much of it as definitions of Caffe networks use.

A message is a list of fields, each a name and a value: a text, a number or word as it stands there,
or a message. Nothing is known of a schema. Sister file: caffe_net.py, which asks for what it needs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from dcformat.errors import ConvertError

MAX_BYTES = 1 << 22  #: of a text
_MAX_DEPTH = 32
_SIGNS = "{}<>:[]"
_CLOSING = {"{": "}", "<": ">"}
_TOKEN = re.compile(
    r"""(?P<space>[\s,;]+|\#[^\n]*)
      | (?P<text>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
      | (?P<word>[-+.\w/]+)
      | (?P<sign>[{}<>:\[\]])""",
    re.VERBOSE,
)


@dataclass(frozen=True)
class Message:
    """Fields in their order; the accessors give what a name has, wherever it stands."""

    fields: list[tuple[str, str | Message]] = field(default_factory=list)

    def messages(self, name: str) -> list[Message]:
        return [value for key, value in self.fields if key == name and isinstance(value, Message)]

    def message(self, name: str) -> Message:
        """Return the last message of this name, an empty one if there is none."""
        return (self.messages(name) or [Message()])[-1]

    def words(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key == name and isinstance(value, str)]

    def word(self, name: str, default: str = "") -> str:
        return (self.words(name) or [default])[-1]

    def counts(self, name: str) -> list[int]:
        """Return numbers from 0 to 2^31 - 1; ConvertError for what is none."""
        found = self.words(name)
        for word in found:
            if not re.fullmatch("[0-9]{1,10}", word) or int(word) >= 1 << 31:
                raise ConvertError(f"{name}: {word[:40]!r} is no count")
        return [int(word) for word in found]

    def count(self, name: str, default: int) -> int:
        return (self.counts(name) or [default])[-1]

    def flag(self, name: str, default: bool) -> bool:
        word = self.word(name, str(default).lower())
        if word not in ("true", "false"):
            raise ConvertError(f"{name}: {word[:40]!r} is neither true nor false")
        return word == "true"


def parse(data: bytes) -> Message:
    """Return the message that a text is; ConvertError with the line where it is none."""
    if len(data) > MAX_BYTES:
        raise ConvertError(f"{len(data):,} bytes, more than {MAX_BYTES:,}")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise ConvertError(f"not UTF-8 at byte {error.start}") from None
    parser = _Parser(text)
    try:
        return parser.message("", 0)
    except ConvertError as error:
        line = text.count("\n", 0, parser.at) + 1
        raise error.at(f"line {line}") from None


class _Parser:
    """Takes tokens one by one; `at` is the byte behind the last one."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.at = 0
        self._nexts = self._all()
        self._next = next(self._nexts)

    def _all(self) -> Iterator[str]:
        while self.at < len(self._text):
            match = _TOKEN.match(self._text, self.at)
            if match is None:
                raise ConvertError(f"unexpected {self._text[self.at]!r}")
            self.at = match.end()
            if match.lastgroup != "space":
                yield match.group()
        while True:
            yield ""

    def _take(self, wanted: str | None = None) -> str:
        token = self._next
        if wanted is not None and token != wanted:
            seen = repr(token[:40]) if token else "the end"
            raise ConvertError(f"{wanted!r} is missing before {seen}")
        self._next = next(self._nexts)
        return token

    def message(self, closing: str, depth: int) -> Message:
        """Return the fields up to `closing`, which is not taken."""
        if depth > _MAX_DEPTH:
            raise ConvertError("nested too deeply")
        found: list[tuple[str, str | Message]] = []
        while self._next != closing:
            name = self._take()
            if not re.fullmatch(r"[A-Za-z_]\w*", name):
                raise ConvertError(f"{name[:40]!r} is no name of a field" if name else "cut short")
            found.extend((name, value) for value in self._values(depth))
        return Message(found)

    def _values(self, depth: int) -> list[str | Message]:
        if self._next in _CLOSING:
            return [self._value(depth)]
        self._take(":")
        if self._next != "[":
            return [self._value(depth)]
        self._take()
        found = []
        while self._next != "]":
            found.append(self._value(depth))
        self._take()
        return found

    def _value(self, depth: int) -> str | Message:
        first = self._take()
        if first in _CLOSING:
            inner = self.message(_CLOSING[first], depth + 1)
            self._take()
            return inner
        if not first or first in _SIGNS:
            raise ConvertError(f"a value is missing before {first!r}" if first else "cut short")
        return first[1:-1] if first[0] in "\"'" else first
