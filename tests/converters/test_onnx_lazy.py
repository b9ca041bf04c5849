"""Tensors read where they lie: the right numbers, little memory, changes are noticed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_models import (
    ENCODINGS,
    every_pattern,
    graph,
    model_of,
    numbers,
    raw_tensor,
    serialized,
    tensor,
)

from dcformat.converters import onnx_lazy, read_onnx, weights
from dcformat.converters.onnx_data import RAW_DATA, encode
from dcformat.converters.onnx_files import FileBytes, look_at
from dcformat.converters.onnx_wire import varint
from dcformat.errors import ConvertError
from dcformat.ids import NUMPY, DType
from dcformat.model import Array, LazyTensor, Model, Tensor, Window

LARGE = numbers(160, 130)  # more than 64 KiB


def saved(folder: Path, *protos: Any) -> Path:
    path = folder / "m.onnx"
    path.write_bytes(model_of(graph([], list(protos))).SerializeToString())
    return path


def read_large(folder: Path) -> Tensor:
    (lifted,) = read_onnx.read(saved(folder, tensor("w", LARGE))).tensors
    return lifted


# Which tensors, and their numbers


def test_a_large_tensor_is_lazy_and_a_small_one_is_kept(tmp_path: Path) -> None:
    path = saved(tmp_path, tensor("w", LARGE), tensor("s", numbers(128, 128)))
    large, small = read_onnx.read(path).tensors
    assert isinstance(large, LazyTensor)
    assert not isinstance(small, LazyTensor)
    assert (large.shape, large.dtype) == ((160, 130), DType.FLOAT)
    assert large.data.tobytes() == LARGE.tobytes()
    assert large.data is not large.data
    assert large.data.flags.writeable


def test_many_small_tensors_are_not_kept_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "_TOGETHER", 1000)
    path = saved(tmp_path, *(tensor(f"t{i}", numbers(100) + i) for i in range(4)))
    tensors = read_onnx.read(path).tensors
    assert [isinstance(t, LazyTensor) for t in tensors] == [False, False, True, True]
    assert [t.data[0] for t in tensors] == [-3, -2, -1, 0]


@pytest.mark.parametrize(("dtype", "field"), ENCODINGS)
def test_every_encoding_is_read_lazily_and_put_back(
    dtype: DType, field: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights, "_AT_ONCE", 0)
    elements = np.resize(every_pattern(dtype), (3, 7, 31))
    payload = encode(field, dtype, elements)
    head = raw_tensor("t", int(dtype), elements.shape).SerializeToString()
    with_data = head + varint(field << 3 | 2) + varint(len(payload)) + payload
    path = saved(tmp_path, onnx.TensorProto.FromString(with_data))
    model = read_onnx.read(path)
    (lifted,) = model.tensors
    assert isinstance(lifted, LazyTensor)
    assert lifted.data.dtype == np.dtype(NUMPY[dtype])
    assert lifted.data.tobytes() == elements.tobytes()
    window = (slice(1, 3), slice(5, 0, -2), slice(3, 20))
    assert lifted.piece(window).tobytes() == elements[window].tobytes()
    assert serialized(model) == path.read_bytes()


def test_numbers_of_different_lengths_are_decoded_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = [(-1) ** i * i**4 for i in range(200 * 90)]
    elements = np.array(values).reshape(200, 90)
    saved(tmp_path, raw_tensor("t", int(DType.INT64), (200, 90), int64_data=values))
    sizes: list[int] = []
    real: Callable[..., Array] = onnx_lazy.decode

    def decode(*arguments: Any) -> Array:
        sizes.append(arguments[3])
        return real(*arguments)

    monkeypatch.setattr(onnx_lazy, "decode", decode)
    monkeypatch.setattr(onnx_lazy, "_CHUNK", 5000)
    monkeypatch.setattr(weights, "_AT_ONCE", 0)
    for part in (1, 7, 90, 1000, 1 << 16):
        monkeypatch.setattr(onnx_lazy, "_PART", part)
        (lifted,) = read_onnx.read(tmp_path / "m.onnx").tensors
        assert np.array_equal(lifted.data, elements)
        assert np.array_equal(lifted.piece((slice(7, 60, 3), slice(5))), elements[7:60:3, :5])
        sizes.clear()
        assert np.array_equal(lifted.piece((slice(100, 101),)), elements[100:101])
        assert sum(sizes) < 90 + 2 * part


@pytest.mark.parametrize("location", ["m.bin", "sub/m.bin"])
def test_external_data_is_read_where_it_lies(tmp_path: Path, location: str) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / location).write_bytes(b"head" + LARGE.tobytes() + b"tail")
    proto = raw_tensor("w", 1, LARGE.shape)
    proto.data_location = onnx.TensorProto.EXTERNAL
    proto.external_data.add(key="location", value=location)
    proto.external_data.add(key="offset", value="4")
    (lifted,) = read_onnx.read(saved(tmp_path, proto)).tensors
    assert isinstance(lifted, LazyTensor)
    assert lifted.data.tobytes() == LARGE.tobytes()
    assert lifted.piece((slice(None), slice(3, 5))).tobytes() == LARGE[:, 3:5].tobytes()


ODD = {
    "odd bool": (raw_tensor("t", 9, (70000,), raw_data=bytes(69999) + b"\2"), "neither 0 nor 1"),
    "odd tail": (
        raw_tensor("t", int(DType.UINT4), (139999,), raw_data=bytes(69999) + b"\x10"),
        "unused bits of the last byte",
    ),
    "too wide": (
        raw_tensor("t", int(DType.UINT8), (70000,), int32_data=[1] * 69999 + [256]),
        "outside the range of UINT8",
    ),
    "too many": (
        raw_tensor("t", int(DType.INT32), (70000,), int32_data=[1] * 70001),
        "70001 numbers where its shape needs 70000",
    ),
}


@pytest.mark.parametrize("kind", ODD)
def test_large_odd_tensors_stay_in_the_graph(kind: str, tmp_path: Path) -> None:
    proto, reason = ODD[kind]
    model = read_onnx.read(saved(tmp_path, proto))
    assert model.tensors == ()
    assert reason in model.notes[0]


# Windows


@st.composite
def windows(draw: st.DrawFn) -> tuple[tuple[int, ...], Window]:
    dims = tuple(draw(st.lists(st.integers(1, 9), max_size=4)))
    axes = draw(st.integers(0, len(dims)))
    return dims, tuple(draw(st.slices(n)) for n in dims[:axes])


@settings(max_examples=300)
@given(
    windows(),
    st.sampled_from([DType.FLOAT, DType.INT4, DType.UINT2, DType.BOOL, DType.COMPLEX128]),
    st.sampled_from([(1 << 20, 1 << 13), (64, 8), (16, 0), (200, 40)]),
)
def test_any_window_is_that_of_numpy(
    tmp_path_factory: pytest.TempPathFactory,
    asked: tuple[tuple[int, ...], Window],
    dtype: DType,
    sizes: tuple[int, int],
) -> None:
    dims, window = asked
    elements = np.resize(every_pattern(dtype), dims)
    path = tmp_path_factory.getbasetemp() / "elements.bin"
    path.write_bytes(b"xyz" + encode(RAW_DATA, dtype, elements))
    region = onnx_lazy.Packed(look_at(path, "it"), 3, dtype, dims)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnx_lazy, "_CHUNK", sizes[0])
        patch.setattr(onnx_lazy, "_GAP", sizes[1])
        found = onnx_lazy.read(region, window)
    assert found.shape == elements[window].shape
    assert found.tobytes() == elements[window].tobytes()


def test_a_window_of_too_many_axes_is_the_callers_mistake(tmp_path: Path) -> None:
    with pytest.raises(IndexError, match="3 axes into a tensor of 2"):
        read_large(tmp_path).piece((slice(1), slice(1), slice(1)))


def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the list to which the size of each read from now on is added."""
    sizes: list[int] = []
    read_into, read_strips = onnx_lazy.read_into, onnx_lazy.read_strips

    def into(stream: Any, offset: int, room: memoryview) -> None:
        sizes.append(len(room))
        read_into(stream, offset, room)

    def strips(stream: Any, offsets: Any, size: int) -> bytes:
        sizes.extend(size for _ in offsets)
        return read_strips(stream, offsets, size)

    monkeypatch.setattr(onnx_lazy, "read_into", into)
    monkeypatch.setattr(onnx_lazy, "read_strips", strips)
    return sizes


