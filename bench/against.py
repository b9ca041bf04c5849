"""Sizes and speeds on the same integers, next to the coders of others.

Ours is what a file holds for the integers: blocks with offsets and classes, tables without
codebooks, and 4 bytes of each record, which say how they are coded. NNCodec and Vela count by
their streams alone; TFLM is the smallest of the Huffman codes, tables of values (not counted) and
bitmaps that its DECODE operator knows; compressors see a byte for each integer, a network as one
blob. All of them get the order of axes that suits them better. The integers of int8 networks are
taken as they are, as the weights. Contexts and constants of ours were chosen on the developing
networks; the others were only measured. Seconds are the processor's, the least of some, ours and
theirs after each other; ours decode in C without checksums, tensors in zstd in Python.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import peer_tools
from encoding import best_times
from peer_tools import Result, Tools
from regimes import REGIMES, coded
from show import Cell, Table
from sizes import own_bytes
from weights import MORE, NETWORKS, Layer, data_folder

from dcformat import native
from dcformat.coded import Codebook, CodedModel, CodedTensor, Raw
from dcformat.converters import tflm_codes
from dcformat.encode import Settings, encode_model
from dcformat.errors import UnsupportedError
from dcformat.file import File
from dcformat.ids import DType
from dcformat.plain import plain_file

Array = npt.NDArray[Any]
DEVELOPING = ("resnet20", "silero", "ad01")
HELD_BACK = ("resnet32", "resnet8", "vww", "kws")
QUICK = ("resnet8",)
INT8 = ("vww", "kws")
SAID = 4  #: bytes of a tensor's record that say how it is coded
SMALLEST, MCU = "smallest", "mcu"
CODERS = ("NNCodec", "Vela", "zstd -19", "xz -9", "brotli -11")
CENTRED = ("NNCodec", "Vela")  #: integers counted from zero, not levels from the first
LOSSLESS = ("ZipNN", "shuffle, zstd -19", "zstd -19", "xz -9", "brotli -11")
GENERAL, GENERALS = "brotli or xz", ("brotli -11", "xz -9")
COUNTED = ("D8", "D4", "P4_80", "P4_90")


@dataclass(frozen=True)
class Row:
    """What a network takes in a regime; coders that failed are missing."""

    network: str
    regime: str
    weights: int
    results: Mapping[str, Result]

    def ratio(self, peer: str) -> float | None:
        """Return our bytes by a peer's; that of brotli or xz is the smaller of both."""
        names = GENERALS if peer == GENERAL else (peer,)
        there = [self.results[name].size for name in names if name in self.results]
        return self.results[SMALLEST].size / min(there) if len(there) == len(names) else None


@dataclass
class Runs:
    """What could be run, and what went wrong with it."""

    tools: Tools
    rounds: int
    failures: list[str] = field(default_factory=list)

    def of(self, name: str, network: str, arrays: Mapping[str, Array]) -> dict[str, Result]:
        """Return what a coder made of each case of a network."""
        if name not in self.tools.pythons:
            return {}
        found, problem = peer_tools.run(self.tools.pythons[name], name, arrays, self.rounds)
        if problem:
            self.failures.append(f"{name} on {network}: {problem}")
        return found


def layers_of(name: str, folder: Path) -> list[Layer]:
    """Return the layers of a network that count."""
    (source,) = (network for network in (*NETWORKS, *MORE) if network.name == name)
    return source.layers(folder)


def arrays_of(tensors: Mapping[str, Sequence[CodedTensor]], centred: bool) -> dict[str, Array]:
    """Return the integers of each regime as CASE/ORDER/INDEX: in the source's order and ours."""
    found = {}
    for regime, model in tensors.items():
        for index, tensor in enumerate(model):
            numbers = _centred(tensor) if centred else tensor.symbols
            order = tensor.order or tuple(range(numbers.ndim))
            found[f"{regime}/source/{index:04}"] = numbers
            found[f"{regime}/kernel/{index:04}"] = np.ascontiguousarray(
                np.transpose(numbers, order)
            )
    return found


def _centred(tensor: CodedTensor) -> Array:
    """Return integers as they are, levels by their number from the one that is nearest to zero."""
    if not isinstance(tensor.values, Codebook):
        return tensor.symbols
    zero = int(np.abs(np.asarray(tensor.values.levels, np.float64)).argmin())
    return (tensor.symbols.astype(np.int16) - zero).astype(np.int8)


