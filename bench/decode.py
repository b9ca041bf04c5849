"""Speed of decoding against libzstd: `python bench/decode.py [CHECKPOINT.th]`.

The symbols of all layers of a network (resnet32 of DCFORMAT_DATA), eight times, are one tensor in
a file of one form. Ours: open the file, decode the tensor to numbers, compare their CRC; `plain`
is the same without the CRC. zstd: level 19, the same symbols as bytes, one frame without a
checksum, with a window smaller than a copy, because it would find seven copies to be
repetitions of the first. One thread; each in turn, best of several rounds: the ratio is that of one
run, and only it says something about another machine; seconds are the thread's own, so that other
programs do not count. Numbers are the symbols as bytes, as zstd has them, or float32 levels of a
codebook, four times as many bytes.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import zstandard
from streams import F32, REGIMES, U8, layers, symbols

from dcformat import native
from dcformat.coded import Codebook, CodedTensor, Raw, Values
from dcformat.container import write_container
from dcformat.encode import write_tensors
from dcformat.encodings.layout_gap import Gap
from dcformat.encodings.layout_run import MAX_ALPHABET, Run
from dcformat.forms import Form, Stored, block_rows_of, huffman_form, store
from dcformat.ids import DType, Layout, Section

COPIES = 8
COLUMNS = 16
WINDOW_LOG = 18
ROUNDS = 15
LAYOUTS = {"dense": Layout.DENSE, "gap": Layout.GAP, "run": Layout.RUN}


def best_times(actions: list[Callable[[], object]], rounds: int = ROUNDS) -> list[float]:
    """Return the least seconds of each action; all take their turn in each round."""
    best = [float("inf")] * len(actions)
    for _ in range(rounds):
        for i, action in enumerate(actions):
            start = time.thread_time()
            action()
            best[i] = min(best[i], time.thread_time() - start)
    return best


def as_bytes(stream: U8) -> CodedTensor:
    """Return a stream as a tensor whose numbers are the symbols."""
    return CodedTensor("w", DType.UINT8, stream.reshape(-1, COLUMNS), Raw())


def as_levels(stream: U8) -> CodedTensor:
    """Return a stream as a tensor whose numbers are float32 levels of a codebook."""
    levels = np.linspace(-1, 1, int(stream.max()) + 1).astype("<f4")
    values: Values = Codebook(DType.FLOAT, levels)
    return CodedTensor("w", DType.FLOAT, stream.reshape(-1, COLUMNS), values)


KINDS = {"bytes": as_bytes, "levels": as_levels}


def form_in(stored: Stored, layout: Layout) -> Form:
    """Return the Huffman form of a tensor in a layout, with the encoder's rule of blocks."""
    background = int(np.bincount(stored.read(0, stored.rows)[:, 0]).argmax())
    params = {Layout.GAP: Gap(255, background), Layout.RUN: Run(background)}.get(layout)
    whole = huffman_form(stored, layout, params, stored.rows, tables=None)
    rows = block_rows_of(stored, whole.payload_size(), row_access=False)
    return huffman_form(stored, layout, params, rows, tables=None)


def file_of(forms: list[Form]) -> bytes:
    """Return a file without names of tensors in these forms."""
    records, tables, payload = write_tensors(forms, {}, len(forms), 4)
    content = {Section.RECORDS: records, Section.TABLES: tables, Section.PAYLOAD: payload}
    return b"".join(write_container(content, 4))


def decode_file(data: bytes, check: bool = True) -> list[np.ndarray]:
    """Open a file and decode all tensors."""
    opened = native.open_file(data)
    return [native.decode_numbers(opened, i, check) for i in range(opened.tensors)]


def zstd_frame(stream: U8) -> bytes:
    """Return one frame; its window is too small for seeing another copy of the stream."""
    chosen = zstandard.ZstdCompressionParameters.from_level(19, window_log=WINDOW_LOG)
    return zstandard.ZstdCompressor(compression_params=chosen).compress(stream.tobytes())


def line(stream: U8, frame: bytes, kind: str, name: str) -> str:
    """Return sizes, speeds and ratios of one stream in one form."""
    stored = store(KINDS[kind](stream), kernel_order=False)
    if name == "run" and stored.plan.alphabets[0] > MAX_ALPHABET:
        return f"{kind:7} {name:6} has too many symbols"
    start = time.thread_time()
    data = file_of([form_in(stored, LAYOUTS[name])])
    encoded = time.thread_time() - start
    if decode_file(data)[0].tobytes() != stored.tensor.numbers().tobytes():
        raise SystemExit(f"{kind} {name}: other numbers")
    peer = zstandard.ZstdDecompressor()
    times = best_times(
        [
            lambda: decode_file(data),
            lambda: decode_file(data, check=False),
            lambda: peer.decompress(frame),
        ]
    )
    bits = [8 * len(stored_bytes) / stream.size for stored_bytes in (data, frame)]
    speeds = [stream.size / 1e6 / seconds for seconds in (*times, encoded)]
    return (
        f"{kind:7} {name:6} {bits[0]:8.3f} {bits[1]:8.3f} {speeds[0]:8.0f} {speeds[1]:8.0f}"
        f" {speeds[2]:8.0f} {times[2] / times[0]:8.2f} {times[2] / times[1]:8.2f} {speeds[3]:8.1f}"
    )


def rows(weights: list[F32], regimes: list[str]) -> Iterator[str]:
    """Yield the lines of the table."""
    for regime in regimes:
        stream = np.tile(np.concatenate(symbols(weights, regime)), COPIES)
        frame = zstd_frame(stream)
        for kind in KINDS:
            for name in LAYOUTS:
                yield f"{regime:6} {line(stream, frame, kind, name)}"


def main() -> None:
    folder = Path(os.environ.get("DCFORMAT_DATA", "../shared/data"))
    named = [Path(arg) for arg in sys.argv[1:] if arg not in REGIMES]
    path = named[0] if named else folder / "pytorch" / "resnet32-d509ac18.th"
    regimes = [arg for arg in sys.argv[1:] if arg in REGIMES] or list(REGIMES)
    titles = ("bits / weight", "million weights / s", "ratio to zstd", "M/s")
    print(f"{'':21} {titles[0]:>17} {titles[1]:>26} {titles[2]:>17} {titles[3]:>8}")
    print(
        f"{'regime numbers':14} {'layout':6} {'ours':>8} {'zstd':>8} {'ours':>8} {'plain':>8}"
        f" {'zstd':>8} {'ours':>8} {'plain':>8} {'encode':>8}"
    )
    for text in rows(layers(path), regimes):
        print(text, flush=True)


if __name__ == "__main__":
    main()
