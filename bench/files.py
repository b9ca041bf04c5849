"""Whole files of real models and what general compressors make of them.

Sizes are bytes: the source or .dcf file, what of it stands for the numbers (records, tables and
payload), and those numbers as one blob in the peers' hands, which then carry no names, scales,
rows or checksums.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from peers import COMPRESSORS
from show import Cell, Table
from weights import ROOT, data_folder

import dcformat
from dcformat.coded import CodedModel
from dcformat.container import parse_container
from dcformat.encode import Settings, encode_model
from dcformat.ids import Section

DIGITS = ROOT / "examples" / "digits" / "digits.onnx"
PRESETS = {"lossless": "host", "int8": "mcu", "deep": "mcu"}


def numbers_of(coded: CodedModel) -> bytes:
    """Return the decoded numbers of all tensors, one after the other."""
    return b"".join(tensor.numbers().tobytes() for tensor in coded.tensors)


def size_of_numbers(data: bytes) -> int:
    """Return the bytes of a file that its numbers need."""
    container = parse_container(data)
    needed = (Section.RECORDS, Section.TABLES, Section.PAYLOAD)
    return sum(len(container.stored(section)) for section in needed)


def rows_of(path: Path) -> Iterator[list[Cell]]:
    """Yield the rows of one model: a line for itself and one a preset."""
    source = path.read_bytes()
    model = dcformat.read(path)
    yield [path.stem, "source", len(source), "", *_peers(source)]
    for preset, target in PRESETS.items():
        coded = dcformat.compress(model, preset)
        data = encode_model(coded, Settings(target=target))
        yield ["", preset, len(data), size_of_numbers(data), *_peers(numbers_of(coded))]


def _peers(blob: bytes) -> list[int]:
    return [len(compress(blob)) for compress in COMPRESSORS.values()]


def tables(models: Sequence[Path], quick: bool) -> list[Table]:
    """Measure the given models, or the example and, unless quick, every .onnx of the folder."""
    paths = list(models)
    if not paths:
        folder = None if quick else data_folder()
        paths = [DIGITS, *sorted(folder.glob("onnx/*.onnx"))] if folder else [DIGITS]
    columns = ["bytes", "", "file", "numbers", *COMPRESSORS]
    note = "the source with its graph; then the file, its numbers, and those numbers by others"
    return [Table("whole files", note, columns, [row for path in paths for row in rows_of(path)])]
