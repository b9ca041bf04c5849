"""Speed of decoding next to libzstd: the same symbols, one thread, the same run.

The symbols of all layers of resnet32, eight times, are one tensor in a file of one form. Ours:
open the file, decode the tensor, compare the CRC of its numbers; `no CRC` is the same without
that comparison, which zstd's frame does not have either. zstd: level 19, one frame, with a window
smaller than a copy, because it would find seven copies to be repetitions of the first. Numbers
are the symbols as bytes, as zstd has them, or float32 levels, four times as many bytes. Time is
that of the thread, so that other work on the machine counts little; only ratios say something
about another machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import zstandard
from regimes import REGIMES, coded
from show import Cell, Table
from weights import NETWORKS, Layer, data_folder

from dcformat import native
from dcformat.coded import Codebook, CodedTensor, Raw
from dcformat.container import write_container
from dcformat.encode import write_tensors
from dcformat.encodings.layout_gap import Gap
from dcformat.encodings.layout_run import MAX_ALPHABET, Run
from dcformat.forms import Form, block_rows_of, huffman_form
from dcformat.ids import DType, Layout, Section
from dcformat.stored import Stored, store

U8 = npt.NDArray[np.uint8]
NETWORK = "resnet32"
QUICK = ("D4", "P4_90")
COPIES = 8
COLUMNS = 16
WINDOW_LOG = 18
ROUNDS = 15
LAYOUTS = {"dense": Layout.DENSE, "gap": Layout.GAP, "run": Layout.RUN}


def stream_of(layers: Sequence[Layer], regime: str) -> U8:
    """Return the symbols of all layers, COPIES times, as bytes from 0 on."""
    whole = np.concatenate([_zero_first(coded(layer, regime)) for layer in layers])
    stream = np.tile((whole - whole.min()).astype(np.uint8), COPIES)
    return stream[: stream.size // COLUMNS * COLUMNS]


def _zero_first(tensor: CodedTensor) -> npt.NDArray[np.int16]:
    """Return symbols such that zero is the same one in every layer."""
    symbols = tensor.symbols.reshape(-1).astype(np.int16)
    if not isinstance(tensor.values, Codebook):
        return symbols
    for zero in np.flatnonzero(np.asarray(tensor.values.levels, np.float32) == 0).tolist():
        return np.where(symbols == zero, 0, symbols + (symbols < zero)).astype(np.int16)
    return symbols


def as_bytes(stream: U8) -> CodedTensor:
    """Return a stream as a tensor whose numbers are the symbols."""
    return CodedTensor("w", DType.UINT8, stream.reshape(-1, COLUMNS), Raw())


def as_levels(stream: U8) -> CodedTensor:
    """Return a stream as a tensor whose numbers are float32 levels of a codebook."""
    levels = np.linspace(-1, 1, int(stream.max()) + 1).astype("<f4")
    values = Codebook(DType.FLOAT, levels)
    return CodedTensor("w", DType.FLOAT, stream.reshape(-1, COLUMNS), values)


KINDS = {"bytes": as_bytes, "levels": as_levels}


def form_in(stored: Stored, layout: Layout) -> Form:
    """Return the Huffman form of a tensor in a layout, with the encoder's rule of blocks."""
    background = int(np.bincount(stored.read(0, stored.rows)[:, 0]).argmax())
    params = {Layout.GAP: Gap(255, background), Layout.RUN: Run(background)}.get(layout)
    whole = huffman_form(stored, layout, params, stored.rows, tables=None)
    rows = block_rows_of(stored, whole.payload_size(), row_access=False)
    return huffman_form(stored, layout, params, rows, tables=None)


def file_of(form: Form) -> bytes:
    """Return a file without names of one tensor."""
    records, tables, payload = write_tensors([form], {}, 1, 4)
    content = {Section.RECORDS: records, Section.TABLES: tables, Section.PAYLOAD: payload}
    return b"".join(write_container(content, 4))


def decode(data: bytes, check: bool = True) -> npt.NDArray[np.generic]:
    """Open a file and decode its tensor."""
    return native.decode_numbers(native.open_file(data), 0, check)


def zstd_frame(stream: U8) -> bytes:
    """Return one frame; its window is too small for seeing another copy of the stream."""
    chosen = zstandard.ZstdCompressionParameters.from_level(19, window_log=WINDOW_LOG)
    return zstandard.ZstdCompressor(compression_params=chosen).compress(stream.tobytes())


def best_times(actions: Sequence[Callable[[], object]], rounds: int) -> list[float]:
    """Return the least seconds of each action; all take their turn in each round."""
    times = [[_seconds(action) for action in actions] for _ in range(rounds)]
    return [min(column) for column in zip(*times, strict=True)]


def _seconds(action: Callable[[], object]) -> float:
    start = time.thread_time()
    action()
    return time.thread_time() - start


def _row(stream: U8, frame: bytes, stored: Stored, layout: Layout, rounds: int) -> list[Cell]:
    data = file_of(form_in(stored, layout))
    if decode(data).tobytes() != stored.tensor.numbers().tobytes():
        raise ValueError(f"{layout.name}: other numbers came back")
    peer = zstandard.ZstdDecompressor()
    actions = [lambda: decode(data), lambda: decode(data, False), lambda: peer.decompress(frame)]
    ours, plain, theirs = best_times(actions, rounds)
    sizes = [8 * len(stored_bytes) / stream.size for stored_bytes in (data, frame)]
    speeds = [stream.size / 1e6 / seconds for seconds in (ours, plain, theirs)]
    return [*sizes, *speeds, theirs / ours, theirs / plain]


def _rows(layers: Sequence[Layer], quick: bool) -> Iterator[list[Cell]]:
    for regime in QUICK if quick else REGIMES:
        stream = stream_of(layers, regime)
        frame = zstd_frame(stream)
        for kind, tensor_of in KINDS.items():
            stored = store(tensor_of(stream), kernel_order=False)
            for name, layout in LAYOUTS.items():
                if layout is not Layout.RUN or stored.plan.alphabets[0] <= MAX_ALPHABET:
                    cells = _row(stream, frame, stored, layout, 3 if quick else ROUNDS)
                    yield [regime, kind, name, *cells]


def tables(quick: bool) -> list[Table]:
    """Measure every layout on every regime; nothing without real models or the C core."""
    folder = data_folder()
    if folder is None or not native.AVAILABLE:
        return [Table("speed of decoding", "needs real models and the C extension", (), ())]
    (source,) = (network for network in NETWORKS if network.name == NETWORK)
    columns = ["regime", "numbers", "layout", "bits/weight", "zstd", "Mweights/s", "no CRC"]
    columns += ["zstd", "ours : zstd", "no CRC : zstd"]
    note = f"{NETWORK} {COPIES} times, one thread; the ratios are of speeds: above 1 we are faster"
    rows = list(_rows(source.layers(folder), quick))
    return [Table("speed of decoding", note, columns, rows, digits=2)]
