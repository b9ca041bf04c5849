"""Two thousand damaged TFLite files: one clear line each, or a model that gives the file back."""

from __future__ import annotations

import random
import tracemalloc
from pathlib import Path

import pytest
from tflite_mutants import flatbuffers, repointed

from dcformat.converters.read_tflite import READER
from dcformat.converters.write_tflite import WRITER
from dcformat.errors import ConvertError
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
