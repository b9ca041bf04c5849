"""The comparison with the coders of others: who is missing, who fails, what is counted."""

from __future__ import annotations

import json
import math
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT
from test_bench import bench

from dcformat.coded import Affine, Codebook, CodedTensor
from dcformat.ids import DType

AGAINST, CHILD, TOOLS = (bench(name) for name in ("against", "peer_child", "peer_tools"))
Result = TOOLS.Result


def levels(*numbers: float) -> Codebook:
    return Codebook(DType.FLOAT, np.array(numbers, np.float32))


def test_levels_are_counted_from_the_one_nearest_to_zero() -> None:
    symbols = np.array([[0, 1, 2], [3, 1, 1]], np.uint8)
    tensor = CodedTensor("w", DType.FLOAT, symbols, levels(-1, 0.1, 2, 3), (1, 0), exact=False)
    arrays = AGAINST.arrays_of({"D4": [tensor]}, centred=True)
    assert list(arrays) == ["D4/source/0000", "D4/kernel/0000"]
    assert arrays["D4/source/0000"].tolist() == [[-1, 0, 1], [2, 0, 0]]
    assert arrays["D4/kernel/0000"].tolist() == [[-1, 2], [0, 0], [1, 0]]
    plain = AGAINST.arrays_of({"D4": [tensor]}, centred=False)
    assert plain["D4/source/0000"].tolist() == symbols.tolist()


def test_integers_stay_as_they_are() -> None:
    values = Affine(DType.INT8, np.float32(1), np.zeros((), np.int32))
    tensor = CodedTensor("w", DType.FLOAT, np.array([-3, 0, 5], np.int8), values, exact=False)
    assert AGAINST.arrays_of({"D8": [tensor]}, True)["D8/source/0000"].tolist() == [-3, 0, 5]


@pytest.mark.parametrize("target", ["mcu", "smallest"])
def test_codebooks_are_not_counted(target: str) -> None:
    rng = np.random.default_rng(3)
    symbols = rng.integers(0, 200, (64, 64)).astype(np.uint8)
    books = (np.linspace(-1, 1, 200), np.sort(rng.standard_normal(200)))  # one packs far better
    counted = [
        bench("sizes").own_bytes(
            [CodedTensor("w", DType.FLOAT, symbols, levels(*book), exact=False)], target
        )
        for book in books
    ]
    assert counted[0] == counted[1] <= 64 * 64 + 16


def test_tflms_smallest_code_is_counted_without_values_of_a_table() -> None:
    # 256 numbers of 2 values: indices of 1 bit are 32 bytes, and a head of 16
    numbers = np.tile(np.array([-7, 9], np.int8), 128)
    assert AGAINST._tflm_bytes(numbers) == 32 + 16


def test_ours_is_weighed_against_the_smaller_of_two_that_are_both_there() -> None:
    sizes = {"smallest": 90, "NNCodec": 100, "xz -9": 120, "brotli -11": 80}
    results = {name: Result(size, 1.0, 1.0) for name, size in sizes.items()}
    row = AGAINST.Row("net", "D8", 100, results)
    assert row.ratio("NNCodec") == 0.9
    assert row.ratio("brotli or xz") == 90 / 80
    del results["brotli -11"]
    assert row.ratio("brotli or xz") is None
    assert AGAINST.size_table("x", [row]).rows[0][-1] == "-"
    assert AGAINST.mean([2, 8]) == pytest.approx(4)


def test_a_mean_over_rows_of_which_one_is_missing_is_not_shown() -> None:
    whole = {name: Result(10, 1.0, 1.0) for name in ("smallest", "mcu", "TFLM", *AGAINST.CODERS)}
    less = {name: result for name, result in whole.items() if name != "NNCodec"}
    rows = [AGAINST.Row("a", "D8", 9, whole), AGAINST.Row("b", "D8", 9, less)]
    table = AGAINST.mean_table("x", rows)
    assert table.rows[0] == ["D8", "-", "-", *[1.0] * 8]


