"""ONNX on the wire: find the tensors of a ModelProto in its bytes, cut data out, put it back.

Spec: spec/DCF.md, section GRAPH. Sister files: dcformat/graph.py (how holes are stored),
onnx_data.py (what stands in them). Nothing is parsed into objects and serialised again: bytes
that are not data, nor the length of a message around it, are never touched.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from itertools import pairwise
from typing import Any, NamedTuple, Protocol, Union

from dcformat.errors import ConvertError, CorruptError
from dcformat.graph import DATA_FIELDS
from dcformat.ids import MAX_TENSORS

MAX_DEPTH = 100  # the limit of protobuf's own parsers
MAX_BYTES = (1 << 31) - 1  # of a serialised protobuf message

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5

SEGMENT, STRING_DATA, EXTERNAL_DATA, DATA_LOCATION = 3, 6, 13, 14
_KEPT_FIELDS = DATA_FIELDS | {SEGMENT, STRING_DATA, EXTERNAL_DATA, DATA_LOCATION}
_MAX_KEPT = 32

#: Numbers of the fields that hold an initializer, or an attribute's tensors: not sparse ones.
DENSE_STEPS = frozenset({5, 10})
_TRAINING = 20

_HEAD = 20  # bytes of a tag and a number, at most

#: Way from the ModelProto to a message: () or (way to the parent, (field number, index among the
#: parent's fields of that number)). Linked, so that a deep message costs no more than a flat one.
Path = tuple[Any, ...]


class Source(Protocol):
    """Bytes that are sliced: `bytes`, or a file that is read where it lies."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> bytes: ...


class Kind(Enum):
    """Message types that hold tensors."""

    MODEL = auto()
    GRAPH = auto()
    NODE = auto()
    ATTRIBUTE = auto()
    FUNCTION = auto()
    TRAINING = auto()
    SPARSE = auto()
    TENSOR = auto()


_REPEATED = {
    Kind.MODEL: {_TRAINING: Kind.TRAINING, 25: Kind.FUNCTION},
    Kind.GRAPH: {1: Kind.NODE, 5: Kind.TENSOR, 15: Kind.SPARSE},
    Kind.NODE: {5: Kind.ATTRIBUTE},
    Kind.ATTRIBUTE: {10: Kind.TENSOR, 11: Kind.GRAPH, 23: Kind.SPARSE},
    Kind.FUNCTION: {7: Kind.NODE, 11: Kind.ATTRIBUTE},
}
_SINGLE = {
    Kind.MODEL: {7: Kind.GRAPH},
    Kind.ATTRIBUTE: {5: Kind.TENSOR, 6: Kind.GRAPH, 22: Kind.SPARSE},
    Kind.TRAINING: {1: Kind.GRAPH, 2: Kind.GRAPH},
    Kind.SPARSE: {1: Kind.TENSOR, 2: Kind.TENSOR},
}
_CHILDREN = {kind: _REPEATED.get(kind, {}) | _SINGLE.get(kind, {}) for kind in Kind}


class Field(NamedTuple):
    """One field on the wire: its tag starts at `start`, its value is bytes `value` to `end`."""

    number: int
    wire: int
    start: int
    value: int
    end: int


@dataclass(frozen=True)
class Message:
    """A message with a length: the prefix at `prefix`, the content from `start` to `end`."""

    parent: int  # index of the enclosing message, -1 for the ModelProto
    prefix: int
    start: int
    end: int


@dataclass(frozen=True)
class Found:
    """A TensorProto: where it is, and its fields that hold or locate data.

    `crowded` says that there are more of those fields than any writer makes; they are not listed.
    """

    parent: Path
    step: tuple[int, int]
    message: int
    fields: tuple[Field, ...]
    crowded: bool

    @property
    def path(self) -> Path:
        return (self.parent, self.step)


@dataclass(frozen=True)
class Scan:
    """The TensorProtos of a file in order of their bytes, and the messages around them."""

    messages: list[Message]
    tensors: list[Found]


@dataclass(slots=True)
class _Frame:
    kind: Kind
    step: tuple[int, int]
    prefix: int
    start: int
    end: int
    index: int = -2  # of its Message; -2: not recorded yet
    path: Path = ()
    counts: dict[int, int] = field(default_factory=dict)
    fields: list[Field] = field(default_factory=list)
    crowded: bool = False


