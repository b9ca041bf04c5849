"""External data: read inside the model's folder only, checked before it is read (S3, S7)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx_models import graph, model_of, numbers, raw_tensor, serialized

from dcformat.converters import read_onnx
from dcformat.errors import ConvertError
from dcformat.model import Model

DATA = numbers(20).tobytes()


def outside(name: str = "w", kind: int = 1, dims: tuple[int, ...] = (20,), **entries: Any) -> Any:
    proto = raw_tensor(name, kind, dims)
    proto.data_location = onnx.TensorProto.EXTERNAL
    for key, value in entries.items():
        proto.external_data.add(key=key, value=str(value))
    return proto


def read_with(folder: Path, *protos: Any) -> Model:
    path = folder / "m.onnx"
    path.write_bytes(model_of(graph([], list(protos))).SerializeToString())
    return read_onnx.read(path)


def refusal(folder: Path, *protos: Any) -> str:
    with pytest.raises(ConvertError) as caught:
        read_with(folder, *protos)
    message = str(caught.value)
    assert message.startswith(f"{folder / 'm.onnx'} / tensor 'w': ")
    assert "\n" not in message
    return message


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder for the model with data in it, and data outside of it."""
    inside = tmp_path / "inside"
    (inside / "sub").mkdir(parents=True)
    (tmp_path / "outside.bin").write_bytes(DATA)
    (inside / "w.bin").write_bytes(DATA)
    (inside / "sub" / "w.bin").write_bytes(b"head" + DATA)
    return inside


def test_data_beside_the_model_is_read(folder: Path) -> None:
    model = read_with(folder, outside(location="w.bin"))
    assert model.tensors[0].data.tobytes() == DATA
    assert model.source.file_bytes == (folder / "m.onnx").stat().st_size + len(DATA)


def test_offset_and_length_choose_a_piece(folder: Path) -> None:
    model = read_with(folder, outside(location="sub/w.bin", offset=4, length=80))
    assert model.tensors[0].data.tobytes() == DATA


def test_small_external_tensors_are_lifted_too(folder: Path) -> None:
    model = read_with(folder, outside(dims=(), location="w.bin"))
    assert model.tensors[0].data.tobytes() == DATA[:4]


def test_written_back_the_data_is_inside(folder: Path) -> None:
    model = read_with(folder, outside(location="w.bin", checksum="x"))
    (tensor,) = onnx.ModelProto.FromString(serialized(model)).graph.initializer
    assert tensor == onnx.TensorProto(name="w", data_type=1, dims=[20], raw_data=DATA)


def test_external_data_of_any_attribute_is_lifted(folder: Path) -> None:
    node = onnx.helper.make_node("ConstantOfShape", ["s"], ["y"], value=outside(location="w.bin"))
    path = folder / "m.onnx"
    path.write_bytes(model_of(graph([node], [])).SerializeToString())
    (tensor,) = read_onnx.read(path).tensors
    assert (tensor.name, tensor.data.tobytes()) == ("graph/constant_0", DATA)


def test_a_piece_that_two_tensors_share_is_read_once(folder: Path) -> None:
    model = read_with(folder, outside("a", location="w.bin"), outside("b", location="w.bin"))
    assert [t.data.tobytes() for t in model.tensors] == [DATA, DATA]
    assert model.source.file_bytes == (folder / "m.onnx").stat().st_size + len(DATA)


def test_many_overlapping_pieces_are_refused(folder: Path) -> None:
    pieces = [outside("a", dims=(18,), location="w.bin", offset=0)]
    pieces.append(outside("w", dims=(18,), location="w.bin", offset=8))
    assert "tensors overlap in external data file 'w.bin'" in refusal(folder, *pieces)


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("../outside.bin", "its path leaves the model's folder"),
        ("sub/../../outside.bin", "its path leaves the model's folder"),
        ("..\\outside.bin", "its path leaves the model's folder"),
        ("{parent}/outside.bin", "its path is absolute"),
        ("/etc/passwd", "its path is absolute"),
        ("C:\\secret.bin", "its path is absolute"),
        ("\\secret.bin", "its path is absolute"),
        ("", "has no location"),
        ("w.bin\0", "its path holds a NUL"),
        ("none.bin", "No such file"),
        ("sub", "is not a regular file"),
        (".", "is not a regular file"),
        ("w.bin/x", "Not a directory"),
    ],
)
def test_a_location_that_is_no_file_inside_the_folder_is_refused(
    folder: Path, location: str, reason: str
) -> None:
    where = location.format(parent=folder.parent)
    assert reason in refusal(folder, outside(location=where))


