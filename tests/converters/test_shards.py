"""Models of more than one file: the index and its shards agree, or one line says where not."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors_files import file_of, pack, sharded
from torch_files import state_dict

import dcformat
from dcformat.converters.shards import READER
from dcformat.errors import ConvertError
from dcformat.ids import Meta

ONE = file_of({"b": ("U8", [2], b"\1\2"), "a": ("F32", [1], b"\0\0\xc0\x7f")}, {"format": "pt"})
TWO = file_of({"c": ("BF16", [1], b"\1\2")}, {"format": "pt"})
SHARDS = {"m-2.safetensors": TWO, "m-1.safetensors": ONE}
MAP = {"a": "m-1.safetensors", "c": "m-2.safetensors", "b": "m-1.safetensors"}


def refused(path: Path) -> str:
    """Return the line that says why an index is refused, without its name."""
    with pytest.raises(ConvertError) as caught:
        dcformat.read(path)
    line = str(caught.value)
    assert "\n" not in line
    assert line.startswith(str(path))
    return line.removeprefix(str(path))


def index(folder: Path, text: str | bytes) -> Path:
    path = folder / "model.safetensors.index.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_tensors_stand_in_the_order_of_shards_and_of_their_bytes(tmp_path: Path) -> None:
    path = sharded(tmp_path, SHARDS, MAP, total_size=8)
    model = dcformat.read(path)
    assert [(t.name, t.data.tobytes()) for t in model.tensors] == [
        ("b", b"\1\2"),
        ("a", b"\0\0\xc0\x7f"),
        ("c", b"\1\2"),
    ]
    assert model.notes == ()
    assert model.metadata == {Meta.SOURCE_METADATA: b'{"format":"pt"}'}
    assert model.source.sha256 == hashlib.sha256(path.read_bytes()).digest()
    assert model.source.file_bytes == path.stat().st_size + len(ONE) + len(TWO)
    assert {file.name for file in model.files} == set(SHARDS)


def test_a_sharded_model_becomes_one_file_that_verifies(tmp_path: Path) -> None:
    path = sharded(tmp_path, SHARDS, MAP)
    dcformat.save(dcformat.read(path), tmp_path / "m.dcf")
    assert dcformat.verify(tmp_path / "m.dcf", against=path).ok
    assert dcformat.load(tmp_path / "m.dcf").metadata[Meta.SOURCE_METADATA] == b'{"format":"pt"}'


def test_shards_of_torch_are_read_by_their_reader(tmp_path: Path) -> None:
    arrays = {"b": np.arange(6, dtype="<f4").reshape(2, 3), "a": np.arange(3, dtype="<i8")}
    for number, (name, array) in enumerate(arrays.items()):
        (tmp_path / f"pytorch_model-{number}.bin").write_bytes(state_dict({name: array}))
    path = tmp_path / "pytorch_model.bin.index.json"
    weight_map = {"a": "pytorch_model-1.bin", "b": "pytorch_model-0.bin"}
    path.write_text(json.dumps({"metadata": {"total_size": 48}, "weight_map": weight_map}))
    model = dcformat.read(path)
    assert [t.name for t in model.tensors] == ["b", "a"]
    for tensor in model.tensors:
        assert tensor.data.dtype == arrays[tensor.name].dtype
        assert np.array_equal(tensor.data, arrays[tensor.name])
    assert not [note for note in model.notes if "total_size" in note]
    (tmp_path / "pytorch_model-1.bin").write_bytes(b"PK\3\4")
    assert refused(path).startswith(" / shard 'pytorch_model-1.bin': ")


def test_an_output_that_would_replace_a_shard_is_refused(tmp_path: Path) -> None:
    model = dcformat.read(sharded(tmp_path, SHARDS, MAP))
    with pytest.raises(ConvertError, match="would replace data of the input"):
        dcformat.save(model, tmp_path / "m-1.safetensors")


@pytest.mark.parametrize("stated", [7, "8", 8.5, -1, [], 1 << 70])
def test_another_total_size_is_reported(tmp_path: Path, stated: Any) -> None:
    model = dcformat.read(sharded(tmp_path, SHARDS, MAP, total_size=stated))
    assert model.notes == (f"the index states a total_size of {stated}, its tensors have 8 bytes",)


def test_the_order_of_what_shards_say_does_not_matter(tmp_path: Path) -> None:
    data = [
        file_of({name: ("U8", [1], b"\1")}, said)
        for name, said in (("a", {"x": "1", "y": "2"}), ("b", {"y": "2", "x": "1"}))
    ]
    shards = dict(zip(("1.safetensors", "2.safetensors"), data, strict=True))
    path = sharded(tmp_path, shards, {"a": "1.safetensors", "b": "2.safetensors"})
    assert dcformat.read(path).metadata == {Meta.SOURCE_METADATA: b'{"x":"1","y":"2"}'}


def test_shards_that_say_different_things_of_themselves_are_reported(tmp_path: Path) -> None:
    other = file_of({"c": ("BF16", [1], b"\1\2")}, {"format": "tf"})
    model = dcformat.read(sharded(tmp_path, {**SHARDS, "m-2.safetensors": other}, MAP))
    assert model.metadata == {}
    assert model.notes == ("the metadata of the shards are not all the same: left out",)


def test_a_shard_in_a_folder_below_is_read(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    path = sharded(tmp_path, {"sub/m.safetensors": TWO}, {"c": "sub/m.safetensors"})
    assert dcformat.read(path)["c"].data.tobytes() == b"\1\2"


def cache(folder: Path) -> Path:
    """Lay files out as the cache of the Hugging Face hub does: links into a folder of digests."""
    for sub in ("blobs", "snapshots/1"):
        (folder / sub).mkdir(parents=True)
    text = json.dumps({"weight_map": MAP}).encode()
    for name, data in {**SHARDS, "model.safetensors.index.json": text}.items():
        digest = hashlib.sha256(data).hexdigest()
        (folder / "blobs" / digest).write_bytes(data)
        (folder / "snapshots/1" / name).symlink_to(f"../../blobs/{digest}")
    return folder / "snapshots/1/model.safetensors.index.json"


def test_links_beside_the_real_index_are_followed_as_in_a_cache(tmp_path: Path) -> None:
    assert [t.name for t in dcformat.read(cache(tmp_path)).tensors] == ["b", "a", "c"]


def test_a_link_that_leads_elsewhere_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/m.safetensors").write_bytes(TWO)
    (tmp_path / "model").mkdir()
    (tmp_path / "model/m-2.safetensors").symlink_to("../secret/m.safetensors")
    path = index(tmp_path / "model", '{"weight_map": {"c": "m-2.safetensors"}}')
    assert "a link leads out of the index's folder" in refused(path)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../m.safetensors", "is refused: its path leaves"),
        ("sub/../../m.safetensors", "is refused: its path leaves"),
        ("..\\m.safetensors", "is refused: its path leaves"),
        ("/etc/m.safetensors", "is refused: its path is absolute"),
        ("C:\\m.safetensors", "is refused: its path is absolute"),
        ("\\\\host\\m.safetensors", "is refused: its path is absolute"),
        ("", "has no location"),
        ("m\0.safetensors", "holds a NUL"),
        ("m\ud800.safetensors", "cannot be found"),
        ("gone.safetensors", "No such file"),
        ("loop.safetensors", "loop"),
        ("x" * 300 + ".safetensors", "name too long"),
        (".", "no converter can read"),
        ("folder.safetensors", "is a directory"),
        ("pipe.safetensors", "is not a regular file"),
        ("notes.txt", "no converter can read files named *.txt"),
        ("model.safetensors.index.json", "is an index again"),
        ("broken.safetensors", "cut short"),
    ],
)
def test_a_shard_that_may_not_or_cannot_be_read_is_named(
    name: str, reason: str, tmp_path: Path
) -> None:
    (tmp_path / "loop.safetensors").symlink_to("loop.safetensors")
    (tmp_path / "folder.safetensors").mkdir()
    os.mkfifo(tmp_path / "pipe.safetensors")
    (tmp_path / "notes.txt").write_text("{}")
    (tmp_path / "broken.safetensors").write_bytes(pack(b'{"c":')[:-1])
    line = refused(index(tmp_path, json.dumps({"weight_map": {"c": name}})))
    assert reason.lower() in line.lower()
    assert line.lower().count("shard") <= 2


GOOD = json.dumps({"weight_map": MAP})
REFUSED = {
    "empty": ("", "does not look like shards"),
    "a list": ("[]", "does not look like shards"),
    "git lfs": ("version https://git-lfs.github.com/spec/v1", "git lfs pull"),
    "cut": (GOOD[:-2], "not an index of shards: not valid: "),
    "not UTF-8": (b'{"weight_map":{"\xff":""}}', "not UTF-8 at byte 16"),
    "other JSON": ('{"model_type": "bert"}', "has no weight_map"),
    "a list for a map": ('{"weight_map": ["a"]}', "has no weight_map"),
    "a number for a name": ('{"weight_map": {"a": 1}}', "no file name for tensor 'a'"),
    "twice": ('{"weight_map":{"a":"x","a":"y"}}', "the key 'a' stands in it twice"),
    "two maps": ('{"weight_map":{},"weight_map":{}}', "the key 'weight_map' stands"),
    "deep": ("{" + '"a":{' * 99_000 + "}" * 99_001, "more than weight_map and metadata"),
    "deep lists": ('{"a":' + "[" * 99_000 + "]" * 99_000 + "}", "more than weight_map"),
    "many lists": ('{"a":[' + "[]," * 5_000_000 + "[]]}", "more than weight_map and metadata"),
    "many numbers": ('{"a":[' + "1," * 5_000_000 + "1]}", "more than weight_map and metadata"),
    "digits": ('{"a":' + "9" * 5000 + "}", "not an index of shards: not valid"),
    "NaN": ('{"metadata":{"total_size":NaN}}', "NaN is no number of JSON"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_index_is_said_in_one_line(what: str, tmp_path: Path) -> None:
    text, reason = REFUSED[what]
    assert reason in refused(index(tmp_path, text))


def test_a_huge_index_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = index(tmp_path, "{")
    os.truncate(path, 100_000_001)
    assert "more than an index of shards has" in refused(path)


def test_a_tensor_that_the_shard_lacks_is_named(tmp_path: Path) -> None:
    path = sharded(tmp_path, SHARDS, {**MAP, "d": "m-2.safetensors"})
    assert refused(path) == ": shard 'm-2.safetensors' has no tensor 'd', the index says"


def test_tensors_that_the_index_lacks_are_named(tmp_path: Path) -> None:
    path = sharded(tmp_path, SHARDS, {"a": "m-1.safetensors", "c": "m-2.safetensors"})
    assert refused(path).endswith("tensors that the index does not list there: 'b'")
    many = file_of({f"t{i}": ("U8", [1], b"\1") for i in range(9)})
    path = sharded(tmp_path, {"m.safetensors": many}, {"t0": "m.safetensors"})
    assert refused(path).endswith("'t1', 't2', 't3', 't4', 't5' and 3 more")


def test_a_tensor_in_two_shards_is_refused(tmp_path: Path) -> None:
    three = file_of({"c": ("U8", [1], b"\1"), "d": ("U8", [1], b"\1")})
    path = sharded(
        tmp_path,
        {"m-1.safetensors": TWO, "m-3.safetensors": three},
        {"c": "m-1.safetensors", "d": "m-3.safetensors"},
    )
    assert refused(path).endswith(
        "'m-3.safetensors' has tensors that the index does not list there: 'c'"
    )


def test_an_empty_index_is_an_empty_model(tmp_path: Path) -> None:
    assert dcformat.read(index(tmp_path, '{"weight_map":{}}')).tensors == ()


def test_a_missing_index_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match=r"gone\.index\.json: cannot read: No such file"):
        READER.read(tmp_path / "gone.index.json")
    with pytest.raises(ConvertError, match="is a directory"):
        READER.read(tmp_path)
