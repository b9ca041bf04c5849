"""Tensors for the tables and loops of the C decoder for hosts, with numbers in every shape."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np
from cases import in_classes
from handmade import file_of
from mutants import mutants

from dcformat.coded import Codebook, CodedTensor, Raw, Values
from dcformat.encode import write_tensors
from dcformat.encodings.layout_gap import Gap
from dcformat.encodings.layout_run import MAX_ALPHABET, Run
from dcformat.forms import Form, huffman_form
from dcformat.ids import NUMPY, DType, Layout, Section
from dcformat.stored import store

SEED = 20260303
#: Shares of symbols, by the shape of the code that they lead to.
SHAPES: dict[str, list[float]] = {
    "lone": [1.0],
    "two": [0.7, 0.3],
    "ternary": [0.2, 0.6, 0.2],
    "flat16": [1.0] * 16,
    "sixteen": [1.3 ** -abs(i - 7.5) for i in range(16)],
    "long": [2.0**-i for i in range(13)] + [2.0**-12],  # codes of 1 to 12 bits
    "flat256": [1.0] * 256,
    "byte": [1.02 ** -abs(i - 128) for i in range(256)],
    "sparse": [0.95] + [0.05 / 30] * 30,
    "rare": [0.9995, 0.0005],
}
#: Rows and columns: tensors just below and above what gets tables of several symbols, and blocks
#: of few elements, of less than a round, and of many.
CUTS = ((2047, 1, 500), (2048, 1, 1), (4100, 1, 7), (683, 3, 11), (2304, 1, 36), (40, 60, 40))
CUTS += ((90, 60, 1), (90, 60, 13), (5, 1500, 1), (4095, 1, 4095))


def stream(shape: str, count: int) -> np.ndarray:
    """Return `count` symbols; each that may occur does if there is room."""
    shares = np.array(SHAPES[shape])
    rng = np.random.default_rng([SEED, count, len(shares)])
    symbols = rng.choice(len(shares), count, p=shares / shares.sum())
    symbols[rng.permutation(count)[: len(shares)]] = np.arange(len(shares))[:count]
    return symbols.astype(np.uint8)


def values_of(symbols: np.ndarray, level: DType | None) -> tuple[np.ndarray, Values, DType]:
    """Return what to store: the symbols, or with `level` indices of levels in a mixed order."""
    if level is None:
        return symbols, Raw(), DType.UINT8
    rng = np.random.default_rng(SEED)
    bits = rng.permutation(256)[: int(symbols.max()) + 1].astype(np.uint8)
    width = np.dtype(NUMPY[level]).itemsize
    raw = np.stack([np.roll(bits, i) for i in range(width)], axis=1).copy()
    return symbols, Codebook(level, raw.view(NUMPY[level]).reshape(-1)), level


def forms(symbols: np.ndarray, level: DType | None, block_rows: int) -> Iterator[Form]:
    """Yield the Huffman forms of a tensor in blocks of `block_rows` rows."""
    data, values, dtype = values_of(symbols, level)
    stored = store(CodedTensor("w", dtype, data, values), kernel_order=False)
    background = int(np.bincount(stored.read(0, stored.rows)[:, 0]).argmax())
    yield huffman_form(stored, Layout.DENSE, None, block_rows, None)
    for highest, stores in ((255, False), (3, False), (6, True), (255, True)):
        gap = Gap(highest, background, stores)
        yield huffman_form(stored, Layout.GAP, gap, block_rows, None)
    if stored.plan.alphabets[0] <= MAX_ALPHABET:
        yield huffman_form(stored, Layout.RUN, Run(background), block_rows, None)
    if block_rows == 1 and stored.rows >= 4:
        yield in_classes(stored, stored.rows)


def written(form: Form) -> bytes:
    records, tables, payload = write_tensors([form], {}, 1, 4)
    return file_of([], payload, sections={Section.RECORDS: records, Section.TABLES: tables})


@cache
def files() -> tuple[tuple[str, bytes, bytes], ...]:
    """Return name, file and numbers: every shape of code, every cut, every width of level."""
    found = []
    levels = (None, DType.INT8, DType.FLOAT16, DType.FLOAT, DType.DOUBLE, DType.COMPLEX128)
    for i, shape in enumerate(SHAPES):
        for k, (rows, columns, block_rows) in enumerate(CUTS):
            symbols = stream(shape, rows * columns).reshape(rows, columns)
            level = levels[(i + k) % len(levels)]
            for form in forms(symbols, level, block_rows):
                if form.legal():
                    name = f"{shape}-{rows}x{columns}-{block_rows}-{form.layout.name}-{form.params}"
                    found.append((name, written(form), form.stored.tensor.numbers().tobytes()))
    return tuple(found)


def damaged(count: int, seed: int) -> Iterator[bytes]:
    """Yield damaged copies of these files."""
    return mutants([data for _, data, _ in files()], count, seed)