def _tflm(tensors: Sequence[CodedTensor]) -> Result:
    """Return the bytes of TFLM's codes; its encoder is ours, its decoder is for other machines."""
    orders = [[_centred(t) for t in tensors], [_kernel(t) for t in tensors]]
    size = min(sum(_tflm_bytes(one.reshape(-1)) for one in order) for order in orders)
    return Result(size, math.nan, math.nan)


def _kernel(tensor: CodedTensor) -> Array:
    numbers = _centred(tensor)
    order = tensor.order or tuple(range(numbers.ndim))
    return np.ascontiguousarray(np.transpose(numbers, order))


def _tflm_bytes(flat: Array) -> int:
    options = [tflm_codes.prune(flat).size]
    if (table := tflm_codes.lut(flat, per_channel=False)) is not None:
        bare = replace(table, ancillary=table.ancillary[: tflm_codes.HEAD])  # values of a codebook
        options.append(bare.size)
    if (codes := tflm_codes.huffman(flat)) is not None:
        options.append(codes.size)
    return min(options)


def _own(tensors: Sequence[CodedTensor], target: str, rounds: int) -> Result:
    model = CodedModel(tuple(tensors))
    data = encode_model(model, Settings(target))
    actions = [lambda: encode_model(model, Settings(target)), _decoding(data)]
    encode, decode = best_times(actions, rounds)
    return Result(int(own_bytes(tensors, target)) + SAID * len(tensors), encode, decode)


def _decoding(data: bytes) -> Callable[[], object]:
    """Return what decodes a file's tensors, in C without checksums where that can."""
    file = File(data)
    opened = native.open_file(plain_file(file.opened) or data)

    def one(index: int, name: str) -> Callable[[], object]:
        try:
            native.decode_numbers(opened, index, False)
        except UnsupportedError:  # zstd
            return lambda: file[name]
        return lambda: native.decode_numbers(opened, index, False)

    actions = [one(index, name) for index, name in enumerate(file)]
    return lambda: [action() for action in actions]


def rows_of(network: str, layers: Sequence[Layer], runs: Runs) -> list[Row]:
    """Return what a network takes in each regime."""
    tensors = {regime: [coded(layer, regime) for layer in layers] for regime in REGIMES}
    given = {flag: arrays_of(tensors, flag) for flag in (False, True)}
    theirs = {name: runs.of(name, network, given[name in CENTRED]) for name in CODERS}
    rows = []
    for regime, model in tensors.items():
        results = {target: _own(model, target, runs.rounds) for target in (MCU, SMALLEST)}
        results["TFLM"] = _tflm(model)
        results |= {name: found[regime] for name, found in theirs.items() if regime in found}
        rows.append(Row(network, regime, sum(t.size for t in model), results))
    return rows


def mean(ratios: Sequence[float]) -> float:
    """Return the geometric mean."""
    return math.exp(sum(map(math.log, ratios)) / len(ratios))


def size_table(title: str, rows: Sequence[Row]) -> Table:
    """Return bits a weight, and ours by the two that are smallest elsewhere."""
    peers = [MCU, "TFLM", *CODERS]
    lines = [_size_line(row, (SMALLEST, *peers)) for row in rows]
    columns = ["bits/weight", "regime", "weights", SMALLEST, *peers, "ours : NNCodec"]
    note = f"{GENERAL}: the smaller of the two; ratios of bytes: below 1 ours are fewer"
    return Table(f"same integers: {title}", note, [*columns, f"ours : {GENERAL}"], lines)


def _size_line(row: Row, names: Sequence[str]) -> list[Cell]:
    ratios = [_cell(row.ratio(name)) for name in ("NNCodec", GENERAL)]
    return [row.network, row.regime, row.weights, *(_bits(row, name) for name in names), *ratios]


def _bits(row: Row, name: str) -> Cell:
    return 8 * row.results[name].size / row.weights if name in row.results else "-"


def _cell(number: float | None) -> Cell:
    return "-" if number is None else number


