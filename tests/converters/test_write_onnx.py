"""Writing ONNX: the source again byte for byte, or a typed error and no file."""

from __future__ import annotations

import dataclasses
import struct
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx_models import (
    EXTERNAL_MODELS,
    REAL_MODELS,
    graph,
    model_of,
    numbers,
    read_proto,
    serialized,
    tensor,
)

from dcformat.converters import onnx_wire, read_onnx
from dcformat.converters.write_onnx import WRITER
from dcformat.errors import Code, ConvertError, CorruptError, DcfError, LimitError
from dcformat.graph import Hole, decode_graph, encode_graph
from dcformat.ids import MAX_TENSORS, DType
from dcformat.model import Graph, Model, Tensor


def small(folder: Path) -> Model:
    return read_proto(model_of(graph([], [tensor("w", numbers(5, 4))])), folder)


def with_graph(model: Model, data: bytes) -> Model:
    return dataclasses.replace(model, graph=Graph(1, data))


@pytest.mark.realdata
@pytest.mark.parametrize("name", REAL_MODELS)
def test_real_models_come_back_byte_for_byte(data_dir: Path, tmp_path: Path, name: str) -> None:
    path = data_dir / "onnx" / f"{name}.onnx"
    WRITER.write(read_onnx.read(path), tmp_path / "back.onnx")
    assert (tmp_path / "back.onnx").read_bytes() == path.read_bytes()


@pytest.mark.realdata
@pytest.mark.parametrize("name", EXTERNAL_MODELS)
def test_external_models_come_back_in_one_piece_and_run_the_same(
    data_dir: Path, tmp_path: Path, name: str
) -> None:
    runtime = pytest.importorskip("onnxruntime")
    path, back = data_dir / "onnx" / "external" / f"{name}.onnx", tmp_path / "back.onnx"
    first = read_onnx.read(path)
    WRITER.write(first, back)
    second = read_onnx.read(back)
    kept = {t.name: t for t in second.tensors}
    for mine in first.tensors:
        if mine.name in kept:
            assert mine.data.tobytes() == kept[mine.name].data.tobytes()
    assert _run(runtime, path) == _run(runtime, back)
    onnx.checker.check_model(onnx.load(back), full_check=True)


def _run(runtime: Any, path: Path) -> list[bytes]:
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(5)
    feeds = {i.name: rng.standard_normal(i.shape).astype("f4") for i in session.get_inputs()}
    return [np.asarray(out).tobytes() for out in session.run(None, feeds)]


def test_other_numbers_of_the_same_shape_are_written(tmp_path: Path) -> None:
    model = small(tmp_path)
    changed = Tensor("w", DType.FLOAT, -numbers(5, 4))
    data = serialized(dataclasses.replace(model, tensors=(changed,)))
    (proto,) = onnx.ModelProto.FromString(data).graph.initializer
    assert np.array_equal(onnx.numpy_helper.to_array(proto), -numbers(5, 4))


def test_numbers_that_lie_in_another_order_in_memory_are_written_right(tmp_path: Path) -> None:
    model = small(tmp_path)
    turned = np.asfortranarray(model.tensors[0].data)
    changed = dataclasses.replace(model, tensors=(Tensor("w", DType.FLOAT, turned),))
    assert serialized(changed) == serialized(model)


@pytest.mark.parametrize(
    "other",
    [
        Tensor("w", DType.FLOAT, numbers(4, 5)),
        Tensor("w", DType.FLOAT, numbers(20)),
        Tensor("w", DType.FLOAT16, numbers(5, 4).astype("<f2")),
    ],
)
def test_a_tensor_that_does_not_fit_the_graph_is_corrupt(other: Tensor, tmp_path: Path) -> None:
    model = dataclasses.replace(small(tmp_path), tensors=(other,))
    with pytest.raises(CorruptError, match="the graph wants type 1 and shape"):
        serialized(model)


def test_a_model_without_a_graph_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    path = tmp_path / "out.onnx"
    with pytest.raises(ConvertError, match=r"out\.onnx: has no graph"):
        WRITER.write(Model(tensors=(Tensor("w", DType.FLOAT, numbers(3)),)), path)
    with pytest.raises(ConvertError, match="graph of format 9, which is not ONNX"):
        WRITER.write(Model(graph=Graph(9, b"")), path)
    assert list(tmp_path.iterdir()) == []


