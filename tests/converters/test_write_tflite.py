"""Graphs and tensors that do not fit each other, and real numbers that stand for integers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tflite_files import dense, quantized

import dcformat
from dcformat.errors import ConvertError, CorruptError
from dcformat.graph import Hole, decode_graph, encode_graph
from dcformat.ids import DType, GraphFormat
from dcformat.model import Graph, Model, Scales, Tensor
from dcformat.scaled import integers, real


@pytest.fixture
def model(tmp_path: Path) -> Model:
    """A model whose tensors are, in order, conv, bias, deep and table."""
    (tmp_path / "x.tflite").write_bytes(quantized())
    return real(dcformat.read(tmp_path / "x.tflite"))


def with_tensor(model: Model, index: int, tensor: Tensor) -> Model:
    tensors = list(model.tensors)
    tensors[index] = tensor
    return replace(model, tensors=tuple(tensors))


def with_holes(model: Model, change: Callable[[list[Hole]], list[Hole]]) -> Model:
    assert model.graph is not None
    holes, skeleton = decode_graph(model.graph.data, len(model.tensors), GraphFormat.TFLITE)
    return replace(model, graph=Graph(GraphFormat.TFLITE, encode_graph(change(holes), skeleton)))


def refused(model: Model, path: Path, words: str) -> None:
    with pytest.raises(CorruptError, match=words) as caught:
        dcformat.write(model, path / "y.tflite")
    assert str(path / "y.tflite") in caught.value.place
    assert not (path / "y.tflite").exists()


def test_a_model_without_a_tflite_graph_is_refused(model: Model, tmp_path: Path) -> None:
    for graph, words in (
        (None, "has no graph"),
        (Graph(9, b""), "format 9, which is neither TFLite"),
    ):
        with pytest.raises(ConvertError, match=words):
            dcformat.write(replace(model, graph=graph), tmp_path / "y.tflite")
    with pytest.raises(ConvertError, match="format 2, which is not ONNX"):
        dcformat.write(model, tmp_path / "y.onnx")


@pytest.mark.parametrize(
    ("tensor", "words"),
    [
        (Tensor("a", DType.FLOAT, np.zeros((8, 3, 3, 5), "<f4")), "not a TFLite model"),
        (Tensor("a", DType.FLOAT, np.zeros((8, 3, 4, 3), "<f4")), "as no buffer there does"),
        (Tensor("a", DType.DOUBLE, np.zeros((8, 3, 3, 4), "<f8")), "has type DOUBLE"),
        (Tensor("a", DType.FLOAT, np.full((8, 3, 3, 4), 1e9, "<f4")), "its elements are no INT8"),
        (Tensor("a", DType.FLOAT, np.full((8, 3, 3, 4), np.nan, "<f4")), "its elements are no"),
    ],
)
def test_a_tensor_that_is_not_the_graphs_is_refused(
    model: Model, tmp_path: Path, tensor: Tensor, words: str
) -> None:
    refused(with_tensor(model, 0, tensor), tmp_path, words)


def test_an_element_between_two_levels_is_refused(model: Model, tmp_path: Path) -> None:
    data = model.tensors[0].data.copy()
    data[3, 0, 0, 0] = np.nextafter(data[3, 0, 0, 0], np.float32(9))
    refused(with_tensor(model, 0, Tensor("a", DType.FLOAT, data)), tmp_path, "no INT8")


def test_holes_that_are_not_the_graphs_are_refused(model: Model, tmp_path: Path) -> None:
    def moved(holes: list[Hole]) -> list[Hole]:
        return [holes[0]._replace(position=holes[0].position + 1), *holes[1:]]

    def retyped(holes: list[Hole]) -> list[Hole]:
        return [holes[0]._replace(field=DType.UINT8), *holes[1:]]

    def exchanged(holes: list[Hole]) -> list[Hole]:
        return [holes[0]._replace(tensor=2), holes[1], holes[2]._replace(tensor=0), holes[3]]

    refused(with_holes(model, moved), tmp_path, "not a TFLite model")
    refused(with_holes(model, retyped), tmp_path, "as no buffer there does")
    refused(with_holes(model, exchanged), tmp_path, "not a TFLite model|as no buffer there does")
    refused(with_holes(model, lambda holes: holes[1:]), tmp_path, "not a TFLite model")


@pytest.mark.parametrize("dtype", [DType.INT8, DType.UINT8, DType.INT16, DType.UINT16, DType.INT4])
@pytest.mark.parametrize("scale", [2.0**-100, 1e-9, 0.0078431377, 1.0, 3.1e7, 2.0**100])
def test_every_integer_comes_back_from_what_it_stands_for(dtype: DType, scale: float) -> None:
    bits = {DType.INT4: 4, DType.INT8: 8, DType.UINT8: 8}.get(dtype, 16)
    low = -(1 << bits - 1) if dtype.name.startswith("INT") else 0
    numbers = np.arange(low, low + (1 << bits)).reshape(4, -1)
    for point in (low, 0, low + (1 << bits) - 1):
        scales = Scales(np.float32(scale) * np.float32([1, 2, 3, 0.7]),
                        np.full(4, point, np.int32), 0)  # fmt: skip
        whole = Scales(np.asarray(scale, np.float32), np.asarray(point, np.int32))
        for given in (scales, whole):
            tensor = Tensor("a", dtype, numbers.astype({8: "i1", 4: "i1"}.get(bits, "<i2"))
                            if low else numbers.astype("u1" if bits == 8 else "<u2"))  # fmt: skip
            meant = real(Model((tensor,), scales={"a": given})).tensors[0]
            again = integers(meant, dtype, given)
            assert again.data.tobytes() == tensor.data.tobytes()
            window = (slice(1, 3), slice(1, 5))
            assert np.array_equal(again.piece(window), tensor.data[window])


def test_weights_alone_are_what_the_integers_stand_for(tmp_path: Path) -> None:
    (tmp_path / "x.tflite").write_bytes(quantized())
    source = dcformat.read(tmp_path / "x.tflite")
    dcformat.save(source, tmp_path / "x.dcf")
    dcformat.write(source, tmp_path / "a.npz")
    dcformat.write(dcformat.load(tmp_path / "x.dcf").coded_model(), tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    with np.load(tmp_path / "a.npz") as arrays:
        wanted = (source["table"].data.astype(np.float32) - 128) * np.float32(0.125)
        assert np.array_equal(arrays["table"], wanted)


def test_a_model_too_large_for_memory_is_written_in_pieces(tmp_path: Path) -> None:
    (tmp_path / "x.tflite").write_bytes(dense())
    source = dcformat.read(tmp_path / "x.tflite")
    asked: list[int] = []

    class Watched(Tensor):
        def piece(self, window: tuple[slice, ...]) -> np.ndarray:
            asked.append(len(window))
            return super().piece(window)

    watched = Watched("w", DType.FLOAT, source["w"].data)
    dcformat.write(with_tensor(source, 0, watched), tmp_path / "y.tflite")
    assert asked
    assert (tmp_path / "y.tflite").read_bytes() == dense()