def test_no_location_at_all_is_refused(folder: Path) -> None:
    assert "has no location" in refusal(folder, outside())


def test_a_link_that_leaves_the_folder_is_refused(folder: Path) -> None:
    (folder / "link.bin").symlink_to(folder.parent / "outside.bin")
    assert "a link leads out of the model's folder" in refusal(folder, outside(location="link.bin"))


def test_a_folder_link_that_leaves_the_folder_is_refused(folder: Path) -> None:
    (folder / "away").symlink_to(folder.parent)
    refused = refusal(folder, outside(location="away/outside.bin"))
    assert "a link leads out of the model's folder" in refused


def test_a_link_inside_the_folder_is_followed(folder: Path) -> None:
    (folder / "link.bin").symlink_to("w.bin")
    assert read_with(folder, outside(location="link.bin")).tensors[0].data.tobytes() == DATA


def test_a_folder_that_is_reached_by_a_link_is_the_models_folder(folder: Path) -> None:
    read_with(folder, outside(location="w.bin"))
    (folder.parent / "alias").symlink_to(folder)
    model = read_onnx.read(folder.parent / "alias" / "m.onnx")
    assert model.tensors[0].data.tobytes() == DATA


def test_a_loop_of_links_is_refused(folder: Path) -> None:
    (folder / "a.bin").symlink_to("b.bin")
    (folder / "b.bin").symlink_to("a.bin")
    assert "link" in refusal(folder, outside(location="a.bin"))


def test_a_pipe_is_refused_without_waiting(folder: Path) -> None:
    os.mkfifo(folder / "pipe.bin")
    assert "is not a regular file" in refusal(folder, outside(location="pipe.bin"))


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ({"offset": 1}, "'w.bin' has 80 bytes, 81 are needed: it is cut short"),
        ({"offset": -1}, "the offset of its external data is not a number: '-1'"),
        ({"offset": "1e1"}, "is not a number"),
        ({"offset": ""}, "is not a number"),
        ({"offset": "\u0661"}, "is not a number"),
        ({"offset": 10**17}, "100000000000000080 are needed"),
        ({"offset": "9" * 30}, "is not a number"),
        ({"length": 79}, "has 79 bytes, its shape needs 80"),
        ({"length": -80}, "is not a number"),
        ({"length": 0}, "has 0 bytes, its shape needs 80"),
    ],
)
def test_offset_and_length_must_fit(folder: Path, entries: dict[str, Any], reason: str) -> None:
    assert reason in refusal(folder, outside(location="w.bin", **entries))


@pytest.mark.parametrize(
    ("proto", "reason"),
    [
        (outside(kind=8, location="w.bin"), "no element type 8"),
        (outside(dims=(-1,), location="w.bin"), "its shape is impossible"),
        (outside(dims=(1,) * 9, location="w.bin"), "it has 9 axes"),
        (outside(dims=(1 << 30,), location="w.bin"), "4294967296 are needed"),
        (outside(kind=9, dims=(80,), location="w.bin"), "a BOOL is neither 0 nor 1"),
    ],
)
def test_external_tensors_that_cannot_be_stored_are_errors(
    folder: Path, proto: Any, reason: str
) -> None:
    assert reason in refusal(folder, proto)


def test_long_locations_are_shown_shortened(folder: Path) -> None:
    assert len(refusal(folder, outside(location="../" + "x" * 9000))) < 400
