"""Sizes and decoding speed against peers, on real models: `python bench/run.py [MODEL.onnx ...]`.

Without arguments: the example network, and every .onnx in the folder that DCFORMAT_DATA names.
Sizes are bytes and the same everywhere: the source or .dcf file, what of it stands for the numbers
(records, tables and payload), and those numbers as one blob in the peers' hands, which then carry
no names, scales, rows or checksums. Speeds are measured in this run, on one thread, best of
seven, CRCs compared; only their ratio says something about another machine.
"""

from __future__ import annotations

import importlib
import importlib.util
import lzma
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import zstandard

import dcformat
from dcformat import native
from dcformat.coded import CodedModel
from dcformat.container import parse_container
from dcformat.encode import Settings, encode_model
from dcformat.ids import Section

DIGITS = Path(__file__).resolve().parents[1] / "examples" / "digits" / "digits.onnx"
PRESETS = {"lossless": "host", "int8": "mcu", "deep": "mcu"}
PEERS: dict[str, Callable[[bytes], bytes]] = {
    "zstd -19": zstandard.ZstdCompressor(level=19).compress,
    "xz -9e": lambda data: lzma.compress(data, preset=9 | lzma.PRESET_EXTREME),
}
if importlib.util.find_spec("brotli"):
    PEERS["brotli"] = importlib.import_module("brotli").compress


def numbers_of(coded: CodedModel) -> bytes:
    """Return the decoded numbers of all tensors, one after the other."""
    return b"".join(tensor.numbers().tobytes() for tensor in coded.tensors)


def size_of_numbers(data: bytes) -> int:
    """Return the bytes of a file that its numbers need."""
    container = parse_container(data)
    needed = (Section.RECORDS, Section.TABLES, Section.PAYLOAD)
    return sum(len(container.stored(section)) for section in needed)


def best_time(action: Callable[[], object]) -> float:
    """Return the seconds of the fastest of seven runs."""
    times = []
    for _ in range(7):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return min(times)


def decode_all(data: bytes, count: int) -> None:
    opened = native.open_file(data)
    for index in range(count):
        native.decode_numbers(opened, index)


def sizes(path: Path) -> dict[str, CodedModel]:
    """Print the sizes of one model, a line for itself and one a preset; return what was coded."""
    source = path.read_bytes()
    model = dcformat.read(path)
    coded = {preset: dcformat.compress(model, preset) for preset in PRESETS}
    row(path.stem, "source", [len(source), ""], source)
    for preset, target in PRESETS.items():
        data = encode_model(coded[preset], Settings(target=target))
        row("", preset, [len(data), size_of_numbers(data)], numbers_of(coded[preset]))
    return coded


def row(name: str, what: str, own: list[object], blob: bytes) -> None:
    """Print sizes of our own and what each peer makes of `blob`."""
    cells = own + [len(peer(blob)) for peer in PEERS.values()]
    print(f"{name:36}{what:10}", *(f"{cell:>10}" for cell in cells))


def speed(name: str, coded: CodedModel, target: str) -> None:
    """Print how fast the C core and zstd give back the same numbers, and the ratio."""
    numbers = numbers_of(coded)
    data = encode_model(coded, Settings(target=target))
    frame = zstandard.ZstdCompressor(level=19).compress(numbers)
    ours = best_time(lambda: decode_all(data, len(coded.tensors)))
    peer = best_time(lambda: zstandard.ZstdDecompressor().decompress(frame))
    rates = [len(numbers) / seconds / 1e6 for seconds in (ours, peer)]
    print(f"{name:36}{rates[0]:10.0f} {rates[1]:10.0f} {rates[0] / rates[1]:10.2f}")


def main() -> None:
    paths = [Path(name) for name in sys.argv[1:]]
    if not paths:
        folder = os.environ.get("DCFORMAT_DATA")
        paths = [DIGITS, *sorted(Path(folder).glob("onnx/*.onnx"))] if folder else [DIGITS]
    print(f"{'bytes':46}", *(f"{title:>10}" for title in ("file", "numbers", *PEERS)))
    coded = {path.stem: sizes(path) for path in paths}
    print(f"\n{'MB/s of int8 numbers decoded':36}{'C core':>10} {'zstd':>10} {'ratio':>10}")
    for name, presets in coded.items():
        if numbers_of(presets["int8"]):
            speed(name, presets["int8"], "mcu")


if __name__ == "__main__":
    main()
