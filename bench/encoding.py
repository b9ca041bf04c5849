"""Speed of writing next to general compressors: the same numbers, one thread, the same run.

`compress` chooses numbers, `encode` writes the file (target mcu; lossless: host). The peers get
the numbers that were chosen, as one blob. Time is that of the processor, so that other work on
the machine counts little. Only the ratios say something about another machine.
"""

from __future__ import annotations

import lzma
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import zstandard
from files import PRESETS, numbers_of
from made import write_network
from show import Cell, Table
from weights import data_folder

import dcformat
from dcformat.coded import CodedModel
from dcformat.encode import Settings, encode_model
from dcformat.model import Model

REAL = ("onnx/genre_mlp_velardo.onnx", "onnx/fastestdet.onnx")
PEERS: dict[str, Callable[[bytes], bytes]] = {
    "zstd -19": zstandard.ZstdCompressor(level=19).compress,
    "xz -9": lambda data: lzma.compress(data, preset=9),
}


def best_times(actions: Sequence[Callable[[], object]], rounds: int) -> list[float]:
    """Return the least processor seconds of each action; all take their turn in each round."""
    times = [[_seconds(action) for action in actions] for _ in range(rounds)]
    return [min(column) for column in zip(*times, strict=True)]


def _seconds(action: Callable[[], object]) -> float:
    start = time.process_time()
    action()
    return time.process_time() - start


def rows_of(name: str, model: Model, rounds: int) -> list[list[Cell]]:
    """Return a row for each preset: millions of weights a second, and ratios of such speeds."""
    return [_row(name, model, preset, target, rounds) for preset, target in PRESETS.items()]


def _row(name: str, model: Model, preset: str, target: str, rounds: int) -> list[Cell]:
    coded: CodedModel = dcformat.compress(model, preset)
    blob = numbers_of(coded)
    actions: list[Callable[[], object]] = [
        lambda: dcformat.compress(model, preset),
        lambda: encode_model(coded, Settings(target=target)),
        *(partial(peer, blob) for peer in PEERS.values()),
    ]
    compress, encode, *peers = best_times(actions, rounds)
    weights = sum(tensor.symbols.size for tensor in coded.tensors) / 1e6
    speeds = [weights / seconds for seconds in (compress, encode, compress + encode, *peers)]
    return [name, preset, *speeds, *(peer / (compress + encode) for peer in peers)]


def tables(quick: bool) -> list[Table]:
    """Measure a network that is made and, unless quick, real ones."""
    rounds = 1 if quick else 3
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "made.onnx"
        write_network(path, 1 if quick else 4)
        rows = rows_of("made", dcformat.read(path), rounds)
        data = None if quick else data_folder()
        for name in REAL if data else ():
            real = Path(data or "") / name
            rows += rows_of(real.stem, dcformat.read(real), rounds)
    columns = ["Mweights/s", "preset", "compress", "encode", "both", *PEERS]
    columns += [f"both : {peer}" for peer in PEERS]
    note = f"one thread, best of {rounds}; the ratios are of speeds: above 1 we are faster"
    return [Table("speed of writing", note, columns, rows, digits=2)]
