"""How many bytes a coded tensor takes, near enough to choose by, where no exact cost is given.

Spec: spec/encodings/coder_huffman.md, coder_packed.md, values_codebook.md
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dcformat import kernels
from dcformat.coded import Codebook, CodedTensor
from dcformat.ids import WIDTH
from dcformat.model import windows

I64 = npt.NDArray[np.int64]

_OFFSET = 4  # of an entry of TABLES
_HEADER = 3  # of an entry of TABLES


def estimate(coded: CodedTensor) -> int:
    """Return the bytes of `coded` as one dense block, its tables and parameters included.

    Each stream is packed or Huffman coded, whichever is smaller. What gaps, runs, shared tables
    and zstd save is not counted: both sides of a comparison have it alike.
    """
    if coded.size == 0:
        return 0
    counts = _counts(coded)
    if isinstance(coded.values, Codebook):
        levels = coded.values.levels
        return _OFFSET + _HEADER + levels.nbytes + 4 + _stream(counts[0], levels.size)
    scales = 0 if not hasattr(coded.values, "scale") else 4 * coded.values.scale.size
    return scales + sum(_stream(row, 256) for row in counts)


def _counts(coded: CodedTensor) -> I64:
    """Return how often each byte occurs at each place of a symbol: (width, 256)."""
    width = 1 if isinstance(coded.values, Codebook) else WIDTH[coded.number_type()]
    total = np.zeros((width, 256), np.int64)
    for window in windows(coded.shape):
        planes = np.ascontiguousarray(coded.piece(window)).view(np.uint8).reshape(-1, width)
        total += [kernels.histogram(planes[:, i]) for i in range(width)]
    return total


def _stream(counts: I64, alphabet: int) -> int:
    """Return the bytes of one stream of symbols below `alphabet`."""
    packed = (int(counts.sum()) * (alphabet - 1).bit_length() + 7) // 8
    used = np.flatnonzero(counts)
    lengths = kernels.code_lengths(counts).astype(np.int64)
    table = _OFFSET + _HEADER + (int(used[-1] - used[0]) + 2) // 2
    return min(packed, (int((counts * lengths).sum()) + 7) // 8 + table)
