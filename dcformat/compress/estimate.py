"""How many bytes a coded tensor takes, near enough to choose by, where no exact cost is given.

Spec: spec/encodings/coder_huffman.md, coder_packed.md, values_codebook.md
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dcformat import kernels
from dcformat.coded import Codebook, CodedTensor
from dcformat.ids import WIDTH

_OFFSET = 4  # of an entry of TABLES
_HEADER = 3  # of an entry of TABLES


def estimate(coded: CodedTensor) -> int:
    """Return the bytes of `coded` as one dense block, its tables and parameters included.

    Each stream is packed or Huffman coded, whichever is smaller. What gaps, runs, shared tables
    and zstd save is not counted: both sides of a comparison have it alike.
    """
    if coded.symbols.size == 0:
        return 0
    if isinstance(coded.values, Codebook):
        levels = coded.values.levels
        table = _OFFSET + _HEADER + levels.nbytes + 4
        return table + _stream(coded.symbols.astype(np.uint8).reshape(-1), levels.size)
    width = WIDTH[coded.number_type()]
    planes = np.ascontiguousarray(coded.symbols).view(np.uint8).reshape(-1, width)
    scales = 0 if not hasattr(coded.values, "scale") else 4 * coded.values.scale.size
    return scales + sum(_stream(planes[:, i], 256) for i in range(width))


def _stream(symbols: npt.NDArray[np.uint8], alphabet: int) -> int:
    """Return the bytes of one stream of symbols below `alphabet`."""
    counts = kernels.histogram(symbols)
    packed = (symbols.size * (alphabet - 1).bit_length() + 7) // 8
    used = np.flatnonzero(counts)
    lengths = kernels.code_lengths(counts).astype(np.int64)
    table = _OFFSET + _HEADER + (int(used[-1] - used[0]) + 2) // 2
    return min(packed, (int((counts * lengths).sum()) + 7) // 8 + table)
