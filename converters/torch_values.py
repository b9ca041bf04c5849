"""What a pickle of torch may hold: plain values, and these. Nothing here can run anything.

A pickle names classes and functions and asks that they be called. Here a name is looked up in a
table of words; behind a word stands a function of this project that checks the arguments and
returns one of these values. A word that is not in the table is refused.

Sisters: converters/torch_pickle.py (the machine), converters/torch_words.py (the table)
"""

from __future__ import annotations

from dataclasses import dataclass, field

from dcformat.ids import DType

#: None, bool, int, float, str, bytes, tuple, list, and the classes of this module.
Value = object


@dataclass(frozen=True, slots=True)
class Word:
    """A class or function that a pickle names and that the table has."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(eq=False, slots=True)
class Table:
    """A dict as its pairs, in order: keys need not be hashed, nor trusted to be equal."""

    items: list[tuple[Value, Value]] = field(default_factory=list)
    takes_state: bool = False  #: an OrderedDict, which may have attributes (`_metadata`)


@dataclass(eq=False, slots=True)
class Inert:
    """Something whose content does not matter here: a NumPy array, a long text, a set.

    `parts` is what it was made of: there may be tensors in it, which are counted.
    """

    what: str
    parts: list[Value] = field(default_factory=list)
    takes_state: bool = False


@dataclass(frozen=True, eq=False, slots=True)
class Unreadable:
    """A tensor that cannot be read, and why; an error only if it belongs to the model."""

    reason: str


@dataclass(frozen=True, slots=True)
class Storage:
    """Numbers that stand elsewhere in the file, under `key`; `dtype` is None for plain bytes.

    `fault` says why they cannot be read. A view of a storage, in legacy files, has the elements
    from `first` up to but without `end`; of others that is all of them.
    """

    key: str
    dtype: DType | None
    elements: int
    width: int
    location: str
    end: int
    fault: str = ""
    first: int = 0


@dataclass(frozen=True, eq=False, slots=True)
class View:
    """A tensor: elements of a storage, `stride` of them apart along each axis."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: DType


@dataclass(eq=False, slots=True)
class Script:
    """An object of TorchScript: the name of its class and, once built, its state."""

    of: str
    state: Value = None
    built: bool = False
