"""Writing .npz: names that are safe and come back, bits that are kept, the same bytes always."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcformat.converters import read_onnx
from dcformat.converters.write_npz import WRITER, member_name, tensor_name
from dcformat.errors import ConvertError
from dcformat.ids import NUMPY, DType
from dcformat.model import Array, Model, Tensor


def written(folder: Path, *tensors: Tensor) -> dict[str, Array]:
    path = folder / "out.npz"
    WRITER.write(Model(tensors=tensors), path)
    with np.load(path) as archive:
        return {key: archive[key] for key in archive.files}


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("conv1.weight", "conv1.weight"),
        ("/conv/w:0", "%2Fconv%2Fw%3A0"),
        ("a\\b", "a%5Cb"),
        ("nul\0", "nul%00"),
        ("line\nfeed\x7f\x9f", "line%0Afeed%7F%C2%9F"),
        (".hidden", "%2Ehidden"),
        ("..", "%2E%2E"),
        ("../../x", "%2E%2E%2F.%2E%2Fx"),
        ("a..b", "a.%2Eb"),
        ("100%", "100%25"),
        ("end.", "end%2E"),
        ("end ", "end%20"),
        ("", "%"),
        ("größe", "größe"),
        ("x" * 241, "x" * 240 + "/" + "x"),
        ("ß" * 121, "ß" * 120 + "/" + "ß"),
        ("x" * 240 + ".", "x" * 240 + "/%2E"),
    ],
)
def test_names_become_safe_keys_and_come_back(name: str, key: str) -> None:
    assert member_name(name) == key
    assert tensor_name(key) == name


@given(st.text(max_size=400) | st.text("./\\% \0:a", max_size=600))
def test_any_name_is_safe_and_comes_back(name: str) -> None:
    key = member_name(name)
    assert tensor_name(key) == name
    for part in key.split("/"):
        assert part
        assert not part.startswith(".")
        assert ".." not in part
        assert not set(part) & set('\\:*?"<>|\0\n')
        assert len(f"{part}.npy".encode()) <= 255


@pytest.mark.parametrize("dtype", list(DType))
def test_every_type_keeps_its_bits(dtype: DType, tmp_path: Path) -> None:
    data = np.frombuffer(bytes(range(2)) * 48, NUMPY[dtype]).reshape(2, 3, -1)
    back = written(tmp_path, Tensor("t", dtype, data))["t"]
    assert back.dtype == data.dtype
    assert back.shape == data.shape
    assert back.tobytes() == data.tobytes()


def test_scalars_and_empty_tensors_and_other_memory_orders(tmp_path: Path) -> None:
    turned = np.asfortranarray(np.arange(6, dtype="<f4").reshape(2, 3))
    back = written(
        tmp_path,
        Tensor("scalar", DType.FLOAT, np.array(1.5, "<f4")),
        Tensor("empty", DType.FLOAT, np.zeros((0, 3), "<f4")),
        Tensor("turned", DType.FLOAT, turned),
    )
    assert back["scalar"].shape == ()
    assert back["empty"].shape == (0, 3)
    assert np.array_equal(back["turned"], turned)


def test_a_model_without_tensors_is_an_empty_archive(tmp_path: Path) -> None:
    assert written(tmp_path) == {}


def test_members_are_stored_in_order_and_without_a_clock(tmp_path: Path) -> None:
    tensors = [Tensor(n, DType.INT8, np.zeros(3, "i1")) for n in ("z", "a", "m")]
    written(tmp_path, *tensors)
    first = (tmp_path / "out.npz").read_bytes()
    with zipfile.ZipFile(tmp_path / "out.npz") as archive:
        infos = archive.infolist()
    assert [i.filename for i in infos] == ["z.npy", "a.npy", "m.npy"]
    assert {(i.date_time, i.compress_type, i.create_system) for i in infos} == {
        ((1980, 1, 1, 0, 0, 0), zipfile.ZIP_STORED, 3)
    }
    written(tmp_path, *tensors)
    assert (tmp_path / "out.npz").read_bytes() == first


def test_a_name_too_long_for_a_zip_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match="name is too long"):
        written(tmp_path, Tensor("x" * 70000, DType.INT8, np.zeros(1, "i1")))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.realdata
def test_a_real_model_is_read_back(data_dir: Path, tmp_path: Path) -> None:
    model = read_onnx.read(data_dir / "onnx" / "silero_vad_v6.onnx")
    back = written(tmp_path, *model.tensors)
    assert [tensor_name(key) for key in back] == [t.name for t in model.tensors]
    for tensor in model.tensors:
        assert back[member_name(tensor.name)].tobytes() == tensor.data.tobytes()
