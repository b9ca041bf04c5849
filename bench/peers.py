"""What others make of the same integers: general compressors, and Huffman coding by the book.

Nothing of the encoder is used here, so that a comparison is one: code lengths come from a heap,
sizes from sums. Those codes have no longest length, and neither padding nor block offsets are
counted: all of it in the favour of the peers.
"""

from __future__ import annotations

import heapq
import importlib
import importlib.util
import lzma
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import zstandard

I64 = npt.NDArray[np.int64]
COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "zstd -19": zstandard.ZstdCompressor(level=19).compress,
    "xz -9e": lambda data: lzma.compress(data, filters=[_xz_filter(len(data))]),
}
if importlib.util.find_spec("brotli"):  # pip install 'dcformat[bench]'
    COMPRESSORS["brotli -11"] = importlib.import_module("brotli").compress


def _xz_filter(size: int) -> dict[str, int]:
    """Return preset 9e with a dictionary that is not larger than the data: it takes memory."""
    preset = 9 | lzma.PRESET_EXTREME
    return {"id": lzma.FILTER_LZMA2, "preset": preset, "dict_size": max(1 << 12, size)}


def entropy_bits(symbols: I64) -> float:
    """Return the bits of an ideal order-0 code that needs no table."""
    counts = np.unique(symbols, return_counts=True)[1]
    return float(-(counts * np.log2(counts / counts.sum())).sum())


def huffman_bits(symbols: I64) -> int:
    """Return the bits of a Huffman code of the symbols and of its table."""
    counts = Counter(symbols.tolist())
    lengths = code_lengths(counts)
    bits = sum(counts[symbol] * length for symbol, length in lengths.items())
    return bits + table_bits(lengths)


def code_lengths(counts: Counter[int]) -> dict[int, int]:
    """Return the lengths of a Huffman code; 0 for a lone symbol."""
    heap = [(count, symbol, [symbol]) for symbol, count in counts.items()]
    heapq.heapify(heap)
    lengths = dict.fromkeys(counts, 0)
    while len(heap) > 1:
        (low, tie, some), (high, _, others) = heapq.heappop(heap), heapq.heappop(heap)
        for symbol in some + others:
            lengths[symbol] += 1
        heapq.heappush(heap, (low + high, tie, some + others))
    return lengths


def table_bits(lengths: dict[int, int]) -> int:
    """Return the bits of a table: 24, and lengths of 4 bits or their Exp-Golomb coded steps."""
    if len(lengths) < 2:
        return 24
    span = range(min(lengths), max(lengths) + 1)
    there = [lengths[symbol] for symbol in span if symbol in lengths]
    steps = sum(_step_bits(after - before) for before, after in pairwise(there))
    return 24 + min(4 * len(span), 8 + 1 + steps + 3 * (len(span) - len(there)))


def _step_bits(step: int) -> int:
    """Return the bits of a step in Exp-Golomb code; 1 is the code of a symbol not in use."""
    value = 2 * step if step >= 0 else 1 - 2 * step
    return 2 * (value + 1).bit_length() - 1


def run_symbols(symbols: I64) -> I64:
    """Return the symbols with runs of the most frequent one in two more: bijective base 2."""
    values, counts = np.unique(symbols, return_counts=True)
    background = int(values[np.argmax(counts)])
    digit_one = int(values[-1]) + 1
    out: list[int] = []
    run = 0
    for symbol in [*symbols.tolist(), None]:
        if symbol == background:
            run += 1
            continue
        while run:
            out.append(digit_one + (run - 1) % 2)
            run = (run - 1) // 2
        out += [] if symbol is None else [symbol]
    return np.array(out, np.int64)


def gap_symbols(symbols: I64, bits: int) -> tuple[I64, I64]:
    """Return gaps of `bits` bits and values; the highest gap skips and stores no value."""
    _, gaps, values = _gaps(symbols)
    highest = (1 << bits) - 1
    return _with_fillers(gaps, highest, highest), values


def paper_symbols(symbols: I64, bits: int = 4) -> tuple[I64, I64]:
    """Return gaps and values as in Deep Compression: the highest gap may be followed by a zero.

    A gap that does not fit is one of 2**bits - 1 and a filler: a stored zero.
    """
    background, gaps, values = _gaps(symbols)
    step = 1 << bits
    fillers = gaps // step
    stops = np.cumsum(fillers[: len(values)] + 1)
    stored = np.full(int(fillers.sum()) + len(values), background, np.int64)
    stored[stops - 1] = values
    return _with_fillers(gaps, step - 1, step)[: len(stored)], stored


def _gaps(symbols: I64) -> tuple[int, I64, I64]:
    """Return the background, the gap before each other symbol and at the end, and those."""
    values, counts = np.unique(symbols, return_counts=True)
    background = int(values[np.argmax(counts)])
    places = np.flatnonzero(symbols != background)
    gaps = np.diff(places, prepend=-1, append=len(symbols)) - 1
    return background, gaps, symbols[places]


def _with_fillers(gaps: I64, filler: int, step: int) -> I64:
    """Return gap symbols: `filler` for each `step` that a gap holds, then the rest of it."""
    fillers, rest = gaps // step, gaps % step
    stops = np.cumsum(fillers + 1)
    out = np.full(int(stops[-1]), filler, np.int64)
    out[stops - 1] = rest
    return out[:-1] if rest[-1] == 0 else out  # nothing is left after the last value


def best_choice_bits(symbols: I64) -> int:
    """Return the least bits among dense, run, and gaps of 6 and 8 bits, with their tables."""
    two = [gap_symbols(symbols, bits) for bits in (6, 8)]
    options = [huffman_bits(symbols), huffman_bits(run_symbols(symbols))]
    return min(options + [huffman_bits(gaps) + huffman_bits(values) for gaps, values in two])


def paper_bits(symbols: I64, huffman: bool) -> int:
    """Return the bits of Deep Compression's form: raw, or both streams Huffman coded.

    Raw values have the width that the stored symbols but zero need, so fillers come free of a
    wider field.
    """
    gaps, values = paper_symbols(symbols)
    if huffman:
        return huffman_bits(gaps) + huffman_bits(values)
    width = max(1, (len(np.unique(symbols)) - 2).bit_length())
    return len(gaps) * (4 + width)


def compressed(blobs: Sequence[bytes], compressor: str) -> int:
    """Return the bytes of blobs compressed one by one."""
    return sum(len(COMPRESSORS[compressor](blob)) for blob in blobs)
