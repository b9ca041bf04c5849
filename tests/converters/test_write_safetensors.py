"""Writing .safetensors: the library's own bytes, every type kept, and what cannot be is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
from hypothesis import given
from hypothesis import strategies as st
from safetensors import numpy as library
from safetensors_files import LATER, NAMES, same, tensor

import dcformat
from dcformat import formats
from dcformat.converters import write_safetensors
from dcformat.converters.read_safetensors import READER
from dcformat.converters.write_safetensors import WRITER
from dcformat.errors import ConvertError
from dcformat.file import model_of
from dcformat.ids import DType, Meta
from dcformat.model import PIECE, Array, Graph, LazyTensor, Model, Tensor, Window

KNOWS_ALL = tuple(map(int, safetensors.__version__.split(".")[:2])) >= (0, 8)
TEXTS = {Meta.SOURCE_METADATA: b'{"format":"pt"}'}
NUMPY_TYPES = ("f4", "f8", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "?")


def written(folder: Path, model: Model) -> bytes:
    path = folder / "out.safetensors"
    WRITER.write(model, path)
    return path.read_bytes()


def header(data: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return found


def test_every_type_comes_back_to_the_bit(tmp_path: Path) -> None:
    types = [d for d in NAMES if KNOWS_ALL or d not in LATER]
    model = Model(tuple(tensor(d.name, d, (4, 3, 2), d) for d in types), metadata=TEXTS)
    data = written(tmp_path, model)
    said = header(data)
    assert {said[d.name]["dtype"] for d in types} == {NAMES[d] for d in types}
    back = READER.read(tmp_path / "out.safetensors")
    assert same(Model(tuple(back[t.name] for t in model.tensors)), model)
    assert back.metadata == model.metadata


@pytest.mark.parametrize("dtype", sorted(set(DType) - set(NAMES)))
def test_a_type_that_the_format_lacks_is_named(dtype: DType, tmp_path: Path) -> None:
    model = Model((tensor("fc.w", dtype, (4,)),))
    with pytest.raises(ConvertError, match=rf"tensor 'fc\.w': .* no element type {dtype.name}"):
        written(tmp_path, model)
    assert list(tmp_path.iterdir()) == []


def arrays(order: tuple[str, ...] = NUMPY_TYPES) -> dict[str, Array]:
    rng = np.random.default_rng(5)
    return {
        f"{kind}.{size}": np.asarray(rng.integers(0, 2, size) * 200, dtype=kind)
        for kind in order
        for size in ((3,), (), (0, 2), (5, 7))
    }


def test_a_file_of_the_library_comes_back_byte_for_byte(tmp_path: Path) -> None:
    library.save_file(arrays(), tmp_path / "in.safetensors", {"format": "np"})
    model = dcformat.read(tmp_path / "in.safetensors")
    assert written(tmp_path, model) == (tmp_path / "in.safetensors").read_bytes()


def test_through_a_dcf_too(tmp_path: Path) -> None:
    library.save_file(arrays(), tmp_path / "in.safetensors", {"format": "np", "a": 'b\n"'})
    dcformat.save(dcformat.read(tmp_path / "in.safetensors"), tmp_path / "m.dcf")
    model = stored(tmp_path / "m.dcf")
    assert written(tmp_path, model) == (tmp_path / "in.safetensors").read_bytes()


def stored(path: Path) -> Model:
    return model_of(dcformat.load(path))


def test_what_is_written_is_what_the_library_reads(tmp_path: Path) -> None:
    wanted = arrays(("?", "f8", "i1", "f2"))
    tensors = tuple(Tensor(k, _dtype(v), v) for k, v in wanted.items())
    data = written(tmp_path, Model(tensors))
    found = library.load(data)
    assert {k: (v.dtype, v.shape, v.tobytes()) for k, v in found.items()} == {
        k: (v.dtype, v.shape, v.tobytes()) for k, v in wanted.items()
    }
    for name, said in header(data).items():
        assert said["data_offsets"][0] % max(1, wanted[name].itemsize) == 0
    assert data[8 + int.from_bytes(data[:8], "little") - 1] in b" }"
    assert int.from_bytes(data[:8], "little") % 8 == 0


def _dtype(array: Array) -> DType:
    names = {"?": 9, "f8": 11, "i1": 3, "f2": 10}
    return DType(names["?" if array.dtype == bool else array.dtype.str[1:]])


def test_the_models_order_is_kept_where_that_is_aligned(tmp_path: Path) -> None:
    first = Model((tensor("z", DType.INT8, (8,)), tensor("a", DType.DOUBLE, (1,))))
    assert list(header(written(tmp_path, first))) == ["z", "a"]
    other = Model((tensor("z", DType.INT8, (7,)), tensor("a", DType.DOUBLE, (1,))))
    assert list(header(written(tmp_path, other))) == ["a", "z"]


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1))
def test_any_name_is_escaped_as_the_library_does(name: str) -> None:
    said = write_safetensors._header([Tensor(name, DType.INT8, np.zeros(1, "i1"))], "")
    wanted = library.save({name: np.zeros(1, "i1")}) if name != "__metadata__" else b""
    assert wanted[8 : 8 + len(said)] == said


@pytest.mark.parametrize(
    ("tensors", "reason"),
    [
        ([("", DType.INT8)], "tensor '': its name is empty"),
        ([("__metadata__", DType.INT8)], "safetensors keeps this name"),
        ([("a", DType.INT8), ("a", DType.INT8)], "tensor 'a': another tensor has the same name"),
        ([("a\ud800", DType.INT8)], "its name is not UTF-8"),
        ([("a", DType.FLOAT4E2M1)], "tensor 'a': its last byte would hold half of an element"),
    ],
)
def test_what_cannot_be_said_is_refused_and_nothing_is_left(
    tensors: list[tuple[str, DType]], reason: str, tmp_path: Path
) -> None:
    model = Model(tuple(tensor(name, dtype, (3,)) for name, dtype in tensors))
    with pytest.raises(ConvertError) as caught:
        written(tmp_path, model)
    assert reason in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "text",
    [b"", b"[]", b"{", b'{"a":1}', b'{"a":"1","a":"2"}', b'{"a":{}}', b'{"a":"\xff"}',
     b'{"a":"\\ud800"}', b'{"\\udc00":""}', b"{" + b'"a":"",' * 70_000 + b'"b":""}'],
)  # fmt: skip
def test_metadata_that_is_no_object_of_strings_is_refused(text: bytes, tmp_path: Path) -> None:
    model = Model((tensor("a", DType.INT8, (3,)),), metadata={Meta.SOURCE_METADATA: text})
    with pytest.raises(ConvertError, match="SOURCE_METADATA cannot be written"):
        written(tmp_path, model)


def test_a_header_above_the_limit_is_refused(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(write_safetensors, "MAX_HEADER", 64)
    written(tmp_path, Model((tensor("a", DType.INT8, (3,)),)))
    with pytest.raises(ConvertError, match="its header would have 72 bytes; readers take 64"):
        written(tmp_path, Model((tensor("a" * 13, DType.INT8, (3,)),)))


def test_a_model_without_tensors_is_a_file(tmp_path: Path) -> None:
    assert written(tmp_path, Model()) == b"\x08" + bytes(7) + b"{}      "
    assert READER.read(tmp_path / "out.safetensors").tensors == ()


def test_equal_tensors_stay_equal_and_are_reported(tmp_path: Path) -> None:
    one = tensor("embed", DType.FLOAT, (40, 3))
    model = Model((one, Tensor("head", one.dtype, one.data), tensor("b", DType.INT8, (1,))))
    dcformat.save(model, tmp_path / "m.dcf")
    read = stored(tmp_path / "m.dcf")
    assert read.ties == {"head": "embed"}
    assert WRITER.remarks(read) == ("equal tensors are written again: 'head' (as 'embed')",)
    back = library.load(written(tmp_path, read))
    assert back["embed"].tobytes() == back["head"].tobytes() == one.data.tobytes()
    dcformat.save(READER.read(tmp_path / "out.safetensors"), tmp_path / "again.dcf")
    assert stored(tmp_path / "again.dcf").ties == read.ties


def test_a_graph_that_is_left_out_is_reported(net_model: Model, tmp_path: Path) -> None:
    assert WRITER.remarks(net_model) == ("the graph is left out: the file holds weights only",)
    written(tmp_path, net_model)
    back = READER.read(tmp_path / "out.safetensors")
    assert same(back, Model(net_model.tensors))


@pytest.fixture
def net_model() -> Model:
    return Model((tensor("w", DType.FLOAT, (3, 2)),), Graph(1, b"\0\0\0\0"))


@pytest.mark.parametrize("suffix", [".safetensors", ".npz"])
def test_a_tensor_is_asked_for_in_pieces(suffix: str, tmp_path: Path) -> None:
    whole = np.arange(3 * PIECE + 5, dtype="<f4")
    asked = []

    def read(window: Window) -> Array:
        asked.append(window)
        return np.array(whole[window])

    model = Model((LazyTensor("t", DType.FLOAT, whole.shape, read),))
    path = tmp_path / f"out{suffix}"
    formats.writer_for(path).write(model, path)
    assert len(asked) == 4
    assert () not in asked
    found = np.load(path) if suffix == ".npz" else library.load_file(path)
    assert np.array_equal(found["t"], whole)


def test_a_tensor_that_gives_other_than_its_shape_is_an_error(tmp_path: Path) -> None:
    model = Model((LazyTensor("t", DType.FLOAT, (4,), lambda _: np.zeros(3, "<f4")),))
    with pytest.raises(dcformat.CorruptError, match="'t' gave"):
        written(tmp_path, model)
    assert list(tmp_path.iterdir()) == []


def test_equal_models_give_equal_bytes(tmp_path: Path) -> None:
    model = Model((tensor("a", DType.FLOAT, (9,)), tensor("b", DType.BFLOAT16, (9,))))
    first = written(tmp_path, model)
    assert written(tmp_path, model) == first
