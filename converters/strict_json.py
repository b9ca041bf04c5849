"""JSON of foreign files, read so that it means one thing and takes no more memory than its size.

RFC 8259 leaves open what two keys of one name mean, and a list of empty lists takes twenty times
the memory of its text. Sister files: read_safetensors.py, shards.py.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from dcformat.errors import ConvertError

from .weights import shown

MAX_TEXTS = 1 << 16  #: entries of what a file says of itself


@dataclass(frozen=True)
class Counts:
    """How many objects, lists and commas a text has, inside strings not counted."""

    objects: int
    lists: int
    commas: int


def count(text: bytes) -> Counts:
    """Count what takes memory, before any is taken."""
    plain = text.replace(rb"\\", b"").replace(rb"\"", b"")  # now quotes are ends of strings
    signs = np.frombuffer(plain, np.uint8)
    outside = ~np.logical_xor.accumulate(signs == ord('"'))

    def times(sign: str) -> int:
        return int(np.count_nonzero((signs == ord(sign)) & outside))

    return Counts(times("{"), times("["), times(","))


def parse(text: bytes) -> Any:
    """Return what `text` says. ConvertError where it is no JSON, or a key stands there twice."""
    try:
        return json.loads(text.decode(), object_pairs_hook=_object, parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise ConvertError(f"not UTF-8 at byte {error.start}") from None
    except RecursionError:
        raise ConvertError("nested too deeply") from None
    except ValueError as error:  # JSONDecodeError, or a number of thousands of digits
        raise ConvertError(f"not valid: {_first_line(error)}") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ConvertError(f"the key {shown(twice)} stands in it twice")
    return found


def _refuse_constant(word: str) -> Any:
    raise ConvertError(f"not valid: {word} is no number of JSON")


def _first_line(error: Exception) -> str:
    return str(error).split("\n", 1)[0]


def parse_texts(text: bytes) -> dict[str, str]:
    """Return the strings of an object that holds nothing else, in its order."""
    found = count(text)
    if found.objects > 1 or found.lists or found.commas > MAX_TEXTS:
        raise ConvertError(f"not an object of at most {MAX_TEXTS} strings")
    said = parse(text)
    if not isinstance(said, dict) or not all(isinstance(value, str) for value in said.values()):
        raise ConvertError("not an object of strings")
    try:
        "".join([*said, *said.values()]).encode()
    except UnicodeEncodeError:
        raise ConvertError("not UTF-8") from None
    return said
