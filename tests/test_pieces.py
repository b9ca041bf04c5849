"""Work in pieces and on threads: the same as in one piece, whatever the shapes."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dcformat
from dcformat.coded import (
    Affine,
    Codebook,
    CodedModel,
    CodedTensor,
    LazyCoded,
    Raw,
    expand_tensor,
    same_bits,
)
from dcformat.encode import Settings, encode_model
from dcformat.errors import ConvertError, CorruptError
from dcformat.file import File, model_of
from dcformat.ids import DType
from dcformat.jobs import in_order, order_of
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
        dcformat.save(changing, tmp_path / "x.dcf", target="mcu")  # host keeps zstd's bytes
    assert list(tmp_path.iterdir()) == []


def test_results_come_in_order_and_not_far_ahead() -> None:
    begun: list[int] = []
    results = in_order(lambda i: begun.append(i) or i * i, range(100), jobs=3)
    assert [next(results) for _ in range(4)] == [0, 1, 4, 9]
    assert max(begun) < 4 + 2 * 3
    assert list(results) == [i * i for i in range(4, 100)]


def test_no_thread_is_left_alone_with_a_large_tensor() -> None:
    assert list(order_of([5] * 10 + [2] * 3 + [17], 2)) == [*range(8), 13, *range(8, 13)]
    assert list(order_of([1, 1, 9], 1)) == [0, 1, 2]


@given(st.lists(st.integers(0, 50), max_size=30), st.integers(1, 5))
def test_large_tensors_first_or_not_the_results_come_in_order(sizes: list[int], jobs: int) -> None:
    assert sorted(order_of(sizes, jobs)) == list(range(len(sizes)))
    arrays = [np.zeros(size) for size in sizes]
    assert [
        found is mine
        for found, mine in zip(in_order(lambda a: a, arrays, jobs), arrays, strict=True)
    ] == [True] * len(sizes)


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


def test_what_is_reserved_in_scratch_is_not_filled_in_memory() -> None:
    scratch = Scratch()
    scratch.reserve(64 * IN_MEMORY)
    place = scratch.keep(b"behind it")
    assert scratch._file._rolled  # type: ignore[attr-defined]
    assert scratch.read(place, 9) == b"behind it"


@pytest.mark.parametrize("calls", range(1, 16))
def test_symbols_that_change_at_any_moment_never_give_other_numbers(calls: int) -> None:
    """A change of sizes is seen at once; any other by whoever reads the numbers."""
    rng = np.random.default_rng(3)
    before, after = (rng.geometric(p, (512, 512)).clip(0, 15).astype(np.uint8) for p in (0.3, 0.6))
    asked = 0

    def read(window: tuple[slice, ...]) -> np.ndarray:
        nonlocal asked
        asked += 1
        return (before if asked <= calls else after)[window].copy()

    levels = Codebook(DType.FLOAT, np.arange(16, dtype=np.float32))
    changing = CodedModel((LazyCoded("w", DType.FLOAT, (512, 512), read, levels),))
    seen = ""
    try:
        symbols = File(encode_model(changing)).coded("w").symbols
    except (ConvertError, CorruptError) as error:
        seen = str(error)
    if seen:
        assert "changed while it was written" in seen or "the CRC differs" in seen
        return
    assert np.array_equal(symbols, before) or np.array_equal(symbols, after)


def test_rows_for_access_may_be_many() -> None:
    data = np.random.default_rng(1).geometric(0.9, (6000, 256)).clip(1, 5).astype(np.int8)
    coded = CodedModel((CodedTensor("w", DType.INT8, data, Raw()),))
    file = File(encode_model(coded, Settings(row_access=True)))
    assert file.record("w").head.block_rows == 1
    assert np.array_equal(file["w"], data)


def test_a_model_of_a_file_gives_new_arrays() -> None:
    coded = CodedModel((CodedTensor("w", DType.INT8, np.ones((9, 9), np.int8), Raw()),))
    (tensor,) = model_of(File(encode_model(coded))).tensors
    tensor.data[:] = 7
    assert bool((tensor.data == 1).all())


def test_an_index_beyond_the_levels_is_an_error_with_a_place() -> None:
    values = Codebook(DType.FLOAT, np.zeros(2, np.float32))
    bad = CodedTensor("w", DType.FLOAT, np.full((3, 3), 9, np.uint8), values)
    with pytest.raises(ConvertError, match="w: cannot encode"):
        encode_model(CodedModel((bad,)))


def test_an_output_that_holds_the_numbers_of_the_input_is_refused(tmp_path: Path) -> None:
    data = tmp_path / "b.onnx.data"
    data.write_bytes(b"numbers")
    foreign = Model((Tensor("w", DType.FLOAT, np.ones(3, np.float32)),), files=(data,))
    for write in (
        lambda: dcformat.write(foreign, tmp_path / "b.onnx", external=True),
        lambda: dcformat.save(foreign, data),
        lambda: dcformat.save(dcformat.compress(foreign), data),
    ):
        with pytest.raises(ConvertError, match="would replace data of the input"):
            write()
    assert data.read_bytes() == b"numbers"
