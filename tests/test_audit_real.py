"""The audit of real models and of many tensors: sums, entropy as in bench/, no quadratic time."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT

import dcformat
from dcformat import audit_bytes
from dcformat.audit import audit
from dcformat.audit_blocks import SPARE
from dcformat.coded import CodedModel, CodedTensor, Raw
from dcformat.encode import Settings, encode_model
from dcformat.file import File
from dcformat.ids import Coder, DType
from dcformat.scaled import real

sys.path.append(str(ROOT / "bench"))

SLOW = ("lossless", "deep")
PRESETS = ("int8", *(pytest.param(preset, marks=pytest.mark.slow) for preset in SLOW))
FOREIGN = ("*.onnx", "*.pt", "*.th", "*.pth", "*.jit", "*.safetensors", "*.tflite")


def models(folder: Path) -> list[Path]:
    places = (folder / "onnx", folder / "onnx" / "external", folder / "pytorch", folder / "tflite")
    return sorted(path for place in places for kind in FOREIGN for path in place.glob(kind))


@pytest.mark.realdata
@pytest.mark.parametrize("preset", PRESETS)
def test_every_file_made_of_a_real_model_sums_up(data_dir: Path, preset: str) -> None:
    paths = models(data_dir)
    assert len(paths) > 35
    for path in paths:
        model = dcformat.read(path)
        data = encode_model(dcformat.compress(model, preset), _settings(preset))
        report = audit(File(data), source=real(model))
        assert sum(report.purposes.values()) == len(data), path.name
        assert report.problems == (), path.name
        for row in report.tensors:
            assert row.status == "ok", (path.name, row.name)
            if row.tied_to is None:
                blocks = sum(row.bits.values())
                assert blocks % 8 == 0, (path.name, row.name)
                assert row.bits.get(SPARE, 0) >= 0, (path.name, row.name)
                assert row.errors is not None, (path.name, row.name)
                assert row.errors.largest == 0 or preset != "lossless", (path.name, row.name)


def _settings(preset: str) -> Settings:
    return Settings("host" if preset == "lossless" else "mcu")


@pytest.mark.realdata
@pytest.mark.parametrize("regime", ["D8", "D4", "P4_80", "P4_90", "TERN"])
def test_stored_bytes_and_entropy_are_those_of_the_benchmark(data_dir: Path, regime: str) -> None:
    """bench/sizes.py counts in its own way: from sections, and with np.unique.

    It counts the number of tables too, 4 bytes, which is no tensor's.
    """
    import regimes  # noqa: PLC0415 - of bench/
    import sizes  # noqa: PLC0415
    from peers import entropy_bits  # noqa: PLC0415

    for _, layers in sizes.networks(data_dir, quick=True):
        tensors = [regimes.coded(layer, regime) for layer in layers]
        measured = sizes.measure(layers, regime, [])
        report = audit(File(encode_model(CodedModel(tuple(tensors)), Settings("mcu"))))
        coded = sum(row.coded_bytes or 0 for row in report.tensors)
        assert coded + 4 == measured.ours
        found = [row.facts.entropy_bits for row in report.tensors if row.facts]
        assert sum(found) / 8 == pytest.approx(measured.codes["entropy"], rel=1e-12)
        for row, tensor in zip(report.tensors, tensors, strict=True):
            wanted = entropy_bits(tensor.symbols.reshape(-1).astype(np.int64))
            assert row.facts is not None
            assert row.facts.entropy_bits == pytest.approx(wanted, rel=1e-12, abs=1e-9)


def many(count: int) -> File:
    """Return a file of so many small tensors, in two rooms, that share a few tables."""
    rng = np.random.default_rng(1)
    numbers = np.round(rng.standard_normal((count, 40)) * 9).astype(np.int8)
    tensors = [CodedTensor(f"t{i}", DType.INT8, row, Raw()) for i, row in enumerate(numbers)]
    return File(encode_model(CodedModel(tuple(tensors))))


@pytest.fixture
def steps() -> Iterator[list[int]]:
    """Count the function calls that Python makes, whatever the machine does meanwhile."""
    counted = [0]

    def count(frame: Any, event: str, argument: Any) -> None:
        counted[0] += event in ("call", "c_call")

    sys.setprofile(count)
    yield counted
    sys.setprofile(None)


def test_ten_times_the_tensors_take_ten_times_the_calls(steps: list[int]) -> None:
    small, large = many(50), many(500)
    counts = []
    for file in (small, large):
        steps[0] = 0
        report = audit(file)
        counts.append(steps[0])
        assert sum(report.purposes.values()) == file.size
    assert counts[1] < 10.5 * counts[0]


def test_users_of_tables_are_found_in_one_pass() -> None:
    """A list of users for each table, and no search in it."""
    file = many(300)
    assert {record.head.coder for record in file.opened.records} <= set(Coder)
    users = audit_bytes.users_of(file.opened)
    assert sum(map(len, users)) == sum(len(set(record.tables)) for record in file.opened.records)
