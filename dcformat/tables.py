"""Counting symbols, and the Huffman tables that the counts ask for.

Spec: spec/encodings/coder_huffman.md ("Canonical lengths"), spec/DCF.md ("Payload", classes).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .encodings import coder_huffman
from .encodings.coder_huffman import Table
from .encodings.parts import Items

I64 = npt.NDArray[np.int64]
ABSENT_BITS = 16  #: price of a symbol that a table lacks
ROUNDS = 4  #: of assigning blocks to classes


def counts_of(items: Items, streams: int) -> I64:
    """Return the symbol counts (streams, 256)."""
    index = items.streams.astype(np.int64) * 256 + items.symbols
    return np.bincount(index, minlength=256 * streams).reshape(streams, 256).astype(np.int64)


def block_counts(items: Items, streams: int) -> I64:
    """Return symbol counts by block (blocks, streams * 256)."""
    block = np.repeat(np.arange(len(items.ends)), np.diff(items.ends, prepend=0))
    index = (block * streams + items.streams) * 256 + items.symbols
    shape = (len(items.ends), streams * 256)
    return np.bincount(index, minlength=shape[0] * shape[1]).reshape(shape).astype(np.int64)


def tables_of(counts: I64) -> tuple[Table, ...]:
    """Return a table for each row of counts; a stream without symbols gets a lone symbol 0."""
    filled = counts.copy()
    filled[counts.sum(axis=1) == 0, 0] = 1
    return tuple(coder_huffman.table_of(row) for row in filled)


def bit_cost(counts: I64, table: Table) -> int:
    """Return the bits of symbols with these counts."""
    used = counts > 0
    return int((counts[used] * table.lengths[used].astype(np.int64)).sum())


def prices(table: Table) -> I64:
    """Return the bits of each symbol (256,), with a price on symbols that the table lacks."""
    lengths = table.lengths.astype(np.int64)
    return np.where(table.lengths == coder_huffman.UNUSED, ABSENT_BITS, lengths)


def classify(blocks: I64, tables: tuple[Table, ...], count: int) -> npt.NDArray[np.uint8]:
    """Assign blocks (counts as of `block_counts`) to at most `count` table classes.

    Blocks start in classes of equal size by their mean code length under `tables`; then each
    goes to the class whose tables write it in the fewest bits. Classes that lose all their
    blocks are closed up.
    """
    start = np.concatenate([prices(t) for t in tables])
    mean = (blocks * start).sum(axis=1) / np.maximum(blocks.sum(axis=1), 1)
    rank = np.argsort(np.argsort(mean, kind="stable"), kind="stable")
    classes = (rank * count // len(rank)).astype(np.int64)
    for _ in range(ROUNDS):
        sums = [blocks[classes == c].sum(axis=0).reshape(-1, 256) for c in range(count)]
        each = [np.concatenate([prices(t) for t in tables_of(row)]) for row in sums]
        costs = np.stack([(blocks * price).sum(axis=1) for price in each], axis=1)
        classes = np.argmin(costs, axis=1)
    return np.searchsorted(np.unique(classes), classes).astype(np.uint8)
