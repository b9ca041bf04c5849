"""What an audit is compared with: a .dcf, or what dcaudit --json printed of one.

Sister: dcformat/audit_diff.py. Of a document only what the comparison needs is read, and checked.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from dcformat.audit import audit
from dcformat.audit_diff import Part, Side, side_of
from dcformat.audit_report import PURPOSES
from dcformat.converters.strict_json import parse
from dcformat.errors import Code, ConvertError, DcfError, error_of
from dcformat.file import load
from dcformat.ids import MAGIC
from dcformat.tools._audit_foreign import uses_of
from dcformat.tools._audit_json import SCHEMA

_MAX_FILE = 1 << 30


def read_baseline(path: str, split: bool) -> Side:
    """Return the side that a file holds. Raises DcfError; `split` is --split-shared."""
    head = _head(path)
    if head == MAGIC:
        file = load(path)
        return side_of(audit(file, uses_of(file), split_shared=split), path)
    if head[:1] != b"{":
        reason = "a baseline is a .dcf, or what dcaudit --json printed of one; this is neither"
        raise ConvertError(reason, place=path)
    try:
        return _side(parse(Path(path).read_bytes()), path, split)
    except DcfError as error:
        raise error.at(path) from None


def _head(path: str) -> bytes:
    try:
        with Path(path).open("rb") as stream:
            head = stream.read(len(MAGIC))
        if Path(path).stat().st_size > _MAX_FILE and head != MAGIC:
            raise ConvertError(f"above {_MAX_FILE} bytes", place=path)
    except OSError as error:
        raise ConvertError(f"cannot read: {error.strerror}", place=path) from error
    return head


def _side(doc: Any, path: str, split: bool) -> Side:
    if not isinstance(doc, dict) or doc.get("command") != "dcaudit":
        raise ConvertError("JSON, but not of dcaudit --json")
    _check_version(doc.get("schema"))
    if doc.get("status") == "error":
        raise ConvertError(f"holds no audit, but an error: {doc.get('error')}")
    try:
        _check_split(doc, split)
        frame: Counter[str] = Counter()
        for row in doc["frame"]:
            frame[_purpose(row["purpose"])] += _size(row["bytes"])
        parts = tuple(map(_part, doc["tensors"]))
        size = _size(doc["file"]["bytes"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConvertError(f"not a whole document of dcaudit: {error!r}") from error
    if size != sum(frame.values()) + sum(part.bytes for part in parts):
        raise ConvertError("its rows do not sum to its file")
    return Side(path, size, parts, frame)


def _check_version(stated: object) -> None:
    """Refuse another major version, and a newer minor one."""
    known = [int(n) for n in SCHEMA.split(".")]
    words = stated.split(".") if isinstance(stated, str) else []
    if len(words) != 2 or not all(word.isascii() and word.isdigit() for word in words):
        raise ConvertError("says no version of its schema")
    major, minor = int(words[0]), int(words[1])
    if major != known[0] or minor > known[1]:
        message = f"schema {major}.{minor}; this dcaudit knows {SCHEMA}"
        raise error_of(Code.VERSION, message)


def _check_split(doc: Any, split: bool) -> None:
    """Refuse a document whose shared tables stand where those of the other side do not.

    Before schema 1.2 it is not stated; a shared table in a row of its own tells it then.
    """
    shared = [row for row in doc["frame"] if row["table"] is not None and row["users"]]
    if doc.get("split_shared", split and not shared) != split:
        word = "without" if split else "with"
        raise ConvertError(f"was made {word} --split-shared: give both sides the same")


def _part(row: Any) -> Part:
    purposes = {_purpose(key): _size(value) for key, value in row["purposes"].items()}
    shape = tuple(_size(n) for n in row["shape"])
    name, content, dtype = _text(row["name"]), row["content"], row["dtype"]
    if name is None:
        raise TypeError("name")
    return Part(name, _text(row["layer"]) or name, _text(dtype), shape, _text(content), purposes)


def _purpose(value: object) -> str:
    if value not in PURPOSES:
        raise ValueError(f"purpose {value}")
    return str(value)


def _size(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise TypeError(f"size {value}")
    return value


def _text(value: object) -> str | None:
    if value is not None and not isinstance(value, str):
        raise TypeError(f"text {value}")
    return value
