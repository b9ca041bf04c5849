"""Counting symbols, and the Huffman tables that the counts ask for.

Spec: spec/encodings/coder_huffman.md ("Canonical lengths"), spec/DCF.md ("Payload", classes).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .encodings import coder_huffman
from .encodings.coder_huffman import Table
from .kernels import price_blocks, sum_blocks

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
    return int(counts @ table.lengths.astype(np.int64))


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
    bits = price_blocks(blocks, _prices(tables)[None])[:, 0]
    mean = bits / np.maximum(blocks.sum(axis=1, dtype=np.int64), 1)
    rank = np.argsort(np.argsort(mean, kind="stable"), kind="stable")
    classes = (rank * count // len(rank)).astype(np.uint8)
    for _ in range(ROUNDS):
        each = [tables_of(row.reshape(-1, 256)) for row in sum_blocks(blocks, classes, count)]
        costs = price_blocks(blocks, np.stack([_prices(own) for own in each]))
        classes = np.argmin(costs, axis=1).astype(np.uint8)
    there = np.bincount(classes, minlength=count) > 0
    return (np.cumsum(there) - 1)[classes].astype(np.uint8)


def _prices(tables: tuple[Table, ...]) -> I64:
    return np.concatenate([prices(table) for table in tables])
