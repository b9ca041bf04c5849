"""The walk over a tensor: C and the rooms in NumPy count and write the same."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcformat import kernels, walk
from dcformat.encodings.layout_gap import Gap
from dcformat.encodings.layout_run import Run
from dcformat.errors import CorruptError
from dcformat.ids import Layout
from dcformat.tables import tables_of
from dcformat.walk import Walk

pytestmark = pytest.mark.skipif(not kernels.NATIVE, reason="the C extension is not built")


@st.composite
def walks(draw: st.DrawFn) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64], Walk]:
    """Elements with more or less background, in blocks, and a walk over them."""
    width = draw(st.sampled_from([1, 1, 2, 4]))
    alphabet = draw(st.integers(1, 254))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    count = draw(st.integers(0, 2000))
    planes = rng.integers(0, alphabet, (count, width)).astype(np.uint8)
    planes[rng.random(count) < draw(st.sampled_from([0.0, 0.5, 0.99, 1.0]))] = 0
    cuts = sorted(draw(st.lists(st.integers(0, count), max_size=5)))
    layouts = [(Layout.DENSE, None), (Layout.GAP, Gap(255, 0)), (Layout.GAP, Gap(1, 0))]
    layouts += [(Layout.GAP, Gap(6, 0, True)), (Layout.RUN, Run(0))][: 2 if width == 1 else 1]
    layout, params = draw(st.sampled_from(layouts))
    return planes, np.array([*cuts, count], np.int64), Walk(layout, params, (alphabet,) * width)


@given(walks())
def test_c_counts_what_the_rooms_count(
    given_walk: tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64], Walk],
) -> None:
    assert np.array_equal(walk.count(*given_walk), walk.numpy_count(*given_walk))


@given(walks(), st.booleans())
def test_c_writes_what_the_rooms_write(
    given_walk: tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64], Walk], split: bool
) -> None:
    counts = walk.count(*given_walk).astype(np.int64)
    classes = (np.arange(len(counts)) % 2).astype(np.uint8) if split and len(counts) > 1 else None
    groups = [counts] if classes is None else [counts[classes == c] for c in (0, 1)]
    tables = tuple(t for group in groups for t in tables_of(group.sum(axis=0)))
    huffman = walk.write_huffman(*given_walk, tables, classes)
    packed = walk.write_packed(*given_walk)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "NATIVE", False)
        assert walk.write_huffman(*given_walk, tables, classes) == huffman
        assert walk.write_packed(*given_walk) == packed


def test_a_symbol_that_the_table_lacks_is_an_error() -> None:
    planes = np.array([[0], [1], [2]], np.uint8)
    dense = Walk(Layout.DENSE, None, (3,))
    ends = np.array([3])
    lacking = tables_of(walk.count(planes[:2], np.array([2]), dense)[0].astype(np.int64))
    with pytest.raises(CorruptError, match="lacks"):
        walk.write_huffman(planes, ends, dense, lacking, None)


@pytest.mark.parametrize(
    ("ends", "params"),
    [([2], None), ([2, 1, 3], None), ([4], None), ([3], Gap(0, 0)), ([3], Gap(256, 0))],
)
def test_arguments_that_make_no_sense_are_refused(ends: list[int], params: Gap | None) -> None:
    layout = Layout.DENSE if params is None else Layout.GAP
    with pytest.raises(ValueError, match="make no sense"):
        walk.count(np.zeros((3, 1), np.uint8), np.array(ends), Walk(layout, params, (1,)))


@pytest.mark.parametrize(
    "numbers",
    [
        (1, Layout.RUN, 0, 1, 0, -5),
        (1, Layout.RUN, 0, 1, 0, 255),
        (1, Layout.GAP, 0, 1, -1, 9),
        (1, Layout.GAP, 0, 255, 2**31 - 256, 9),
        (1, Layout.DENSE, 0, 1, 0, 257),
        (17, Layout.DENSE, 0, 1, 0, 9),
        (1, Layout.DENSE, -1, 1, 0, 9),
    ],
)
def test_c_refuses_what_would_lead_it_astray(numbers: tuple[int, ...]) -> None:
    planes, ends = np.zeros((17, 1), np.uint8), np.array([17 // numbers[0]])
    with pytest.raises(ValueError, match="make no sense"):
        kernels._core.walk_count(planes, ends, tuple(int(n) for n in numbers))


@given(st.integers(0, 2**32), st.integers(0, 300), st.sampled_from([1, 2]), st.floats(0, 1))
def test_the_bits_of_packed_gaps_are_those_of_their_items(
    seed: int, count: int, width: int, share: float
) -> None:
    rng = np.random.default_rng(seed)
    planes = rng.integers(0, 13, (count, width)).astype(np.uint8)
    planes[rng.random(count) < share] = 0
    alphabets, ends = (13,) * width, np.array([count], np.int64)
    found = walk.packed_gap_bits(planes, alphabets, 0)
    for bits in range(1, 9):
        written = walk.count(planes, ends, Walk(Layout.GAP, Gap((1 << bits) - 1, 0), alphabets))
        items = written[0].sum(axis=1)
        assert found[bits - 1] == items[0] * bits + items[1:].sum() * 4
