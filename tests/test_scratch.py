"""Bytes put aside: small in memory, large in a file, from several threads at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from dcformat import scratch
from dcformat.scratch import IN_MEMORY, Scratch


@pytest.mark.parametrize("positioned", [True, False])
def test_what_was_written_is_read_back(positioned: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scratch, "_POSITIONED", positioned and scratch._POSITIONED)
    aside, rng = Scratch(), np.random.default_rng(1)
    parts = [rng.bytes(size) for size in (0, 5, 700_000, 1, IN_MEMORY, 300_000, 9)]
    places = []
    for part in parts:
        places.append(aside.keep(part))
        assert [aside.read(p, len(d)) for p, d in zip(places, parts, strict=False)] == parts[
            : len(places)
        ]


@pytest.mark.parametrize("most", [1 << 24, 0])
def test_windows_are_those_of_the_array(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scratch, "MAPPED_MOST", most)
    aside, rng = Scratch(), np.random.default_rng(2)
    arrays = [
        rng.integers(-128, 128, shape, np.int8) for shape in ((3, 5), (900, 1300), (7,), (3, 0))
    ]
    places = [aside.keep(array.data) for array in arrays]
    for _ in range(2):
        for place, array in zip(places, arrays, strict=True):
            cut = (slice(1, 3),) * array.ndim
            found = aside.window(place, array.shape, np.int8, cut)
            assert np.array_equal(found, array[cut])
            found[...] = 0  # a copy
    late = aside.keep(b"\1\2\3")
    assert aside.window(late, (3,), np.int8, ()).tolist() == [1, 2, 3]


def test_threads_do_not_mix_what_they_put_aside() -> None:
    aside = Scratch()

    def work(number: int) -> bool:
        data = np.full(200_000, number, np.uint8)
        place = aside.keep(data.data)
        back = aside.window(place, data.shape, np.uint8, (slice(10, 20),))
        return aside.read(place, data.size) == data.tobytes() and set(back.tolist()) == {number}

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(100)))
