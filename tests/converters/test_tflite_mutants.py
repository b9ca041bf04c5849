"""Damaged TFLite files: one clear line each, or a model that gives the file back.

Two thousand that are read, and two thousand of which files for TFLite Micro are made.
"""

from __future__ import annotations

import random
import tracemalloc
from pathlib import Path

import pytest
from tflite_mutants import encoded_flatbuffers, flatbuffers, repointed

from dcformat.converters.read_tflite import READER
from dcformat.converters.tflm_check import decoded_of
from dcformat.converters.write_tflite import WRITER
from dcformat.converters.write_tflm import WRITER as TFLM
from dcformat.errors import ConvertError, CorruptError, DcfError
from dcformat.model import Model
from dcformat.scaled import real

MOST = 4 << 20  #: bytes of memory that a file of a few KB may take


def attempt(path: Path) -> Model | None:
    """Return the model, or None where it was refused in one clear line."""
    try:
        return READER.read(path)
    except ConvertError as error:
        refusal = error
    line = str(refusal)
    assert str(path) in refusal.place
    assert "\n" not in line
    assert len(line) < 500
    assert refusal.message
    return None


@pytest.mark.parametrize("seed", range(10))
def test_a_damaged_file_is_refused_or_comes_back(seed: int, tmp_path: Path) -> None:
    rng, path, again = random.Random(seed), tmp_path / "m.tflite", tmp_path / "n.tflite"
    verdicts = []
    tracemalloc.start()
    for _ in range(200):
        data = repointed(rng.choice(flatbuffers()), rng)
        path.write_bytes(data)
        model = attempt(path)
        verdicts.append(model is not None)
        if model is not None:
            WRITER.write(real(model), again)
            assert again.read_bytes() == data
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < MOST
    assert 20 < sum(verdicts) < 180


def made_of(path: Path, out: Path) -> str:
    """Return what became of a damaged file: "refused", in a line that names it, or "made"."""
    try:
        TFLM.write(READER.read(path), out)
    except DcfError as error:
        refusal = error
    else:
        decoded_of(out.read_bytes())
        out.unlink()
        return "made"
    assert any(str(one) in refusal.place for one in (path, out))
    assert "\n" not in str(refusal)
    assert len(str(refusal)) < 500
    return "refused"


def decoded(data: bytes) -> str:
    try:
        decoded_of(data)
    except (ConvertError, CorruptError):
        return "damaged"
    return "decoded"


@pytest.mark.parametrize(
    ("seed", "times"),
    [(10, 40), *(pytest.param(n, 200, marks=pytest.mark.slow) for n in range(10))],
)
def test_a_damaged_file_is_refused_or_made_for_tflite_micro(
    seed: int, times: int, tmp_path: Path
) -> None:
    rng, path, out = random.Random(seed), tmp_path / "m.tflite", tmp_path / "n.tflm"
    verdicts = []
    tracemalloc.start()
    for _ in range(times):
        data = repointed(rng.choice(encoded_flatbuffers()), rng)
        path.write_bytes(data)
        verdicts += [made_of(path, out), decoded(data)]
        assert not out.exists()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * MOST
    assert set(verdicts) == {"made", "refused", "decoded", "damaged"}
