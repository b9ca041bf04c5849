"""Counting symbols, and the Huffman tables that the counts ask for.

Spec: spec/encodings/coder_huffman.md ("Canonical lengths"), spec/DCF.md ("Payload", classes).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .encodings import coder_huffman
from .encodings.coder_huffman import Table

I64 = npt.NDArray[np.int64]
ABSENT_BITS = 16  #: price of a symbol that a table lacks
ROUNDS = 4  #: of assigning blocks to classes


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


def classify(
    blocks: npt.NDArray[np.uint32], tables: tuple[Table, ...], count: int
) -> npt.NDArray[np.uint8]:
    """Assign blocks to at most `count` table classes.

    `blocks` are symbol counts (blocks, streams * 256). Blocks start in classes of equal size by
    their mean code length under `tables`; then each goes to the class whose tables write it in
    the fewest bits. Classes that lose all their blocks are closed up.
    """
    used = np.flatnonzero(blocks.any(axis=0))
    wide = blocks[:, used].astype(np.int64)
    mean = (wide @ _prices(tables)[used]) / np.maximum(wide.sum(axis=1), 1)
    rank = np.argsort(np.argsort(mean, kind="stable"), kind="stable")
    classes = (rank * count // len(rank)).astype(np.int64)
    for _ in range(ROUNDS):
        sums = np.zeros((count, blocks.shape[1]), np.int64)
        for c in range(count):
            sums[c, used] = wide[classes == c].sum(axis=0)
        each = [_prices(tables_of(row.reshape(-1, 256)))[used] for row in sums]
        classes = np.argmin(np.stack([wide @ price for price in each], axis=1), axis=1)
    return np.searchsorted(np.unique(classes), classes).astype(np.uint8)


def _prices(tables: tuple[Table, ...]) -> I64:
    return np.concatenate([prices(table) for table in tables])
