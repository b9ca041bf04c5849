"""The default quantizer next to exact k-means, at equal squared error layer by layer.

"Huffman" is the smallest of one table's code for all elements of a layer; "file" what an mcu file
holds: the smallest layout, blocks, tables and the levels. Layers below 1000 weights are left out.
"large layers" are the largest of each network, or two: k-means is worst where distributions are
long-tailed, as in LSTMs and autoencoders, and small layers pay more for their tables.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from show import Table
from sizes import networks
from weights import Layer, data_folder

from dcformat import encode, kernels
from dcformat.coded import CodedTensor
from dcformat.compress.codebook import quantize_codebook, type_levels
from dcformat.ids import DType
from dcformat.tables import bit_cost, tables_of

F64 = npt.NDArray[np.float64]
U8 = npt.NDArray[np.uint8]

LEAST = 1000
BITS = (3, 4)
#: By rows and bits: the files are at most this much of k-means with one Huffman table a layer.
LIMITS = {("all", 3): 0.87, ("all", 4): 0.92, ("large layers", 3): 0.86, ("large layers", 4): 0.92}
#: How many of the largest layers of a network are "large layers".
LARGEST = {"resnet20": 1, "silero": 2, "ad01": 2, "resnet8": 1}
_ENTRY = 7  #: of a codebook in TABLES, beside its levels


@dataclass(frozen=True)
class Cost:
    """Bytes of layers, and how many weights they have."""

    weights: int = 0
    huffman: float = 0.0
    file: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.weights + other.weights, self.huffman + other.huffman, self.file + other.file
        )


def cost_of(layer: Layer, levels: F64, indices: U8) -> Cost:
    """Return what a layer costs with these levels."""
    counts = kernels.histogram(indices.reshape(-1))
    (table,) = tables_of(counts[None])
    huffman = bit_cost(counts, table) / 8 + table.entry_size
    weights = layer.weights.astype(np.float64)
    book = type_levels(weights, levels, indices, DType.FLOAT, "auto")
    tensor = CodedTensor(layer.name, DType.FLOAT, indices, book, layer.order, exact=False)
    (form,) = encode.choose([tensor], encode.Settings())
    return Cost(weights.size, huffman, form.size() + _ENTRY + book.levels.nbytes)


def measure(layers: Sequence[Layer], bits: int) -> tuple[Cost, Cost]:
    """Return the costs of k-means and of the default quantizer, whose error is checked."""
    best, ours = Cost(), Cost()
    for layer in layers:
        weights = layer.weights.astype(np.float64)
        if weights.size < LEAST:
            continue
        found = [quantize_codebook(weights, bits, q) for q in ("kmeans", "entropy")]
        errors = [float(np.square(weights - levels[indices]).sum()) for levels, indices in found]
        if errors[1] > errors[0] * (1 + 1e-9):
            raise ValueError(f"{layer.name}: error {errors[1]}, of k-means {errors[0]}")
        best, ours = best + cost_of(layer, *found[0]), ours + cost_of(layer, *found[1])
    return best, ours


def tables(quick: bool) -> list[Table]:
    """Measure and return the tables; without the real models one that says so."""
    folder = data_folder()
    if folder is None:
        return [Table("quantizers", "no folder of real models: set DCFORMAT_DATA", [], [])]
    named = list(networks(folder, quick))
    rows: list[list[str | int | float]] = []
    for bits in BITS:
        total = Cost(), Cost()
        for name, layers in named:
            pair = measure(layers, bits)
            total = total[0] + pair[0], total[1] + pair[1]
            rows.append(_row(name, bits, *pair))
        rows.append(_row("all", bits, *total))
        rows.append(_row("large layers", bits, *measure(_largest(named), bits)))
    note = "bits a weight at the squared error of exact k-means, layer by layer"
    columns = ["network", "levels", "weights", "k-means Huffman", "ours Huffman", "ratio"]
    columns += ["k-means file", "ours file", "ratio", "ours file / k-means Huffman"]
    return [Table("quantizers", note, columns, rows), _speed()]


def _largest(named: Sequence[tuple[str, Sequence[Layer]]]) -> list[Layer]:
    """Return the large layers of the networks."""
    return [
        layer
        for name, layers in named
        for layer in sorted(layers, key=lambda one: -one.weights.size)[: LARGEST.get(name, 0)]
    ]


def _row(name: str, bits: int, best: Cost, ours: Cost) -> list[str | int | float]:
    def each(size: float) -> float:
        return 8 * size / best.weights

    pairs = [(best.huffman, ours.huffman), (best.file, ours.file)]
    shown = [x for a, b in pairs for x in (each(a), each(b), b / a)]
    return [name, 1 << bits, best.weights, *shown, ours.file / best.huffman]


def _speed() -> Table:
    """Time exact k-means of 65,536 distinct values, and show the process's peak memory."""
    values = np.sort(np.random.default_rng(1).laplace(size=1 << 16))
    counts = np.ones(values.size)
    rows: list[list[str | int | float]] = []
    for k in (16, 256):
        start = time.perf_counter()
        kernels.optimal_kmeans(values, counts, k)
        seconds = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        rows.append([k, seconds, peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)])
    note = "65,536 distinct values; memory is the peak of this process so far"
    return Table("exact k-means", note, ["levels", "seconds", "MiB"], rows)
