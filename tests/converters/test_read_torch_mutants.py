"""Damaged files: an error of one line that says where, or a model; never much memory."""

from __future__ import annotations

import random
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch_mutants as mutants

from dcformat.converters import read_torch
from dcformat.errors import ConvertError
from dcformat.ids import NUMPY
from dcformat.model import Model

MEMORY = 1 << 23  #: bytes that reading a file of two kilobytes may take


def check(path: Path) -> Model | None:
    """Read `path`, and all numbers; None where it was refused as it should be."""
    try:
        model = read_torch.read(path)
        found = {one.name: one.data for one in model.tensors}
    except ConvertError as error:
        lines = str(error).splitlines()
    else:
        assert len(found) == len(model.tensors) > 0
        for one in model.tensors:
            assert found[one.name].shape == one.shape
            assert found[one.name].dtype == np.dtype(NUMPY[one.dtype])
        return model
    assert len(lines) == 1
    assert lines[0].startswith(str(path))
    return None


def run(seeds: list[bytes], path: Path, count: int) -> int:
    """Check `count` mutants; return how many were read."""
    rng, good = random.Random(7), 0
    for _ in range(count):
        path.write_bytes(mutants.damaged(rng.choice(seeds), rng))
        tracemalloc.reset_peak()
        good += check(path) is not None
        assert tracemalloc.get_traced_memory()[1] < MEMORY
    return good


SEEDS = {"zip": mutants.archives(), "legacy": mutants.legacies()}


@pytest.mark.parametrize("kind", SEEDS)
def test_what_mutants_start_from_is_read(tmp_path: Path, kind: str) -> None:
    for data in SEEDS[kind]:
        (tmp_path / "x.pt").write_bytes(data)
        assert check(tmp_path / "x.pt") is not None


@pytest.mark.parametrize("kind", SEEDS)
@pytest.mark.parametrize("count", [300, pytest.param(2000, marks=pytest.mark.slow)])
def test_mutants(tmp_path: Path, kind: str, count: int) -> None:
    tracemalloc.start()
    try:
        good = run(SEEDS[kind], tmp_path / "x.pt", count)
    finally:
        tracemalloc.stop()
    assert 0 < good < count