def scan(source: Source) -> Scan:
    """Find every TensorProto of the ModelProto `source`, in linear time.

    Raises ConvertError naming the byte where the bytes cannot be a ModelProto.
    """
    result = Scan([], [])
    frames = [_Frame(Kind.MODEL, (0, 0), 0, 0, len(source), index=-1)]
    position = 0
    while frames:
        frame = frames[-1]
        if position == frame.end:
            if frame.kind is Kind.TENSOR:
                _record_tensor(frames, result)
            frames.pop()
            continue
        found = read_field(source, position, frame.end)
        child = _CHILDREN[frame.kind].get(found.number) if found.wire == BYTES else None
        if child is not None:
            if len(frames) >= MAX_DEPTH:
                raise ConvertError(f"messages nested deeper than {MAX_DEPTH}, at byte {position}")
            frames.append(_enter(source, frame, child, found))
            position = found.value
            continue
        if frame.kind is Kind.TENSOR and found.number in _KEPT_FIELDS:
            _keep(frame, found)
        position = found.end
    return result


def _enter(source: Source, frame: _Frame, kind: Kind, found: Field) -> _Frame:
    index = frame.counts.get(found.number, 0)
    if index and found.number in _SINGLE.get(frame.kind, {}):
        raise ConvertError(
            f"field {found.number} stands twice in one message, at byte {found.start}"
        )
    frame.counts[found.number] = index + 1
    head = source[found.start : found.value]
    prefix = found.start + read_varint(head, 0)[1]
    return _Frame(kind, (found.number, index), prefix, found.value, found.end)


def _keep(frame: _Frame, found: Field) -> None:
    if len(frame.fields) < _MAX_KEPT:
        frame.fields.append(found)
    else:
        frame.crowded = True


def _record_tensor(frames: list[_Frame], result: Scan) -> None:
    if len(result.tensors) >= MAX_TENSORS:
        raise ConvertError(f"more than {MAX_TENSORS} tensors")
    new = len(frames) - 1
    while frames[new - 1].index == -2:
        new -= 1
    for outer, inner in pairwise(frames[new - 1 :]):
        inner.index = len(result.messages)
        inner.path = (outer.path, inner.step)
        result.messages.append(Message(outer.index, inner.prefix, inner.start, inner.end))
    tensor = frames[-1]
    result.tensors.append(
        Found(frames[-2].path, tensor.step, tensor.index, tuple(tensor.fields), tensor.crowded)
    )


def read_field(source: Source, start: int, end: int) -> Field:
    """Return the field at `start` of a message that ends at `end`, or raise ConvertError."""
    head = source[start : min(start + _HEAD, end)]
    tag, place = read_varint(head, 0, start)
    number, wire = tag >> 3, tag & 7
    if not 0 < number < 1 << 29:
        raise ConvertError(f"field number {number} is impossible, at byte {start}")
    value = start + place
    if wire == BYTES:
        size, place = read_varint(head, place, start)
        value = start + place
        stop = value + size
    elif wire == VARINT:
        stop = start + read_varint(head, place, start)[1]
    elif wire in (FIXED32, FIXED64):
        stop = value + (4 if wire == FIXED32 else 8)
    else:
        raise ConvertError(f"wire type {wire} is unknown, at byte {start}")
    if stop > end:
        raise ConvertError(
            f"field {number} at byte {start} needs {stop - end} bytes more than there are"
        )
    return Field(number, wire, start, value, stop)


def read_varint(head: bytes, position: int, base: int = 0) -> tuple[int, int]:
    """Return the varint at `position` and the position after it; ConvertError if it has no end.

    `base` is where `head` stands in the file, for the error.
    """
    if position < len(head) and head[position] < 0x80:
        return head[position], position + 1
    result = 0
    for shift in range(0, 70, 7):
        if position >= len(head):
            raise ConvertError(f"the bytes end inside a number, at byte {base + position}")
        byte = head[position]
        position += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result & 0xFFFFFFFFFFFFFFFF, position
    raise ConvertError(f"a number has more than ten bytes, at byte {base + position - 10}")


