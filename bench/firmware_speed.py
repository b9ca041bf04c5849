"""Instructions a weight on a Cortex-M4: `python bench/firmware_speed.py [--json | --write]`.

8,192 weights of a layer of resnet32, pruned, shared and coded as in bench/regimes.py, are decoded
by a program that runs under QEMU, where instructions are counted one by one; they are not cycles.
Beside ours stand a loop that only unpacks 4-bit numbers, heatshrink (window 11, lookahead 4) and
zlib's inflate (level 9), given the same symbols as bytes. The sources of these two are taken from
PyPI when this runs, and left out where that does not work.
"""

from __future__ import annotations

import argparse
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from decoding import file_of
from firmware_build import PAGE, TARGETS, Counts, MissingToolError, core, count, program
from firmware_peers import U8, peer_rows
from firmware_sizes import ALL, bytes_of
from regimes import coded
from show import Cell, Table, json_of, put_into, text_of
from weights import NETWORKS, OHWI, Layer, data_folder

from dcformat.coded import Codebook, CodedTensor
from dcformat.encodings.layout_gap import Gap
from dcformat.forms import huffman_form
from dcformat.ids import DType, Layout
from dcformat.stored import store

LAYER = "module.layer3.0.conv2.weight"
WEIGHTS = 8192
COLUMNS = 128
BLOCK = 8  #: rows of a block, where rows are read by themselves
HIGHEST_GAP = 63
MACHINE = "M4"
REGIMES = {"P4_90": Layout.GAP, "P4_80": Layout.GAP, "D4": Layout.DENSE, "D8": Layout.DENSE}


@dataclass(frozen=True)
class Case:
    """One way to store the weights: as a file of ours, and as bytes for the peers."""

    name: str
    tensor: CodedTensor
    layout: Layout

    def file(self, rows: int) -> bytes:
        """Return a file of this tensor, in blocks of `rows` rows."""
        stored = store(self.tensor, kernel_order=False)
        params = None
        if self.layout is Layout.GAP:
            symbols = self.symbols()
            params = Gap(HIGHEST_GAP, int(np.bincount(symbols).argmax()))
        return file_of(huffman_form(stored, self.layout, params, rows, tables=None))

    def symbols(self) -> U8:
        """Return the symbols from 0 on, as the peers get them."""
        symbols = self.tensor.symbols.reshape(-1).astype(np.int64)
        return np.asarray(symbols - symbols.min(), np.uint8)


def layer_of(folder: Path) -> Layer:
    """Return the first weights of the layer in the order of a kernel, as a matrix."""
    (network,) = (one for one in NETWORKS if one.name == "resnet32")
    (layer,) = (one for one in network.layers(folder) if one.name == LAYER)
    weights = layer.weights.transpose(OHWI).reshape(-1)[:WEIGHTS].reshape(-1, COLUMNS)
    return replace(layer, weights=weights, order=None)


def cases(layer: Layer) -> list[Case]:
    """Return each regime with levels of 8 bits, and at 90 % zeros with float32 levels too."""
    found = [Case(name, _as_bytes(coded(layer, name)), REGIMES[name]) for name in REGIMES]
    return [*found, Case("P4_90 float", coded(layer, "P4_90"), Layout.GAP)]


def _as_bytes(tensor: CodedTensor) -> CodedTensor:
    """Return a tensor whose codebook has int8 levels: the same weights to within rounding."""
    if not isinstance(tensor.values, Codebook):
        return tensor
    levels = np.asarray(tensor.values.levels, np.float64)
    numbers = np.rint(levels / np.abs(levels).max() * 127).astype(np.int8)
    return replace(tensor, dtype=DType.INT8, values=Codebook(DType.INT8, numbers))


# ---- ours ----


@dataclass(frozen=True)
class Ours:
    """Instructions of each step: marks of tests/firmware/speed.c."""

    prepare: Counts
    decode: Counts
    cursor: Counts
    rows: Counts