def test_columns_are_read_without_what_is_between_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = np.arange(50 * 9000, dtype="<f4").reshape(50, 9000)
    (lifted,) = read_onnx.read(saved(tmp_path, tensor("w", wide))).tensors
    sizes = counted(monkeypatch)
    assert np.array_equal(lifted.piece((slice(None), slice(7, 40))), wide[:, 7:40])
    assert sizes == [33 * 4] * 50
    sizes.clear()
    assert np.array_equal(lifted.piece((slice(3, 5),)), wide[3:5])
    assert sizes == [2 * 36000]


def test_columns_are_read_where_the_system_has_no_pread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "pread", raising=False)
    wide = np.arange(50 * 9000, dtype="<f4").reshape(50, 9000)
    (lifted,) = read_onnx.read(saved(tmp_path, tensor("w", wide))).tensors
    assert np.array_equal(lifted.piece((slice(3, 40, 2), slice(7, 40))), wide[3:40:2, 7:40])


def test_narrow_rows_are_read_many_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    narrow = np.arange(600000, dtype="<f4").reshape(100000, 6)
    (lifted,) = read_onnx.read(saved(tmp_path, tensor("w", narrow))).tensors
    sizes = counted(monkeypatch)
    assert np.array_equal(lifted.piece((slice(None), slice(2, 3))), narrow[:, 2:3])
    assert len(sizes) == 3
    assert max(sizes) <= 1 << 20


