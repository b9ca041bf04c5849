"""Lines and their indentation: the syntax of spec/TEXT.md, without what the lines mean."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NoReturn

from ..errors import ConvertError

FIRST_LINE = "dcformat text 1"
MAX_LINE = 1 << 20  #: bytes of a line; no line that `dump` writes is as long
MAX_DEPTH = 8
HEX_LINE = 32  #: bytes in a line of hex
WORDS_LINE = 88  #: characters in a line of numbers

_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_BARE = re.compile(r'(?:[^"#]|"(?:[^"\\]|\\.)*")*')
_ESCAPE = re.compile(rb'\\(?:x([0-9a-f]{2})|(["\\])|(.?))', re.DOTALL)


@dataclass
class Node:
    """One line without its comment, and the lines that are indented below it."""

    text: str
    children: list[Node] = field(default_factory=list)
    number: int = 0
    comment: str = ""

    @property
    def key(self) -> str:
        return self.text.partition(" ")[0]

    @property
    def value(self) -> str:
        return self.text.partition(" ")[2].strip()

    def fail(self, reason: str) -> NoReturn:
        """Raise ConvertError at this line."""
        fail(self.number, reason)


def fail(number: int, reason: str) -> NoReturn:
    """Raise ConvertError at line `number`."""
    raise ConvertError(reason, place=f"line {number}")


def parse_lines(lines: Iterable[bytes]) -> list[Node]:
    """Return the lines after the first one as a tree. Raises ConvertError with the line."""
    root = Node("")
    above = [root]
    number = 0
    for number, raw in enumerate(lines, 1):
        text = _text_of(raw, number)
        if number == 1:
            _check_first(text)
            continue
        if not text:
            continue
        bare = text.lstrip(" ")
        depth, odd = divmod(len(text) - len(bare), 2)
        if odd or depth >= len(above) or depth >= MAX_DEPTH:
            fail(number, "indentation: two spaces a level, one level at a time")
        node = Node(bare, [], number)
        del above[depth + 1 :]
        above[depth].children.append(node)
        above.append(node)
    if not number:
        _check_first("")
    return root.children


def _check_first(text: str) -> None:
    if text != FIRST_LINE:
        fail(1, f"the first line is not {FIRST_LINE!r}")


def _text_of(raw: bytes, number: int) -> str:
    """Return a line without comment, line end and spaces at its end."""
    if len(raw) > MAX_LINE:
        fail(number, f"line of more than {MAX_LINE} bytes")
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        fail(number, "not UTF-8")
    if "#" in text or '"' in text:
        bare = _BARE.match(text)
        end = bare.end() if bare else 0
        text, rest = text[:end], text[end:]
        if rest.startswith('"'):
            fail(number, "a quoted value without its end")
    text = text.rstrip(" \r\n")
    if not text.lstrip(" "):
        return ""
    if "\t" in text:
        fail(number, "a tab; indentation is spaces")
    return text


def print_lines(nodes: Iterable[Node], depth: int = 0) -> Iterator[str]:
    """Yield the lines of a tree, each with its line end."""
    for node in nodes:
        comment = f"  # {node.comment}" if node.comment else ""
        yield f"{'  ' * depth}{node.text}{comment}\n"
        yield from print_lines(node.children, depth + 1)


def data_node(key: str, data: bytes | memoryview) -> Node:
    """Return a line with bytes in hex, which go on below it where they are many."""
    view = memoryview(data)
    rows = [view[i : i + HEX_LINE].hex(" ", -4) for i in range(0, len(view), HEX_LINE)]
    return _long(key, rows)


def words_node(key: str, words: list[str]) -> Node:
    """Return a line with words, which go on below it where they are many."""
    rows: list[str] = []
    row: list[str] = []
    size = 0
    for word in words:
        if row and size + len(word) > WORDS_LINE:
            rows.append(" ".join(row))
            row, size = [], 0
        row.append(word)
        size += len(word) + 1
    return _long(key, [*rows, " ".join(row)] if row else [])


def _long(key: str, rows: list[str]) -> Node:
    if len(rows) <= 1:
        return Node(" ".join([key, *rows]))
    return Node(key, [Node(row) for row in rows])


def rows_of(node: Node) -> Iterator[tuple[str, int]]:
    """Yield the value of a line and the lines below it, each with its number."""
    if node.value:
        yield node.value, node.number
    for child in node.children:
        if child.children:
            child.children[0].fail("indented below a line of data")
        yield child.text, child.number


def data_of(node: Node) -> bytes:
    """Return the bytes of a line of hex and the lines below it."""
    pieces = []
    for text, number in rows_of(node):
        try:
            pieces.append(bytes.fromhex(text))
        except ValueError:
            fail(number, f"not bytes in hex: {text[:40]!r}")
    return b"".join(pieces)


def quote(raw: bytes) -> str:
    """Return bytes as a quoted string: what is UTF-8 and can be seen as itself, else \\xNN."""
    return f'"{"".join(_shown(c) for c in raw.decode(errors="surrogateescape"))}"'


def _shown(char: str) -> str:
    if char in '"\\':
        return "\\" + char
    # the frozen tables of Unicode 3.2, so that every Python escapes the same characters
    seen = unicodedata.ucd_3_2_0.category(char)[0] in "LMNPS"
    if char == " " or seen:
        return char
    return "".join(f"\\x{b:02x}" for b in char.encode(errors="surrogateescape"))


def unquote(node: Node, text: str) -> bytes:
    """Return the bytes of a quoted string, which is all of `text`."""
    found = _QUOTED.fullmatch(text)
    if found is None:
        node.fail(f"not a quoted string: {text[:40]!r}")

    def plain(escape: re.Match[bytes]) -> bytes:
        if escape[3] is not None:
            node.fail('an escape that is not \\xNN, \\" or \\\\')
        return bytes.fromhex(escape[1].decode()) if escape[1] else escape[2]

    return _ESCAPE.sub(plain, found[1].encode())
