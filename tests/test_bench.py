"""The benchmarks measure what they say: the peers' codes by hand, the readers, the sizes asked for.

Sizes are values and are asserted; speeds are clocks and are not.
"""

from __future__ import annotations

import importlib
import json
import pickle
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st

from dcformat import kernels

BENCH = ROOT / "bench"


def bench(name: str) -> Any:
    """Import a module of the folder bench."""
    if str(BENCH) not in sys.path:
        sys.path.insert(0, str(BENCH))
    return importlib.import_module(name)


PEERS = bench("peers")
REGIMES = bench("regimes")
SYMBOLS = st.lists(st.sampled_from([0, 0, 0, 0, 0, 1, 2, 3]), min_size=2, max_size=300).filter(
    lambda symbols: len(set(symbols)) > 1
)


def vector(*parts: list[int]) -> Any:
    return np.array([symbol for part in parts for symbol in part], np.int64)


def test_entropy_and_huffman_agree_where_every_share_is_a_power_of_two() -> None:
    symbols = vector([0] * 8, [1] * 4, [2] * 2, [3] * 2)
    assert PEERS.entropy_bits(symbols) == 28
    assert PEERS.code_lengths(Counter(symbols.tolist())) == {0: 1, 1: 2, 2: 3, 3: 3}
    # 24 bits, then 4 lengths of 4 bits: the start's 8 bits and steps of 1, 3, 3, 1 are no less
    assert PEERS.huffman_bits(symbols) == 28 + 24 + 16


@given(st.lists(st.integers(0, 1000), min_size=2, max_size=40))
def test_code_lengths_are_as_good_as_package_merge(counts: list[int]) -> None:
    there = {symbol: count for symbol, count in enumerate(counts) if count}
    if len(there) < 2:
        return
    lengths = PEERS.code_lengths(Counter(there))
    bits = sum(there[symbol] * length for symbol, length in lengths.items())
    limited = kernels.code_lengths(np.array(counts))
    assert bits <= int((limited * np.array(counts)).sum())
    if max(lengths.values()) <= 12:
        assert bits == int((limited * np.array(counts)).sum())


def test_a_run_is_written_in_bijective_base_2() -> None:
    # 5 zeros are 1 + 2 * 2 (digits one, two); 3 zeros are 1 + 1 * 2 (digits one, one)
    assert PEERS.run_symbols(vector([0] * 5, [2], [0] * 3)).tolist() == [3, 4, 2, 3, 3]


def test_deep_compression_fills_a_long_gap_with_a_stored_zero() -> None:
    symbols = vector([0] * 20, [3], [1], [0] * 15, [2])
    gaps, values = PEERS.paper_symbols(symbols)
    assert gaps.tolist() == [15, 4, 0, 15]
    assert values.tolist() == [0, 3, 1, 2]
    # raw: 4 bits of gap and 2 bits for three values, four times
    assert PEERS.paper_bits(symbols, huffman=False) == 24


@given(SYMBOLS)
def test_the_peers_forms_hold_the_symbols(symbols: list[int]) -> None:
    background = min(symbols, key=lambda s: (-symbols.count(s), s))
    gaps, values = PEERS.paper_symbols(np.array(symbols), bits=2)
    back: list[int] = []
    for i, gap in enumerate(gaps.tolist()):
        back += [background] * gap + values[i : i + 1].tolist()
    assert back + [background] * (len(symbols) - len(back)) == symbols

    gaps, values = PEERS.gap_symbols(np.array(symbols), 2)
    back, rest = [], values.tolist()
    for gap in gaps.tolist():
        back += [background] * gap
        if gap < 3 and len(back) < len(symbols):
            back.append(rest.pop(0))
    assert (back, rest) == (symbols, [])


def test_regimes_are_what_their_names_say() -> None:
    weights = np.random.default_rng(1).laplace(0, 1, (40, 50))
    layer = bench("weights").Layer("w", weights.astype(np.float32), None)
    symbols = {name: REGIMES.coded(layer, name).symbols for name in REGIMES.REGIMES}
    assert np.abs(symbols["D8"]).max() == 127
    assert len(np.unique(symbols["D4"])) == 16
    for name, share in (("P4_80", 0.8), ("P4_90", 0.9)):
        values, counts = np.unique(symbols[name], return_counts=True)
        assert len(values) == 17
        assert counts.max() == share * weights.size
    assert np.unique(symbols["TERN"]).tolist() == [-1, 0, 1]