def test_more_than_two_gib_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = small(tmp_path)
    size = len(serialized(model))
    monkeypatch.setattr(onnx_wire, "MAX_BYTES", size)
    assert len(serialized(model)) == size
    for limit in (size - 1, 50):
        monkeypatch.setattr(onnx_wire, "MAX_BYTES", limit)
        with pytest.raises(ConvertError, match="an ONNX file holds at most 2 GiB"):
            serialized(model)


def test_an_unwritable_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match="cannot write"):
        WRITER.write(small(tmp_path), tmp_path / "none" / "out.onnx")


# The content of the GRAPH section


def test_the_content_is_count_holes_and_skeleton() -> None:
    content = encode_graph([Hole(8, 0, 9), Hole(300, 2, 4)], b"skeleton")
    assert content == bytes.fromhex(
        "02 00 00 00"  # two holes
        "08 00 00 00 00 00 00 00 09"  # position 8, tensor 0, raw_data
        "2c 01 00 00 02 00 00 00 04"  # position 300, tensor 2, float_data
    ) + (b"skeleton")


def test_the_content_is_read_back() -> None:
    holes = [Hole(1, 1, 9), Hole(8, 0, 4)]
    assert decode_graph(encode_graph(holes, b"skeleton"), 2) == (holes, b"skeleton")


@pytest.mark.parametrize(
    ("content", "code", "reason"),
    [
        (b"", Code.TRUNCATED, "4 bytes wanted, 0 left"),
        (b"\1\0\0", Code.TRUNCATED, "4 bytes wanted, 3 left"),
        (struct.pack("<I", 1) + bytes(8), Code.TRUNCATED, "inside its 1 holes"),
        (encode_graph([Hole(9, 0, 9)], b"skeleton"), Code.STRUCTURE, "position 9 is not legal"),
        (
            encode_graph([Hole(4, 0, 9), Hole(4, 1, 9)], b"skeleton"),
            Code.STRUCTURE,
            "hole 1: position 4 is not legal",
        ),
        (encode_graph([Hole(4, 2, 9)], b"skeleton"), Code.STRUCTURE, "there is no tensor 2"),
        (encode_graph([Hole(4, 0, 6)], b"skeleton"), Code.STRUCTURE, "6 is not a data field"),
    ],
)
def test_impossible_content_is_corrupt(content: bytes, code: Code, reason: str) -> None:
    with pytest.raises(CorruptError, match=reason) as caught:
        decode_graph(content, 2)
    assert caught.value.code is code


def test_too_many_holes_are_a_limit() -> None:
    with pytest.raises(LimitError):
        decode_graph(encode_graph([Hole(i, 0, 9) for i in range(MAX_TENSORS + 1)], b""), 1)


def test_a_field_that_cannot_hold_the_type_is_corrupt(tmp_path: Path) -> None:
    model = small(tmp_path)
    assert model.graph is not None
    holes, skeleton = decode_graph(model.graph.data, 1)
    wrong = encode_graph([Hole(holes[0].position, 0, 7)], skeleton)
    with pytest.raises(CorruptError, match="'w': field int64_data does not hold FLOAT"):
        serialized(with_graph(model, wrong))


def test_a_changed_graph_is_written_or_refused_with_a_typed_error(tmp_path: Path) -> None:
    model = small(tmp_path)
    assert model.graph is not None
    content = model.graph.data
    refused = 0
    for place in range(len(content)):
        for bit in range(8):
            changed = bytearray(content)
            changed[place] ^= 1 << bit
            try:
                serialized(with_graph(model, bytes(changed)))
            except DcfError:
                refused += 1
    assert refused > len(content)


def test_a_graph_cut_inside_the_main_graph_is_refused(tmp_path: Path) -> None:
    model = small(tmp_path)
    assert model.graph is not None
    end = model.graph.data.index(b"\x42\x04\x0a\x00\x10\x13")  # opset_import comes after the graph
    for size in range(end):
        with pytest.raises(DcfError):
            serialized(with_graph(model, model.graph.data[:size]))


def test_a_hole_in_a_tensor_that_has_data_is_corrupt(tmp_path: Path) -> None:
    model = small(tmp_path)
    assert model.graph is not None
    holes, _ = decode_graph(model.graph.data, 1)
    full = encode_graph(holes, serialized(model))
    with pytest.raises(CorruptError, match="'w' has data in the graph already"):
        serialized(with_graph(model, full))