def mean_table(title: str, rows: Sequence[Row]) -> Table:
    """Return geometric means of our bytes by theirs in each regime, and the worst of two."""
    peers = ["NNCodec", GENERAL, MCU, "TFLM", *CODERS[1:]]
    sets = [*((regime, (regime,)) for regime in REGIMES), (", ".join(COUNTED), COUNTED)]
    lines = []
    for name, regimes in sets:
        chosen = [row for row in rows if row.regime in regimes]
        ratios = {p: [r for row in chosen if (r := row.ratio(p)) is not None] for p in peers}
        whole = {p: found if len(found) == len(chosen) else [] for p, found in ratios.items()}
        line: list[Cell] = [name]
        for peer in peers:
            line.append(mean(whole[peer]) if whole[peer] else "-")
            if peer in ("NNCodec", GENERAL):
                line.append(max(whole[peer]) if whole[peer] else "-")
        lines.append(line)
    columns = ["ours : theirs", "NNCodec", "worst", GENERAL, "worst", *peers[2:]]
    return Table(f"geometric means of bytes: {title}", "", columns, lines)


def speed_table(title: str, rows: Sequence[Row]) -> Table:
    """Return our speeds, and theirs as ratios."""
    columns = ["Mweights/s", "regime", "decode", *(f": {name}" for name in (MCU, *CODERS))]
    columns += ["encode", *(f": {name}" for name in (MCU, *CODERS))]
    lines = []
    for row in rows:
        line: list[Cell] = [row.network, row.regime]
        for part in ("decode", "encode"):
            own = getattr(row.results[SMALLEST], part)
            theirs = [row.results.get(name) for name in (MCU, *CODERS)]
            line.append(row.weights / 1e6 / own)
            line += ["-" if peer is None else getattr(peer, part) / own for peer in theirs]
        lines.append(line)
    note = "target smallest, one thread; the ratios are of speeds: above 1 ours is faster"
    return Table(f"speed: {title}", note, columns, lines, digits=2)


def lossless_table(layers: Mapping[str, Sequence[Layer]], runs: Runs) -> Table:
    """Return the bytes of float32 weights without loss, in percent."""
    lines = []
    for network, some in layers.items():
        tensors = [CodedTensor(x.name, DType.FLOAT, x.weights, Raw(), x.order) for x in some]
        arrays = arrays_of({"float32": tensors}, centred=False)
        own = _own(tensors, SMALLEST, runs.rounds)
        found = {name: runs.of(name, network, arrays).get("float32") for name in LOSSLESS}
        count = sum(t.size for t in tensors)
        best = [one.size for one in (found["ZipNN"], found["shuffle, zstd -19"]) if one]
        line: list[Cell] = [network, 4 * count, 25 * own.size / count]
        line += ["-" if one is None else 25 * one.size / count for one in found.values()]
        line += [own.size / min(best) if found["ZipNN"] else "-"]
        speeds = [4 * count / 1e6 / seconds for seconds in (own.decode, own.encode)]
        peer = found["ZipNN"]
        ratios = [peer.decode / own.decode, peer.encode / own.encode] if peer else ["-", "-"]
        lines.append([*line, speeds[0], ratios[0], speeds[1], ratios[1]])
    columns = ["% of float32", "bytes", SMALLEST, *LOSSLESS, "ours : ZipNN or shuffle"]
    columns += ["decode MB/s", ": ZipNN", "encode MB/s", ": ZipNN"]
    return Table("lossless float32", "ratios of speeds: above 1 ours is faster", columns, lines)


def tables(quick: bool) -> list[Table]:
    """Measure and return the tables; without the real models one that says so."""
    folder = data_folder()
    if folder is None or not native.AVAILABLE:
        return [Table("same integers", "needs real models and the C extension", [], [])]
    runs = Runs(peer_tools.tools(install=not quick), 1 if quick else 3)
    groups = {"developing": DEVELOPING, "held back": HELD_BACK}
    shown: list[Table] = []
    floats: dict[str, Sequence[Layer]] = {}
    for title, names in groups.items():
        chosen = [name for name in names if not quick or name in QUICK]
        layers = {name: layers_of(name, folder) for name in chosen}
        floats |= {name: some for name, some in layers.items() if name not in INT8}
        rows = [row for name, some in layers.items() for row in rows_of(name, some, runs)]
        if rows:
            shown += [size_table(title, rows), mean_table(title, rows), speed_table(title, rows)]
    shown.append(lossless_table(floats, runs))
    notes = [*runs.tools.left_out, *runs.failures]
    return [replace(shown[0], note="\n".join([*notes, shown[0].note])), *shown[1:]]