def test_the_reader_of_checkpoints_builds_nothing_else(tmp_path: Path) -> None:
    bad = tmp_path / "bad.th"
    bad.write_bytes(pickle.dumps(subprocess.run))
    with pytest.raises(pickle.UnpicklingError, match="is not part of a float checkpoint"):
        bench("foreign").read_checkpoint(bad)


def test_tables_are_aligned_and_come_as_json_too() -> None:
    show = bench("show")
    table = show.Table("title", "note", ["a", "bb"], [["long", 1], ["x", 0.5]])
    assert show.text_of(table).splitlines() == [
        "title",
        "note",
        "a        bb",
        "long      1",
        "x     0.500",
    ]
    assert json.loads(show.json_of([table]))[0]["rows"] == [["long", 1], ["x", 0.5]]


def test_one_command_measures_a_given_model(digits: Path) -> None:
    command = [sys.executable, str(BENCH / "run.py"), "--json", str(digits / "digits.onnx")]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    (table,) = json.loads(run.stdout)
    sizes = {preset: row[2] for row in table["rows"] for preset in [row[1]]}
    assert sizes["source"] == (digits / "digits.onnx").stat().st_size
    assert sizes["source"] > sizes["lossless"] > sizes["int8"] > sizes["deep"]


@pytest.mark.realdata
def test_the_five_networks_have_the_weights_that_are_counted(data_dir: Path) -> None:
    weights = bench("weights")
    counted = {
        source.name: sum(layer.weights.size for layer in source.layers(data_dir))
        for source in weights.NETWORKS
    }
    assert counted == {
        "resnet20": 268336, "resnet32": 461872, "silero": 242176, "ad01": 264192, "resnet8": 77360
    }  # fmt: skip


@pytest.fixture(scope="module")
def total(data_dir: Path) -> dict[str, Any]:
    """Sizes of all networks together by regime."""
    sizes = bench("sizes")
    found = sizes.measure_all(data_dir, [sizes.ZSTD])
    return {regime: by_name["all"] for regime, by_name in found.items()}


@pytest.mark.realdata
@pytest.mark.slow
@pytest.mark.parametrize("regime", REGIMES.REGIMES)
def test_sizes_are_what_is_asked_for(total: dict[str, Any], regime: str) -> None:
    targets = [t for t in bench("sizes").targets(total) if t.regime == regime]
    assert len(targets) == (3 if regime.startswith("P") else 2)
    assert [t for t in targets if not t.met] == []


@pytest.mark.realdata
@pytest.mark.slow
def test_the_sizes_of_the_page_are_measured(total: dict[str, Any]) -> None:
    page = (ROOT / "README.md").read_text().split("## How small, how fast")[1].split("##")[0]
    rows = [row.split(" | ") for row in page.splitlines() if row.startswith("| ")][1:]
    for row, sizes in zip(rows, total.values(), strict=True):
        own = (sizes.ours, sizes.codes["entropy"], sizes.one["zstd -19"], sizes.codes["paper"])
        shown = [row[i].rstrip(" |") for i in (1, 2, 3, 6)]
        assert shown == [f"{8 * size / sizes.weights:.3f}" for size in own]


@pytest.mark.realdata
@pytest.mark.slow
def test_the_default_quantizer_is_as_much_smaller_than_kmeans_as_it_was() -> None:
    quantizers = bench("quantizers")
    table, speed = quantizers.tables(False)
    for (name, bits), limit in quantizers.LIMITS.items():
        (row,) = [r for r in table.rows if r[:2] == [name, 1 << bits]]
        ratio = dict(zip(table.columns, row, strict=True))["ours file / k-means Huffman"]
        assert ratio < limit
    assert [row[0] for row in speed.rows] == [16, 256]