# Files that change


@pytest.fixture
def lazy(tmp_path: Path) -> Tensor:
    return read_large(tmp_path)


def refusal(lifted: Tensor) -> str:
    with pytest.raises(ConvertError) as caught:
        lifted.piece((slice(1),))
    return str(caught.value)


def test_a_file_that_was_written_again_is_refused(tmp_path: Path, lazy: Tensor) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(path.read_bytes())
    os.utime(path, ns=(1, 1))
    assert refusal(lazy) == f"{path} / tensor 'w': the file has changed since it was first read"


def test_a_file_that_was_cut_is_refused(tmp_path: Path, lazy: Tensor) -> None:
    os.truncate(tmp_path / "m.onnx", 100)
    assert "the file has changed since it was first read" in refusal(lazy)


def test_a_file_that_was_replaced_is_refused(tmp_path: Path, lazy: Tensor) -> None:
    path = tmp_path / "m.onnx"
    stamp = path.stat().st_mtime_ns
    (tmp_path / "new").write_bytes(path.read_bytes())
    (tmp_path / "new").replace(path)
    os.utime(path, ns=(stamp, stamp))
    assert "the file has changed since it was first read" in refusal(lazy)


def test_a_file_that_is_gone_is_named(tmp_path: Path, lazy: Tensor) -> None:
    (tmp_path / "m.onnx").unlink()
    assert (
        refusal(lazy) == f"{tmp_path / 'm.onnx'} / tensor 'w': the file: No such file or directory"
    )


def test_a_pipe_in_the_place_of_a_file_is_refused_without_waiting(
    tmp_path: Path, lazy: Tensor
) -> None:
    (tmp_path / "m.onnx").unlink()
    os.mkfifo(tmp_path / "m.onnx")
    assert "the file has changed since it was first read" in refusal(lazy)


def test_external_data_that_changes_is_named(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(LARGE.tobytes())
    proto = raw_tensor("w", 1, LARGE.shape)
    proto.data_location = onnx.TensorProto.EXTERNAL
    proto.external_data.add(key="location", value="w.bin")
    (lifted,) = read_onnx.read(saved(tmp_path, proto)).tensors
    os.truncate(tmp_path / "w.bin", 10)
    assert refusal(lifted) == (
        f"{tmp_path / 'm.onnx'} / tensor 'w': "
        "external data file 'w.bin' has changed since it was first read"
    )


def test_a_file_that_changes_while_it_is_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tmp_path, tensor("w", LARGE))
    parse = read_onnx._parse

    def parse_late(*arguments: Any) -> Any:
        os.utime(path, ns=(1, 1))
        return parse(*arguments)

    monkeypatch.setattr(read_onnx, "_parse", parse_late)
    with pytest.raises(ConvertError, match="has changed since it was first read"):
        read_onnx.read(path)


def test_lazy_tensors_do_not_depend_on_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(tmp_path, tensor("w", LARGE))
    monkeypatch.chdir(tmp_path)
    (lifted,) = read_onnx.read(Path("m.onnx")).tensors
    monkeypatch.chdir("/")
    assert lifted.data.tobytes() == LARGE.tobytes()


def test_no_file_stays_open(tmp_path: Path) -> None:
    descriptors = Path("/proc/self/fd")
    if not descriptors.is_dir():
        pytest.skip("open files cannot be counted here")
    before = len(list(descriptors.iterdir()))
    model = Model(tensors=(read_large(tmp_path),))
    assert model.tensors[0].data.size == LARGE.size
    assert len(list(descriptors.iterdir())) == before


def test_bytes_of_a_file_are_sliced_as_bytes_are(tmp_path: Path) -> None:
    data = np.random.default_rng(4).bytes(70000)
    path = tmp_path / "b"
    path.write_bytes(data)
    file = look_at(path, "b")
    with file.open() as stream:
        source = FileBytes(stream, file.size)
        assert len(source) == len(data)
        rng = np.random.default_rng(5)
        for start in [*rng.integers(0, 70000, 200), 0, 69999, 70000, 16384]:
            for size in (0, 1, 20, 5000, 16384, 20000, 80000):
                assert source[start : start + size] == data[start : start + size]
