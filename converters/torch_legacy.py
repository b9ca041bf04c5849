"""The layout of torch.save before 1.6: five pickles one after the other, then raw storages.

    magic number 0x1950a86a20f9469cfc6c · protocol 1001 · system information · the saved value ·
    list of storage keys · of each key in that order: u64 elements, then the elements

The system information says whether the writer was little-endian, and says nothing of the storages:
torch wrote and read them little-endian on every machine.

The layout before that, a tar archive, is not read.

Spec: torch/serialization.py (_legacy_save), torch/csrc/serialization.cpp
Sister: converters/read_torch.py
"""

from __future__ import annotations

from dcformat.errors import ConvertError

from .torch_pickle import Bytes, kind, unpickle
from .torch_values import Table, Value
from .torch_words import TorchWords
from .weights import shown

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
_SHORT = 1000  # instructions of a pickle that only says what the file is


def read_legacy(source: Bytes) -> tuple[Value, dict[str, tuple[int, int]]]:
    """Return the saved value, and of each storage where its elements begin and their bytes."""
    words = TorchWords()
    magic, place = unpickle(source, words, 0, "the first pickle", _SHORT)
    if type(magic) is not int or magic != MAGIC:
        raise ConvertError("a pickle, but not one of torch.save: it has no magic number")
    protocol, place = unpickle(source, words, place, "the protocol's pickle", _SHORT)
    if type(protocol) is not int or protocol != PROTOCOL:
        raise ConvertError(f"its protocol is {kind(protocol)}, not {PROTOCOL}")
    system, place = unpickle(source, words, place, "the system's pickle", _SHORT)
    if not isinstance(system, Table):
        raise ConvertError(f"its system information is {kind(system)}, not a dict")
    words = TorchWords()
    value, place = unpickle(source, words, place, "the saved pickle", len(source))
    keys, place = unpickle(source, words, place, "the pickle of storage keys", len(source))
    return value, _storages(source, words, keys, place)


def _storages(
    source: Bytes, words: TorchWords, keys: Value, place: int
) -> dict[str, tuple[int, int]]:
    if not isinstance(keys, list):
        raise ConvertError(f"its storage keys are {kind(keys)}, not a list")
    found: dict[str, tuple[int, int]] = {}
    for key in keys:
        if not isinstance(key, str) or key not in words.storages:
            raise ConvertError("it has a storage that no tensor names")
        if key in found:
            raise ConvertError(f"storage {shown(key)} is there twice")
        storage = words.storages[key]
        count = int.from_bytes(source[place : place + 8], "little")
        size = count * storage.width
        if place + 8 + size > len(source):
            raise ConvertError(f"storage {shown(key)} ends behind the file: it is cut short")
        if count != storage.elements:
            stated = f"{storage.elements} elements in the pickle, {count} in the file"
            raise ConvertError(f"storage {shown(key)} has {stated}")
        found[key] = place + 8, size
        place += 8 + size
    if place != len(source):
        raise ConvertError(f"{len(source) - place} bytes behind the last storage")
    return found
