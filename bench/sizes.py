"""Sizes of the same integers, written by us and by others; see README, "How small, how fast".

Ours is what a file for target mcu holds for the integers: PAYLOAD (blocks, their offsets and
classes) and TABLES without codebooks, which are the same for everybody; RECORDS (shapes, scales,
checksums, axis order), which nobody else has, are shown beside it. Each file is decoded and
compared before it is counted. Compressors see a byte for each integer, in the order that suits
them better, the source's or the kernel's; the other codes see the kernel's order, as our file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from peers import COMPRESSORS, I64, best_choice_bits, compressed, entropy_bits, paper_bits
from regimes import REGIMES, coded
from show import Cell, Table
from weights import NETWORKS, Layer, data_folder

from dcformat import decode
from dcformat.coded import CodedModel, CodedTensor
from dcformat.encode import Settings, encode_model
from dcformat.file import File
from dcformat.ids import Section, TableKind

ZSTD = "zstd -19"
BOOKS = (TableKind.CODEBOOK, TableKind.CODEBOOK_SORTED)
CHOICE_LIMIT = 1.01  #: of the best choice per tensor
PAPER_LIMIT = {"P4_80": 0.955, "P4_90": 0.90}  #: of Deep Compression's form, Huffman coded
QUICK = ("silero", "resnet8")


Named = dict[str, float]


@dataclass(frozen=True)
class Sizes:
    """Bytes for one network in one regime, or for several together.

    `own` is what ours are spent on. `codes` are those of codes by the book, `one` and `each` the
    compressors' for one blob and for a blob a tensor.
    """

    weights: int
    own: Named
    codes: Named
    one: Named
    each: Named

    @property
    def ours(self) -> float:
        return sum(self.own.values()) - self.own["records"]

    def __add__(self, other: Sizes) -> Sizes:
        names = ("own", "codes", "one", "each")
        sums = (_sum(getattr(self, name), getattr(other, name)) for name in names)
        return Sizes(self.weights + other.weights, *sums)


def _sum(a: Named, b: Named) -> Named:
    return {key: a[key] + b[key] for key in a}


def measure(layers: Sequence[Layer], regime: str, compressors: Sequence[str]) -> Sizes:
    """Return all sizes of a network in a regime."""
    tensors = [coded(layer, regime) for layer in layers]
    source = [t.symbols.reshape(-1) for t in tensors]
    kernel = [np.transpose(t.symbols, _order(t)).reshape(-1) for t in tensors]
    codes = {
        "entropy": _bytes(entropy_bits, kernel),
        "choice": _bytes(best_choice_bits, kernel),
        "(source)": _bytes(best_choice_bits, source),
        "paper raw": _bytes(lambda s: paper_bits(s, huffman=False), kernel),
        "paper": _bytes(lambda s: paper_bits(s, huffman=True), kernel),
    }
    one: Named = {
        c: min(compressed([_joined(s)], c) for s in (source, kernel)) for c in compressors
    }
    each: Named = {c: min(compressed(_blobs(s), c) for s in (source, kernel)) for c in compressors}
    return Sizes(sum(t.symbols.size for t in tensors), _own(tensors), codes, one, each)


def _order(tensor: CodedTensor) -> tuple[int, ...]:
    return tensor.order or tuple(range(tensor.symbols.ndim))


def _blobs(streams: Sequence[npt.NDArray[np.generic]]) -> list[bytes]:
    return [stream.tobytes() for stream in streams]


def _joined(streams: Sequence[npt.NDArray[np.generic]]) -> bytes:
    return b"".join(_blobs(streams))


def _bytes(bits: Callable[[I64], float], streams: Sequence[npt.NDArray[np.generic]]) -> float:
    return sum(bits(stream.astype(np.int64)) for stream in streams) / 8


def own_bytes(tensors: Sequence[CodedTensor], target: str) -> float:
    """Return all bytes that a file holds for the integers, without records."""
    own = _own(tensors, target)
    return sum(own.values()) - own["records"]


def _own(tensors: Sequence[CodedTensor], target: str = "mcu") -> Named:
    """Return what a file of our own spends on what."""
    data = encode_model(CodedModel(tuple(tensors)), Settings(target))
    _check(data, tensors)
    opened = decode.open_file(data)
    heads = [record.head for record in opened.records if record.head.blocks is not None]
    offsets = sum((h.block_count - 1) * h.blocks.offset_width for h in heads if h.blocks)
    classes = sum(-(-h.block_count // 4) for h in heads if h.classes > 1)
    books = [entry for entry in opened.table_entries if entry[0] in BOOKS]
    payload, tables, records = (
        len(opened.container.stored(section))
        for section in (Section.PAYLOAD, Section.TABLES, Section.RECORDS)
    )
    tables -= sum(4 + len(entry) for entry in books)
    return {
        "blocks": payload - offsets - classes,
        "offsets": offsets,
        "classes": classes,
        "tables": tables,
        "records": records,
    }


def _check(data: bytes, tensors: Sequence[CodedTensor]) -> None:
    """Raise if the file does not give back the integers."""
    file = File(data)
    for tensor, back in zip(tensors, file.coded_model().tensors, strict=True):
        if tensor != back:
            raise ValueError(f"{tensor.name} came back changed")


def networks(folder: Path, quick: bool) -> Iterator[tuple[str, list[Layer]]]:
    """Yield name and layers of the networks."""
    for source in NETWORKS:
        if not quick or source.name in QUICK:
            yield source.name, source.layers(folder)


def measure_all(
    folder: Path, compressors: Sequence[str], quick: bool = False
) -> dict[str, dict[str, Sizes]]:
    """Return sizes by regime and network, and of "all" together."""
    found: dict[str, dict[str, Sizes]] = {regime: {} for regime in REGIMES}
    for name, layers in networks(folder, quick):
        for regime, sizes in found.items():
            sizes[name] = measure(layers, regime, compressors)
    for sizes in found.values():
        first, *rest = sizes.values()
        sizes["all"] = sum(rest, first)
    return found


@dataclass(frozen=True)
class Target:
    """One thing that is asked of the sizes of all networks together."""

    regime: str
    text: str
    limit: float
    ratio: float

    @property
    def met(self) -> bool:
        return self.ratio <= self.limit


def targets(total: dict[str, Sizes]) -> list[Target]:
    """Return the targets, given the sizes of all networks by regime."""
    found = []
    for regime, sizes in total.items():
        choice = sizes.ours / sizes.codes["choice"]
        found.append(Target(regime, "best Huffman choice per tensor", CHOICE_LIMIT, choice))
        zstd = sizes.ours / sizes.one[ZSTD]
        found.append(Target(regime, "zstd -19, a blob a network", 1.0, zstd))
        if regime in PAPER_LIMIT:
            paper = sizes.ours / sizes.codes["paper"]
            found.append(Target(regime, "Deep Compression, Huffman", PAPER_LIMIT[regime], paper))
    return found


def tables(quick: bool) -> list[Table]:
    """Measure and return the tables; without the real models one that says so."""
    folder = data_folder()
    if folder is None:
        return [Table("sizes", "no folder of real models: set DCFORMAT_DATA", [], [])]
    found = measure_all(folder, [ZSTD] if quick else list(COMPRESSORS), quick)
    total = {regime: sizes["all"] for regime, sizes in found.items()}
    shown = [_sizes_table(found, quick), _own_table(total)]
    return shown if quick else [*shown, _targets_table(total)]


def _sizes_table(found: dict[str, dict[str, Sizes]], quick: bool) -> Table:
    some = found["D8"]["all"]
    columns = ["bits/weight", "network", "weights", "ours", "+records", *some.codes]
    columns += [title for c in some.one for title in (c, "each")]
    rows = [
        _row(regime, name, sizes)
        for regime, by_name in found.items()
        for name, sizes in by_name.items()
    ]
    note = """without codebooks; entropy: order 0 by tensor, no tables; choice: best Huffman code
