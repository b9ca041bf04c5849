"""The context coder next to others on the same integers: sizes, and speed in one run.

Ours is what a file for target smallest holds for the integers: blocks with their parameters,
offsets and classes, and tables without codebooks. NNCodec, where it can be imported, counts by its
payloads alone, in the source's order of axes, as it is given tensors; compressors see the order
that suits them better. Contexts and constants were chosen on the developing networks; the others
were only measured. Of int8 networks the stored integers are the weights.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from decoding import best_times
from peers import COMPRESSORS, compressed
from regimes import REGIMES, coded
from show import Cell, Table
from sizes import own_bytes
from weights import LEAST_ELEMENTS, NETWORKS, Layer, data_folder

import dcformat
from dcformat import native
from dcformat.coded import Codebook, CodedModel, CodedTensor
from dcformat.encode import Settings, encode_model
from dcformat.ids import DType

DEVELOPING = ("resnet20", "silero", "ad01")
HELD_BACK = ("resnet32", "ic int8", "vww int8", "kws int8")
INT8 = {
    "ic int8": "tflite/pretrainedResnet_quant.tflite",
    "vww int8": "tflite/vww_96_int8.tflite",
    "kws int8": "tflite/kws_ref_model.tflite",
}
COUNTED = ("D8", "D4", "P4_80", "P4_90")
PEERS = ("mcu", "NNCodec", "brotli -11", "xz -9e")
PARAMETERS = 4  #: bytes of a tensor's record that say how it was coded


def _int8_layers(path: Path) -> list[Layer]:
    model = dcformat.read(path)
    weights = [t for t in model.tensors if t.dtype is DType.INT8 and t.data.size >= LEAST_ELEMENTS]
    return [
        Layer(
            t.name,
            t.data.astype(np.float32),
            use.order if (use := model.uses.get(t.name)) else None,
        )
        for t in weights
    ]


def layers_of(name: str, folder: Path) -> list[Layer]:
    """Return the layers of a network that is measured."""
    if name in INT8:
        return _int8_layers(folder / INT8[name])
    (source,) = (network for network in NETWORKS if network.name == name)
    return source.layers(folder)


def _orders(tensors: Sequence[CodedTensor]) -> list[list[np.ndarray]]:
    source = [t.symbols for t in tensors]
    return [source, [np.transpose(t.symbols, t.order or range(t.symbols.ndim)) for t in tensors]]


def _centred(tensor: CodedTensor) -> np.ndarray:
    """Return the integers as NNCodec has them: level numbers counted from that nearest to zero."""
    symbols = tensor.symbols.astype(np.int32)
    if isinstance(tensor.values, Codebook):
        symbols -= int(np.abs(np.asarray(tensor.values.levels, np.float64)).argmin())
    return np.ascontiguousarray(symbols)


@contextlib.contextmanager
def _aside() -> Iterator[None]:
    """Let NNCodec print, and write its files, where nobody sees them."""
    before = Path.cwd()
    with TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(before)


class NNCodec:
    """NNCodec's coder by its public functions; `sizes` are the payloads of the last run."""

    def __init__(self) -> None:
        self.codec = importlib.import_module("nncodec.nn")
        module: Any = importlib.import_module("nncodec.extensions.deepCABAC")
        self.sizes: list[int] = []
        sizes = self.sizes

        class Encoder(module.Encoder):  # type: ignore[misc]
            def finish(self) -> Any:
                found = super().finish()
                sizes.append(len(found))
                return found

        module.Encoder = Encoder

    def encode(self, tensors: Sequence[CodedTensor]) -> Any:
        """Return all tensors in one bitstream."""
        self.sizes.clear()
        with _aside():
            return self.codec.encode({f"w{i}": _centred(t) for i, t in enumerate(tensors)})

    def decode(self, stream: Any) -> Any:
        with _aside():
            return self.codec.decode(stream)


def nncodec() -> NNCodec | None:
    """Return NNCodec if it is installed (`pip install NNCodec`, which builds it)."""
    return NNCodec() if importlib.util.find_spec("nncodec") else None


def measure(tensors: Sequence[CodedTensor], peer: NNCodec | None) -> dict[str, float]:
    """Return the bytes of each coder."""
    extra = PARAMETERS * len(tensors)
    found = {
        "ours": own_bytes(tensors, "smallest") + extra,
        "mcu": own_bytes(tensors, "mcu") + extra,
    }
    if peer:
        peer.encode(tensors)
        found["NNCodec"] = float(sum(peer.sizes))
    blobs = [
        b"".join(np.ascontiguousarray(a).tobytes() for a in order) for order in _orders(tensors)
    ]
    for name in ("brotli -11", "xz -9e"):
        if name in COMPRESSORS:
            found[name] = float(min(compressed([blob], name) for blob in blobs))
    return found