def test_the_child_says_bytes_of_the_better_order_and_compares_what_comes_back() -> None:
    numbers = np.random.default_rng(0).integers(-8, 8, (64, 64)).astype(np.int8)
    orders = [[numbers], [np.zeros((64, 64), np.int8)]]
    found = CHILD.measured(CHILD._xz(), orders, 1)
    assert found["bytes"] == len(CHILD._xz().encode(bytes(4096))[0])
    liar = CHILD.Blob(lambda data: data, lambda data: data[::-1])
    with pytest.raises(ValueError, match="other numbers"):
        CHILD.measured(liar, orders[:1], 1)


def test_what_a_coder_printed_before_it_ended_its_process_stands(tmp_path: Path) -> None:
    line = json.dumps({"case": "D8", "bytes": 7, "encode": 0.5, "decode": 0.25})
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\necho '{line}'\necho 'Assertion failed' >&2\nkill -ABRT $$\n")
    python.chmod(python.stat().st_mode | stat.S_IEXEC)
    found, problem = TOOLS.run(python, "NNCodec", {"D8/source/0000": np.zeros(3, np.int8)}, 1)
    assert found == {"D8": Result(7, 0.5, 0.25)}
    assert problem == "Assertion failed"
    runs = AGAINST.Runs(TOOLS.Tools({"NNCodec": python}, ()), 1)
    runs.of("NNCodec", "resnet20", {})
    assert runs.failures == ["NNCodec on resnet20: Assertion failed"]
    assert runs.of("Vela", "resnet20", {}) == {}


def test_without_an_environment_there_are_only_the_coders_that_dcformat_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DCFORMAT_PEERS", str(tmp_path / "none"))
    found = TOOLS.tools(install=False)
    assert list(found.pythons) == ["zstd -19", "xz -9", "shuffle, zstd -19"]
    assert len(found.left_out) == 4
    assert all("not installed" in line for line in found.left_out)


def test_an_environment_that_cannot_be_made_is_said_and_the_rest_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("DCFORMAT_PEERS", str(tmp_path / "file"))
    found = TOOLS.tools(install=True)
    assert list(found.pythons) == ["zstd -19", "xz -9", "shuffle, zstd -19"]
    assert not any("not installed" in line for line in found.left_out)


@pytest.mark.realdata
def test_the_command_makes_the_tables_without_peers(data_dir: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "bench" / "run.py"), "peers", "--quick", "--json"]
    environment = {**os.environ, "DCFORMAT_PEERS": str(tmp_path), "DCFORMAT_DATA": str(data_dir)}
    run = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    sizes, means, speeds, lossless = json.loads(run.stdout)
    assert sizes["note"].count("left out: ") == 4
    rows: list[dict[str, Any]] = [
        dict(zip(sizes["columns"], r, strict=True)) for r in sizes["rows"]
    ]
    assert [row["regime"] for row in rows] == list(AGAINST.REGIMES)
    for row in rows:
        assert row["weights"] == 77360
        assert row["smallest"] <= row["mcu"]
        assert row["NNCodec"] == row["Vela"] == row["brotli -11"] == "-"
        assert row["smallest"] < row["zstd -19"]
    assert means["rows"][0][0] == "D8"
    assert all(row[2] > 0 and math.isfinite(row[2]) for row in speeds["rows"])
    assert lossless["rows"][0][0] == "resnet8"


@pytest.mark.realdata
@pytest.mark.slow
@pytest.mark.parametrize("network", [*AGAINST.DEVELOPING, *AGAINST.HELD_BACK])
def test_the_page_says_what_ours_take(data_dir: Path, network: str) -> None:
    page = (ROOT / "docs" / "peers.md").read_text().split("## Bits a weight")[1]
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| ")]
    shown = {row[1]: row for row in rows if row[0] == network}
    layers = AGAINST.layers_of(network, data_dir)
    for regime in AGAINST.REGIMES:
        tensors = [AGAINST.coded(layer, regime) for layer in layers]
        count = sum(tensor.size for tensor in tensors)
        for column, target in ((3, "smallest"), (4, "mcu")):
            size = bench("sizes").own_bytes(tensors, target) + AGAINST.SAID * len(tensors)
            assert float(shown[regime][column]) == pytest.approx(8 * size / count, rel=0.01)