by tensor; (source): the same in the order of the source; paper: Deep Compression with 4-bit
gaps, raw and Huffman coded; compressors: a blob a network, and (each) a blob a tensor"""
    return Table("sizes" + (" (some networks)" if quick else ""), note, columns, rows)


def _row(regime: str, name: str, sizes: Sizes) -> list[Cell]:
    own = [sizes.ours, sizes.ours + sizes.own["records"], *sizes.codes.values()]
    peers = [size for c in sizes.one for size in (sizes.one[c], sizes.each[c])]
    return [regime, name, sizes.weights, *(8 * size / sizes.weights for size in own + peers)]


def _own_table(total: dict[str, Sizes]) -> Table:
    """Return where our bytes go."""
    columns = ["bytes of ours", *total["D8"].own, "without records"]
    rows = [[regime, *_whole(sizes)] for regime, sizes in total.items()]
    return Table("what ours are spent on, all networks", "", columns, rows)


def _whole(sizes: Sizes) -> list[Cell]:
    return [int(size) for size in (*sizes.own.values(), sizes.ours)]


def _targets_table(total: dict[str, Sizes]) -> Table:
    rows = [
        [t.regime, t.text, t.ratio, t.limit, "pass" if t.met else "MISS"] for t in targets(total)
    ]
    title = "targets: ours by theirs, all networks together"
    return Table(title, "", ["regime", "theirs", "ratio", "at most", ""], rows, digits=4)