@dataclass(frozen=True)
class Row:
    network: str
    regime: str
    weights: int
    sizes: dict[str, float]

    def ratio(self, peer: str) -> float:
        """Return our size by the peer's; "general" is the smaller of brotli and xz."""
        names = ("brotli -11", "xz -9e") if peer == "general" else (peer,)
        there = [self.sizes[name] for name in names if name in self.sizes]
        return self.sizes["ours"] / min(there) if there else math.nan


def rows_of(names: Sequence[str], folder: Path, peer: NNCodec | None) -> Iterator[Row]:
    """Yield what each network takes in each regime."""
    for name in names:
        layers = layers_of(name, folder)
        for regime in REGIMES:
            tensors = [coded(layer, regime) for layer in layers]
            count = sum(t.size for t in tensors)
            yield Row(name, regime, count, measure(tensors, peer))


def mean(ratios: Sequence[float]) -> float:
    """Return the geometric mean."""
    return math.exp(sum(map(math.log, ratios)) / len(ratios))


def _table(title: str, rows: Sequence[Row]) -> Table:
    peers = [name for name in PEERS if name in rows[0].sizes]
    compared = [*peers, "general"]
    lines: list[list[Cell]] = [
        [
            row.network,
            row.regime,
            row.weights,
            *(8 * row.sizes[name] / row.weights for name in ("ours", *peers)),
            *(row.ratio(name) for name in compared),
        ]
        for row in rows
    ]
    counted = [row for row in rows if row.regime in COUNTED]
    blank: list[Cell] = ["" for _ in range(2 + len(peers))]
    means: list[Cell] = [mean([row.ratio(name) for row in counted]) for name in compared]
    lines.append(["mean", ", ".join(COUNTED), *blank, *means])
    columns = ["bits/weight", "regime", "weights", "ours", *peers]
    columns += [f"ours : {name}" for name in compared]
    note = "general: the smaller of brotli and xz; mean: geometric, of the ratios"
    return Table(f"context coder: {title}", note, columns, lines)


def _opened(layers: Sequence[Layer], regime: str, target: str) -> tuple[Any, int]:
    tensors = [replace(coded(layer, regime), name=f"w{i}") for i, layer in enumerate(layers)]
    data = encode_model(CodedModel(tuple(tensors)), Settings(target))
    return native.open_file(data), len(tensors)


def _decoding(opened: Any, count: int) -> Callable[[], object]:
    return lambda: [native.decode_numbers(opened, i, False) for i in range(count)]


def _speed(folder: Path, quick: bool, peer: NNCodec | None) -> Table:
    layers = layers_of("resnet32", folder)
    lines: list[list[Cell]] = []
    for regime in ("D8", "P4_90") if quick else REGIMES:
        tensors = [coded(layer, regime) for layer in layers]
        count, model = sum(t.size for t in tensors), CodedModel(tuple(tensors))
        actions: list[Callable[[], object]] = [
            _decoding(*_opened(layers, regime, "smallest")),
            _decoding(*_opened(layers, regime, "mcu")),
            partial(encode_model, model, Settings("smallest")),
        ]
        if peer:
            stream = peer.encode(tensors)
            actions += [partial(peer.decode, stream), partial(peer.encode, tensors)]
        times = best_times(actions, 3 if quick else 7)
        cells: list[Cell] = [count / 1e6 / seconds for seconds in times]
        ratios: list[Cell] = [times[3] / times[0], times[4] / times[2]] if peer else []
        lines.append([regime, *cells, *ratios])
    columns = ["Mweights/s", "decode", "decode mcu", "encode"]
    if peer:
        columns += ["decode NNCodec", "encode NNCodec", "decode ratio", "encode ratio"]
    note = "resnet32, one thread, without CRCs; ratios in one run: above 1 ours is faster"
    return Table("context coder: speed", note, columns, lines, digits=2)


def tables(quick: bool) -> list[Table]:
    """Measure and return the tables; without the real models one that says so."""
    folder = data_folder()
    if folder is None or not native.AVAILABLE:
        return [Table("context coder", "needs real models and the C extension", [], [])]
    peer = nncodec()
    shown = []
    for title, names in (("developing", DEVELOPING), ("held back", HELD_BACK)):
        chosen = names[-1:] if quick else names
        shown.append(_table(title, list(rows_of(chosen, folder, peer))))
    return [*shown, _speed(folder, quick, peer)]
