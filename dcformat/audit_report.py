"""The values that an audit returns, and the purposes that bytes have.

Sisters: dcformat/audit.py, which makes them, and tools/_audit_json.py, which writes them
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from . import audit_blocks as blocks
from . import audit_bytes as own
from .audit_numbers import Errors, Facts
from .model import Use

#: In the order in which they are named.
PURPOSES = (
    blocks.SYMBOLS, blocks.GAPS, blocks.RUNS, blocks.FRAMES, blocks.SPARE, blocks.UNREAD,
    own.OFFSETS, own.CLASSES, own.SCALES, own.HUFFMAN, own.CODEBOOK, own.RECORD, own.PADDING,
    own.HEADER, own.SECTION_TABLE, own.COUNTS, "names", "hashes", "fixed", "metadata", "graph",
    own.UNKNOWN, own.TAIL,
)  # fmt: skip
#: What stands for the symbols of a tensor, beside its Huffman tables.
CODED = (
    blocks.SYMBOLS, blocks.GAPS, blocks.RUNS, blocks.FRAMES, blocks.SPARE, own.OFFSETS, own.CLASSES,
)  # fmt: skip
OK = "ok"
UNSUPPORTED = "unsupported"
DAMAGED = "damaged"
TOO_LARGE = "too large"

Purposes = dict[str, int]


@dataclass(frozen=True)
class TensorRow:
    """A tensor: what it is, what its bytes are for, what its numbers say.

    `purposes` sum to `bytes`. What could not be read is None; `reason` says why. A tied tensor has
    a record only; its numbers are those of `tied_to`. `bits` are the exact bits of its blocks.
    """

    index: int
    name: str
    tied_to: int | None
    use: Use | None
    dtype: str | None
    shape: tuple[int, ...]
    layout: str | None
    values: str | None
    coder: str | None
    number: str | None
    status: str
    reason: str
    purposes: Purposes
    bits: Purposes
    elements: int
    levels: int | None = None
    q_format: str | None = None
    facts: Facts | None = None
    coded_bytes: int | None = None
    errors: Errors | None = None
    content: str | None = None

    @property
    def bytes(self) -> int:
        return sum(self.purposes.values())

    @property
    def layer(self) -> str:
        """The node that takes the tensor; without one the tensor itself."""
        return self.use.node if self.use and self.use.node else self.name


@dataclass(frozen=True)
class FrameRow:
    """Bytes that belong to no tensor, or to several: `users` are those that share a table."""

    purpose: str
    bytes: int
    section: int | None = None
    table: int | None = None
    users: tuple[int, ...] = ()


@dataclass(frozen=True)
class SectionRow:
    """A section: its stored and its decoded bytes."""

    name: str
    type: int
    codec: str
    stored: int
    decoded: int


@dataclass(frozen=True)
class Problem:
    """Something wrong in the file, which does not keep the rest from being audited."""

    place: str
    code: str
    reason: str


@dataclass(frozen=True)
class Report:
    """All of one file; the bytes of `frame` and `tensors` sum to `bytes`."""

    bytes: int
    sections: tuple[SectionRow, ...]
    frame: tuple[FrameRow, ...]
    tensors: tuple[TensorRow, ...]
    problems: tuple[Problem, ...]

    @property
    def purposes(self) -> Purposes:
        """Bytes by purpose, most first."""
        total: Counter[str] = Counter()
        for row in self.frame:
            total[row.purpose] += row.bytes
        for tensor in self.tensors:
            total.update(tensor.purposes)
        return dict(sorted(total.items(), key=lambda one: (-one[1], PURPOSES.index(one[0]))))