def varint(value: int) -> bytes:
    """Return the shortest varint of `value`, 0 to 2^64 - 1."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def cut(
    source: Source, found: Scan, removals: Sequence[tuple[int, Sequence[Field]]]
) -> tuple[bytes, list[int]]:
    """Return `source` without some fields, and the position in it of each removal.

    A removal is the index of a tensor in `found.tensors` and the fields to remove from it, at
    least one and in order; its position is where the first of them stood. Removals are in the
    order of the tensors. The lengths of enclosing messages are reduced (shortest varints).
    """
    delta: dict[int, int] = {}
    edits: list[tuple[int, int, bytes]] = []
    firsts: set[int] = set()
    for index, fields in removals:
        message = found.tensors[index].message
        firsts.add(fields[0].start)
        edits += [(f.start, f.end, b"") for f in fields]
        delta[message] = delta.get(message, 0) - sum(f.end - f.start for f in fields)
    edits += _relength(found.messages, delta)
    edits.sort()
    pieces: list[bytes] = []
    positions: list[int] = []
    size = _splice(source, edits, pieces, firsts, positions)
    skeleton = b"".join(pieces)
    if len(skeleton) != size or len(positions) != len(removals):
        raise ConvertError("fields to be cut overlap")
    return skeleton, positions


def _relength(messages: list[Message], delta: dict[int, int]) -> list[tuple[int, int, bytes]]:
    """Return edits of length prefixes for messages that grow by `delta`; -1 gets the total."""
    edits = []
    for index in range(len(messages) - 1, -1, -1):  # a message stands after its parent
        if index not in delta:
            continue
        message = messages[index]
        prefix = varint(message.end - message.start + delta[index])
        edits.append((message.prefix, message.start, prefix))
        change = delta[index] + len(prefix) - (message.start - message.prefix)
        delta[message.parent] = delta.get(message.parent, 0) + change
    return edits


def _splice(
    source: Source,
    edits: Iterable[tuple[int, int, bytes]],
    pieces: list[bytes],
    marks: Iterable[int],
    positions: list[int],
) -> int:
    """Apply sorted `edits`; note where in the output the edits that start at `marks` are."""
    marked = set(marks)
    last = size = 0
    for start, end, new in edits:
        pieces.append(source[last:start])
        size += start - last
        if start in marked:
            positions.append(size)
        pieces.append(new)
        size += len(new)
        last = end
    pieces.append(source[last : len(source)])
    return size + len(source) - last


#: Bytes of what `weave` gives, or the number of a change.
Piece = Union[bytes, memoryview, int]


class Change(NamedTuple):
    """Put `head` and then `size` bytes into a tensor at `position`; take the fields `drop` out."""

    tensor: int
    position: int
    head: bytes
    size: int
    drop: tuple[Field, ...] = ()


def weave(skeleton: bytes, found: Scan, changes: Sequence[Change]) -> list[Piece]:
    """Return what `skeleton` is with some changes, in pieces: the inverse of `cut`.

    A piece is bytes, or the number of a change whose `size` bytes stand there. Positions are in
    order, as from `holders`. Raises ConvertError where all would be larger than a protobuf message
    can be.
    """
    delta: dict[int, int] = {}
    edits: list[tuple[int, int, Piece]] = []
    for number, change in enumerate(changes):
        place = change.position
        edits += [(place, place, change.head), (place, place, number)]
        edits += [(f.start, f.end, b"") for f in change.drop]
        gone = sum(f.end - f.start for f in change.drop)
        delta[found.tensors[change.tensor].message] = len(change.head) + change.size - gone
    edits += _relength(found.messages, delta)
    total = len(skeleton) + delta.get(-1, 0)
    if total > MAX_BYTES:
        raise ConvertError(f"would take {total} bytes, and an ONNX file holds at most 2 GiB")
    # Stable, so that a payload stays behind its head; no prefix stands at a hole's position.
    edits.sort(key=lambda edit: edit[:1])
    view = memoryview(skeleton)
    pieces: list[Piece] = []
    last = 0
    for start, end, new in edits:
        pieces += [view[last:start], new]
        last = end
    return [*pieces, view[last:]]


def in_training(path: Path) -> bool:
    """Tell whether a message is part of the training information."""
    while path[0]:
        path = path[0]
    return bool(path[1][0] == _TRAINING)


def scan_skeleton(skeleton: bytes) -> Scan:
    """Scan a skeleton from a .dcf; CorruptError where it is no ModelProto."""
    try:
        return scan(skeleton)
    except ConvertError as error:
        raise CorruptError(f"the graph is not a ModelProto: {error.message}") from error


def holders(skeleton: bytes, found: Scan, positions: Sequence[int]) -> list[int]:
    """Return for each position the index of the tensor it lies in; CorruptError if in none."""
    starts = [found.messages[t.message].start for t in found.tensors]
    result: list[int] = []
    for position in positions:
        index = bisect_right(starts, position) - 1
        if index < 0 or (result and index <= result[-1]):
            raise CorruptError(f"hole at byte {position} of the graph has no tensor of its own")
        message = found.messages[found.tensors[index].message]
        cursor = message.start
        while cursor < min(position, message.end):
            cursor = read_field(skeleton, cursor, message.end).end
        if cursor != position:
            raise CorruptError(f"hole at byte {position} of the graph is not between two fields")
        result.append(index)
    return result
