"""Which form the encoder takes: the smallest, or a fast one that is nearly as small."""

from __future__ import annotations

import numpy as np
import pytest

from dcformat.coded import CodedModel, CodedTensor, Raw
from dcformat.decode import open_file
from dcformat.encode import Settings, encode_model
from dcformat.fastest import SPEED_MARGIN
from dcformat.ids import Coder, DType, Layout


def layout(zeros: float, alphabet: int, **settings: str) -> tuple[Layout, Coder, int]:
    """Return how 64 x 4096 numbers below `alphabet` are written, and in how many bytes."""
    rng = np.random.default_rng(5)
    data = rng.geometric(0.5, (64, 4096)).clip(1, alphabet - 1)
    data[rng.random(data.shape) < zeros] = 0
    coded = CodedModel((CodedTensor("w", DType.INT8, data.astype(np.int8), Raw()),))
    file = encode_model(coded, Settings(**settings))
    head = open_file(file).records[0].head
    return Layout(head.layout), Coder(head.coder), len(file)


def test_many_zeros_take_gaps_whatever_is_preferred() -> None:
    for prefer in ("size", "speed"):
        assert layout(0.93, 16, prefer=prefer)[:2] == (Layout.GAP, Coder.HUFFMAN)


def test_speed_takes_dense_codes_where_they_are_nearly_as_small() -> None:
    small, fast = layout(0.63, 5, prefer="size"), layout(0.63, 5, prefer="speed")
    assert small[0] is not Layout.DENSE
    assert fast[:2] == (Layout.DENSE, Coder.HUFFMAN)
    assert small[2] < fast[2] <= SPEED_MARGIN * small[2]


@pytest.mark.parametrize("target", ["mcu", "host", "smallest"])
def test_size_is_never_larger_than_speed(target: str) -> None:
    for zeros in (0.0, 0.3, 0.5, 0.8, 0.99):
        sizes = [layout(zeros, 9, prefer=p, target=target)[2] for p in ("size", "speed")]
        assert sizes[0] <= sizes[1] <= SPEED_MARGIN * sizes[0] + 16
