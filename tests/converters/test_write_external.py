"""Writing ONNX with its numbers in a second file: what stands where, and both files or neither."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx_models import (
    ENCODINGS,
    EXTERNAL_MODELS,
    REAL_MODELS,
    constant,
    every_pattern,
    graph,
    identity,
    model_of,
    numbers,
    raw_tensor,
    read_proto,
    serialized,
    tensor,
    value,
)
from onnx_runs import two, written

import dcformat
from dcformat import files
from dcformat.converters import onnx_wire, read_onnx
from dcformat.converters.onnx_data import encode
from dcformat.converters.onnx_wire import varint
from dcformat.converters.write_onnx import WRITER
from dcformat.errors import ConvertError
from dcformat.graph import decode_graph
from dcformat.ids import BITS, NUMPY, DType
from dcformat.model import Array, LazyTensor, Model, Window


def skeleton(model: Model) -> bytes:
    assert model.graph is not None
    return decode_graph(model.graph.data, len(model.tensors))[1]


def entries(proto: Any) -> dict[str, str]:
    return {entry.key: entry.value for entry in proto.external_data}


def test_large_tensors_stand_outside_at_pages_and_small_ones_inside(tmp_path: Path) -> None:
    path = written(two(tmp_path), tmp_path)
    w, m, s, b = onnx.load(path, load_external_data=False).graph.initializer
    assert entries(w) == {"location": "out.onnx.data", "offset": "0", "length": "83200"}
    assert entries(m) == {"location": "out.onnx.data", "offset": "83200", "length": "4096"}
    assert (w.data_location, m.data_location) == (1, 1)
    assert not w.HasField("raw_data")
    assert s.raw_data == numbers(9).tobytes()
    assert b.raw_data == numbers(130).tobytes()
    data = (tmp_path / "out.onnx.data").read_bytes()
    assert data == numbers(160, 130).tobytes() + numbers(32, 32).tobytes()


def test_offsets_are_multiples_of_a_page_or_of_a_line(tmp_path: Path) -> None:
    sizes = [(300,), (130, 130), (257,), (128, 128), (999,)]
    model = read_proto(
        model_of(graph([], [tensor(f"t{i}", numbers(*n)) for i, n in enumerate(sizes)])), tmp_path
    )
    protos = onnx.load(written(model, tmp_path), load_external_data=False).graph.initializer
    offsets = [int(entries(p)["offset"]) for p in protos]
    assert offsets == [0, 4096, 71744, 73728, 139264]
    assert (tmp_path / "out.onnx.data").stat().st_size == 139264 + 4 * 999


def test_read_again_the_numbers_and_the_graph_are_the_same(tmp_path: Path) -> None:
    model = two(tmp_path)
    again = read_onnx.read(written(model, tmp_path))
    assert again.graph == model.graph
    assert [t.data.tobytes() for t in again.tensors] == [t.data.tobytes() for t in model.tensors]
    assert serialized(again) == serialized(model)


def test_the_same_model_gives_the_same_files(tmp_path: Path) -> None:
    pairs = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        path = written(two(tmp_path), tmp_path / name)
        pairs.append((path.read_bytes(), path.with_name("out.onnx.data").read_bytes()))
    assert pairs[0] == pairs[1]


@pytest.mark.parametrize(("dtype", "field"), ENCODINGS)
def test_every_type_goes_outside_as_raw_data(dtype: DType, field: int, tmp_path: Path) -> None:
    elements = np.resize(every_pattern(dtype), (2, 1031 * 8 // BITS[dtype] * 4))
    payload = encode(field, dtype, elements)
    head = raw_tensor("t", int(dtype), elements.shape).SerializeToString()
    proto = onnx.TensorProto.FromString(
        head + varint(field << 3 | 2) + varint(len(payload)) + payload
    )
    path = written(read_proto(model_of(graph([], [proto])), tmp_path), tmp_path)
    loaded = onnx.load(path).graph.initializer[0]
    assert loaded.raw_data == encode(9, dtype, elements)
    assert (loaded.data_type, tuple(loaded.dims)) == (int(dtype), elements.shape)
    again = read_onnx.read(path).tensors[0]
    assert again.data.dtype == np.dtype(NUMPY[dtype])
    assert again.data.tobytes() == elements.tobytes()


def test_what_said_that_the_data_was_inside_is_taken_out(tmp_path: Path) -> None:
    proto = raw_tensor("w", 1, (20, 20), raw_data=numbers(20, 20).tobytes())
    proto.data_location = onnx.TensorProto.DEFAULT
    proto.external_data.add(key="location", value="nowhere")
    model = read_proto(model_of(graph(identity("w"), [proto])), tmp_path)
    (loaded,) = onnx.load(written(model, tmp_path)).graph.initializer
    assert loaded == tensor_of(raw_tensor("w", 1, (20, 20), raw_data=numbers(20, 20).tobytes()))


def tensor_of(proto: Any) -> Any:
    """Return `proto` as onnx.load leaves it: with the location that it has no more."""
    proto.data_location = onnx.TensorProto.DEFAULT
    return proto


# Other tools


def everywhere() -> Any:
    """A model with large tensors as initializer and Constant, in branches and in a function."""
    add = helper.make_node("Add", ["x", "c"], ["y"])
    content = np.arange(400, dtype=np.float32)
    opset = [helper.make_opsetid("", 19)]
    function = helper.make_function(
        "local", "F", ["x"], ["y"], [constant("c", tensor("", content + 1)), add], opset
    )

    def branch(name: str, factor: float) -> Any:
        nodes = [
            constant("k", tensor("", content * factor)),
            helper.make_node("Add", ["v", "k"], ["t"]),
        ]
        return graph(
            [*nodes, helper.make_node("Mul", ["t", "i"], ["u"])],
            [tensor("i", content + factor)],
            name,
            [],
            [value("u", 400)],
        )

    nodes = [
        helper.make_node("F", ["x"], ["p"], domain="local"),
        helper.make_node("Add", ["p", "w"], ["v"]),
        constant("q", tensor("", np.array(True))),
        helper.make_node(
            "If", ["q"], ["z"], then_branch=branch("a", 2), else_branch=branch("b", 3)
        ),
    ]
    main = graph(nodes, [tensor("w", content * 5)], "g", [value("x", 400)], [value("z", 400)])
    model = model_of(main, [function])
    model.ir_version = 9
    return model


def run(path: Path) -> Array:
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": np.ones(400, np.float32)})[0])


def test_onnx_and_onnxruntime_take_tensors_from_everywhere(tmp_path: Path) -> None:
    model = read_proto(everywhere(), tmp_path)
    path = written(model, tmp_path)
    assert path.stat().st_size < 2000
    assert (tmp_path / "out.onnx.data").stat().st_size == 6 * 1600
    onnx.checker.check_model(path, full_check=True)
    assert (
        onnx.load(path).graph.initializer[0].raw_data
        == (np.arange(400, dtype=np.float32) * 5).tobytes()
    )
    assert run(path).tobytes() == run(tmp_path / "m.onnx").tobytes()


@pytest.mark.realdata
@pytest.mark.parametrize("name", [*REAL_MODELS, *(f"external/{n}" for n in EXTERNAL_MODELS)])
def test_real_models_go_outside_and_back(data_dir: Path, tmp_path: Path, name: str) -> None:
    source = data_dir / "onnx" / f"{name}.onnx"
    model = read_onnx.read(source)
    path = written(model, tmp_path)
    onnx.load(path)
    again = read_onnx.read(path)
    large = {t.name: t for t in model.tensors if t.data.nbytes > 1024}
    assert {n: t.data.tobytes() for n, t in large.items()} == {
        t.name: t.data.tobytes() for t in again.tensors if t.name in large
    }
    if name in REAL_MODELS:
        assert skeleton(again) == skeleton(model)


# Sizes


def test_a_model_too_large_names_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = two(tmp_path)
    monkeypatch.setattr(onnx_wire, "MAX_BYTES", 50000)
    with pytest.raises(ConvertError) as caught:
        WRITER.write(model, tmp_path / "out.onnx")
    assert str(caught.value).startswith(f"{tmp_path / 'out.onnx'}: would take ")
    assert "an ONNX file holds at most 2 GiB; external=True (dcconvert --external)" in str(
        caught.value
    )
    assert not (tmp_path / "out.onnx").exists()
    assert onnx.load(written(model, tmp_path)).graph.initializer[0].name == "w"
    monkeypatch.setattr(onnx_wire, "MAX_BYTES", 500)
    with pytest.raises(ConvertError, match=r"at most 2 GiB$"):
        written(model, tmp_path)


def test_short_numbers_are_counted_as_they_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proto = raw_tensor("t", int(DType.INT64), (1000,), int64_data=[1] * 1000)
    model = read_proto(model_of(graph([], [proto])), tmp_path)
    monkeypatch.setattr(onnx_wire, "MAX_BYTES", 2000)  # as raw_data they would take 8000
    assert serialized(model) == (tmp_path / "m.onnx").read_bytes()


# Both files or neither


def breaking(model: Model, fault: BaseException) -> Model:
    def read(window: Window) -> Array:
        raise fault

    first = model.tensors[0]
    made = LazyTensor(first.name, first.dtype, first.shape, read)
    return dataclasses.replace(model, tensors=(made, *model.tensors[1:]))


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir()}


@pytest.fixture(params=["new", "over"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, dict[str, bytes]]:
    """A folder without a pair or with an old one, and what must be there at the end."""
    folder = tmp_path / "pair"
    folder.mkdir()
    if request.param == "over":
        (folder / "out.onnx").write_bytes(b"old model")
        (folder / "out.onnx.data").write_bytes(b"old data")
    return folder, contents(folder)


@pytest.mark.parametrize("fault", [KeyboardInterrupt(), ConvertError("gone"), MemoryError()])
def test_a_failure_in_a_tensor_leaves_what_was_there(
    place: tuple[Path, dict[str, bytes]], tmp_path: Path, fault: BaseException
) -> None:
    folder, before = place
    with pytest.raises(type(fault)):
        written(breaking(two(tmp_path), fault), folder)
    assert contents(folder) == before


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("fault", [KeyboardInterrupt(), OSError(5, "Input/output error")])
def test_a_failure_of_either_renaming_leaves_what_was_there(
    place: tuple[Path, dict[str, bytes]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    fault: BaseException,
) -> None:
    folder, before = place
    model = two(tmp_path)
    real, calls = os.replace, []

    def replace(*names: Any) -> None:
        calls.append(names)
        if len(calls) == number:
            raise fault
        real(*names)

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises((KeyboardInterrupt, ConvertError)):
        written(model, folder)
    assert Path(calls[0][1]).name == "out.onnx.data"  # the model never refers to what is not there
    assert contents(folder) == before


def test_an_old_pair_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "out.onnx").write_bytes(b"old model")
    (tmp_path / "out.onnx.data").write_bytes(b"old data")
    model = two(tmp_path)
    assert serialized(read_onnx.read(written(model, tmp_path))) == serialized(model)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.onnx", "out.onnx", "out.onnx.data"]


def test_a_folder_in_the_place_of_the_data_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out.onnx.data").mkdir()
    with pytest.raises(ConvertError, match=r"out\.onnx: 'out\.onnx\.data' is there, and is not a"):
        written(two(tmp_path), tmp_path)
    assert not (tmp_path / "out.onnx").exists()


def test_a_pipe_cannot_have_data_beside_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "out.onnx")
    with pytest.raises(ConvertError, match="is not a plain file"):
        written(two(tmp_path), tmp_path)


@pytest.mark.parametrize("name", ["out.onnx", "out.onnx.data"])
def test_a_link_in_the_place_of_either_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "file").write_bytes(b"old")
    (tmp_path / name).symlink_to("elsewhere/file")
    with pytest.raises(ConvertError, match=f"'{name}' is there, and is not a plain file"):
        written(two(tmp_path), tmp_path)
    assert (tmp_path / "elsewhere" / "file").read_bytes() == b"old"


def test_a_file_system_without_hard_links_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def link(*_: Any, **__: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    model = two(tmp_path)
    before = contents(written(model, tmp_path).parent)
    with pytest.raises(ConvertError, match="Operation not permitted; remove it first"):
        written(model, tmp_path)
    assert contents(tmp_path) == before


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match="cannot write"):
        written(two(tmp_path), tmp_path / "none")


# The API


def test_the_api_writes_both_files(tmp_path: Path) -> None:
    model = two(tmp_path)
    dcformat.write(model, tmp_path / "a.onnx", external=True)
    assert (tmp_path / "a.onnx.data").exists()
    dcformat.write(model, tmp_path / "b.onnx", external=False)
    assert not (tmp_path / "b.onnx.data").exists()


def test_an_option_that_a_format_lacks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match="writing npz has no option 'external'"):
        dcformat.write(two(tmp_path), tmp_path / "a.npz", external=True)
    with pytest.raises(ConvertError, match="writing onnx has no option 'outside'"):
        dcformat.write(two(tmp_path), tmp_path / "a.onnx", outside=True)


@pytest.mark.parametrize("fresh", [True, False])
@pytest.mark.parametrize("call", [1, 2])
@pytest.mark.parametrize("unwinds", [True, False])
def test_an_end_at_any_rename_leaves_a_pair_that_goes_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh: bool, call: int, unwinds: bool
) -> None:
    """Ctrl-C while a folder is flushed; or the process ends there, which only undoes."""
    model = two(tmp_path)
    path, data = tmp_path / "a.onnx", tmp_path / "a.onnx.data"
    if not fresh:
        path.write_bytes(b"old model")
        data.write_bytes(b"old data")
    calls = 0

    def flush(folder: Path) -> None:
        nonlocal calls
        calls += 1
        if calls == call and unwinds:
            raise KeyboardInterrupt
        if calls == call:
            files.undo_all()
            raise SystemExit

    monkeypatch.setattr(files, "_sync_folder", flush)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        WRITER.write(model, path, external=True)
    found = {p.name: p.read_bytes() for p in (path, data) if p.exists()}
    if call == 2:
        assert found["a.onnx"] != b"old model"
        assert onnx.load(path).graph.initializer[0].raw_data
    else:
        assert found == ({} if fresh else {"a.onnx": b"old model", "a.onnx.data": b"old data"})
    assert not list(tmp_path.glob(".dcformat-*"))