def ours(data: bytes, folder: Path, flags: Sequence[str]) -> Ours:
    """Count our decoder on a file."""
    target = TARGETS[MACHINE]
    elf = program(target, "speed.c", data, folder, [*flags, f"-DNUMBERS={WEIGHTS}"])
    _, (prepare, decode, cursor, _, rows) = count(target, elf)
    return Ours(prepare, decode, cursor, rows)


def own_rows(found: Sequence[Case], folder: Path) -> list[list[Cell]]:
    """Count every case at -Os and at -O2."""
    rows: list[list[Cell]] = []
    for case in found:
        data = case.file(len(case.tensor.symbols))
        cells: list[Cell] = [case.name, 8 * len(data) / WEIGHTS]
        for flag in ("-Os", "-O2"):
            place = folder / re.sub(r"\W", "_", case.name + flag)
            one = ours(data, place, [flag])
            cells += [one.decode.total / WEIGHTS, one.prepare.total]
        rows.append(cells)
    return rows


def row_rows(found: Sequence[Case], folder: Path) -> list[list[Cell]]:
    """Compare reading by rows with decoding the whole."""
    rows: list[list[Cell]] = []
    for case in found:
        one = ours(case.file(BLOCK), folder / re.sub(r"\W", "_", case.name), ["-O2"])
        count_of = len(case.tensor.symbols)
        per_row = one.decode.total / count_of
        fair = per_row * (BLOCK + 1) / 2
        rows.append(
            [case.name, one.cursor.total / one.decode.total, one.rows.total / count_of / fair]
        )
    return rows


def beside_peers(
    found: Sequence[Case], rows: Sequence[Sequence[Cell]], folder: Path
) -> list[list[Cell]]:
    """Return our part of the table of peers: `rows` are those of `own_rows`."""
    ours_there: list[list[Cell]] = []
    for case, (name, bits, _, _, fast, _) in zip(found, rows, strict=False):
        alphabet = int(case.symbols().max()) + 1
        tables, symbols = (2, HIGHEST_GAP + 1) if case.layout is Layout.GAP else (1, alphabet)
        workspace = f"DCF_WORKSPACE_BYTES({tables}, {symbols})"
        ram = bytes_of(TARGETS[MACHINE], " + ".join([*ALL, workspace]), folder)
        ours_there.append(["dcformat", name, bits, fast, ram])
    return ours_there


def tables(folder: Path, with_peers: bool) -> list[Table]:
    """Measure everything."""
    data = data_folder()
    if data is None:
        raise MissingToolError("no folder of real models: set DCFORMAT_DATA")
    found = cases(layer_of(data))
    note = f"Cortex-{MACHINE}, {WEIGHTS} weights of {LAYER}; prepare: instructions in all"
    columns = ["weights", "bits/weight", "-Os", "prepare", "-O2", "prepare"]
    made = [Table("instructions a weight", note, columns, own_rows(found, folder), 2)]
    note = f"blocks of {BLOCK} rows, -O2; 1 is decoding the whole, and (k + 1) / 2 rows of {BLOCK}"
    columns = ["weights", "cursor, all rows", "one row, anywhere"]
    made.append(Table("reading by rows", note, columns, row_rows(found, folder / "rows"), 3))
    if with_peers:
        given = {case.name: case.symbols() for case in found[:-1]}
        rows, left_out = peer_rows(given, folder / "peers")
        core(folder)
        rows = beside_peers(found[:-1], made[0].rows, folder) + rows
        note = "; ".join(["-O2, the same symbols as bytes", *left_out])
        columns = ["peer", "weights", "bits/weight", "instructions a weight", "RAM"]
        made.append(Table("peers", note, columns, rows, 2))
    return made


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument("--write", action="store_true", help="put the tables on the page")
    parser.add_argument("--alone", action="store_true", help="without the peers")
    wishes = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as folder:
            measured = tables(Path(folder), not wishes.alone)
    except MissingToolError as missing:
        raise SystemExit(f"not measured: {missing}") from None
    if wishes.write:
        page = PAGE.read_text()
        for table in measured:
            page = put_into(page, table)
        PAGE.write_text(page)
    print(json_of(measured) if wishes.json else "\n\n".join(map(text_of, measured)))


if __name__ == "__main__":
    main()
