"""`file[name]` goes from numbers to elements; `file.coded(name)` by way of symbols: the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from dcformat import native
from dcformat.coded import expand_tensor, same_bits
from dcformat.file import File

VECTORS = Path(__file__).resolve().parent / "vectors"
VALID = [path.with_suffix(".dcf") for path in sorted(VECTORS.rglob("*.json"))]


@pytest.mark.parametrize("with_core", [True, False])
def test_elements_are_what_the_symbols_mean(
    monkeypatch: pytest.MonkeyPatch, with_core: bool
) -> None:
    monkeypatch.setattr(native, "AVAILABLE", with_core and native.AVAILABLE)
    for path in VALID:
        file = File(path.read_bytes())
        for name in file:
            if file.record(name).plan is None:
                continue
            elements, coded = file[name], file.coded(name)
            assert same_bits(elements, expand_tensor(coded)), (path.name, name)
            assert elements.flags.c_contiguous
            assert elements.flags.writeable
            assert not elements.size or elements.shape == coded.shape
