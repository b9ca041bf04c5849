"""Work in pieces and on threads: the same as in one piece, whatever the shapes."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dcformat
from dcformat.coded import Affine, CodedTensor, expand_tensor, same_bits
from dcformat.encode import Settings, encode_model
from dcformat.errors import ConvertError
from dcformat.ids import DType
from dcformat.jobs import in_order
from dcformat.model import PIECE, LazyTensor, Model, Tensor, Use, windows
from dcformat.prints import fingerprint
from dcformat.scratch import IN_MEMORY, Scratch

shapes = st.lists(st.integers(0, 700), max_size=3).map(tuple)


@given(shapes, st.integers(0, 2))
def test_windows_cover_each_element_once(shape: tuple[int, ...], axis: int) -> None:
    along = axis if axis < len(shape) else None
    seen = np.zeros(shape, np.uint8)
    for window in windows(shape, along):
        seen[window] += 1
        assert along is not None or seen[window].size <= PIECE
    assert bool((seen == 1).all())


def test_row_major_windows_are_in_the_order_of_the_elements() -> None:
    shape = (3, 2, PIECE + 5)
    whole = np.arange(np.prod(shape)).reshape(shape)
    parts = [whole[window].reshape(-1) for window in windows(shape)]
    assert np.array_equal(np.concatenate(parts), whole.reshape(-1))


@pytest.mark.parametrize(
    ("axis", "block"),
    [(None, 0), (0, 0), (1, 0), (1, 4)],
    ids=["tensor", "rows", "columns", "blocks"],
)
def test_a_window_of_a_scaled_tensor_is_a_window_of_the_whole(axis: int | None, block: int) -> None:
    rng = np.random.default_rng(0)
    shape = {None: (), 0: (6,), 1: (6, 3) if block else (10,)}[axis]
    scale = rng.random(shape).astype(np.float32)
    points = rng.integers(-3, 3, shape).astype(np.int32)
    values = Affine(DType.INT8, scale, points, axis, block)
    tensor = CodedTensor("t", DType.FLOAT, rng.integers(-9, 9, (6, 10)).astype(np.int8), values)
    for window in ((), (slice(1, 4),), (slice(0, 6), slice(3, 9))):
        assert same_bits(expand_tensor(tensor, window), expand_tensor(tensor)[window])


def model(lazy: bool) -> Model:
    """Return tensors of more than one piece, in memory or read when asked for."""
    rng = np.random.default_rng(7)
    data = {
        "dense": rng.standard_normal((700, 600)).astype(np.float32),
        "kernel": rng.standard_normal((64, 512, 3, 3)).astype(np.float32),
        "noise": rng.integers(0, 1 << 32, (600, 700), np.uint32).view(np.float32),
        "trits": rng.integers(0, 3, (701, 601)).astype(np.float32),
        "few": rng.integers(0, 9, (600, 600)).astype(np.float32),
        "vector": rng.standard_normal(300_000).astype(np.float32),
    }
    uses = {
        "dense": Use("a", "MatMul", "weight", 1, (1, 0)),
        "kernel": Use("b", "Conv", "weight", 0, (0, 2, 3, 1)),
    }
    if not lazy:
        return Model(tuple(Tensor(n, DType.FLOAT, a) for n, a in data.items()), uses=uses)
    tensors = [
        LazyTensor(n, DType.FLOAT, a.shape, lambda window, a=a: a[window].copy())
        for n, a in data.items()
    ]
    return Model(tuple(tensors), uses=uses)


@pytest.mark.parametrize("preset", ["lossless", "int8", "deep"])
def test_tensors_that_are_read_in_pieces_give_the_same_file(preset: str) -> None:
    target = "host" if preset == "lossless" else "mcu"
    files = [
        encode_model(dcformat.compress(model(lazy), preset, jobs=jobs), Settings(target, jobs=jobs))
        for lazy, jobs in ((False, 1), (True, 1), (True, 3))
    ]
    assert files[1] == files[0]
    assert files[2] == files[0]


def test_a_tensor_that_changes_while_it_is_written_is_an_error(tmp_path: Path) -> None:
    asked = 0

    def read(window: tuple[slice, ...]) -> np.ndarray:
        nonlocal asked
        asked += 1
        rng = np.random.default_rng(asked)
        return (rng.random((500, 700)) < 1 / asked).astype(np.float32)[window]

    changing = Model((LazyTensor("w", DType.FLOAT, (500, 700), read),))
    with pytest.raises(ConvertError, match="w: changed while it was written"):
        dcformat.save(changing, tmp_path / "x.dcf")
    assert list(tmp_path.iterdir()) == []


def test_results_come_in_order_and_not_far_ahead() -> None:
    begun: list[int] = []
    results = in_order(lambda i: begun.append(i) or i * i, range(100), jobs=3)
    assert [next(results) for _ in range(4)] == [0, 1, 4, 9]
    assert max(begun) < 4 + 2 * 3
    assert list(results) == [i * i for i in range(4, 100)]


@pytest.mark.parametrize("jobs", [1, 3])
def test_what_a_thread_raises_is_raised_in_its_turn(jobs: int) -> None:
    done: list[int] = []
    before = threading.active_count()
    with pytest.raises(ZeroDivisionError):
        done.extend(in_order(lambda i: 1 // (i - 5), range(50), jobs))
    assert done == [-1, -1, -1, -1, -1]
    assert threading.active_count() == before


def test_scratch_gives_back_what_it_was_given_in_memory_and_in_a_file() -> None:
    scratch = Scratch()
    pieces = [bytes([i]) * (IN_MEMORY // 3 + i) for i in range(7)]
    places = [scratch.keep(piece) for piece in pieces]
    for place, piece in reversed(list(zip(places, pieces, strict=True))):
        assert scratch.read(place, len(piece)) == piece


def test_a_window_of_an_array_in_scratch() -> None:
    scratch = Scratch()
    scratch.keep(b"123")
    array = np.arange(60, dtype="<i2").reshape(3, 4, 5)
    place = scratch.keep(array.tobytes())
    for window in ((), (slice(1, 3),), (slice(0, 3), slice(2, 3)), (slice(1, 1),)):
        assert np.array_equal(scratch.window(place, (3, 4, 5), "<i2", window), array[window])


def test_a_full_disk_is_an_error_that_names_the_temporary_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scratch = Scratch()

    def full(data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(scratch._file, "write", full)
    with pytest.raises(ConvertError, match=r"temporary file.*No space left"):
        scratch.keep(b"x")


def test_equal_tensors_are_found_whatever_their_pieces() -> None:
    data = np.arange(400_000, dtype=np.float32).reshape(400, 1000)
    lazy = LazyTensor("b", DType.FLOAT, data.shape, lambda window: data[window].copy())
    coded = dcformat.compress(Model((Tensor("a", DType.FLOAT, data), lazy)), "lossless")
    first, second = (fingerprint(tensor) for tensor in coded.tensors)
    assert first == second
