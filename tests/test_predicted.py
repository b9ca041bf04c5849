"""Graphs that say again what tensors say: vectors found, left out, and put back to the bit."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dcformat
from dcformat.coded import Affine, CodedModel, CodedTensor
from dcformat.decode import open_file
from dcformat.encode import encode_model
from dcformat.errors import Code, DcfError
from dcformat.file import File
from dcformat.ids import DType, GraphFormat, Prediction, Section
from dcformat.model import Graph
from dcformat.predictable import find, sides_of
from dcformat.predicted import F32, Vector, differ, restore

CHANNELS = 24


def tensor(seed: int = 1, name: str = "w", axis: int = 0) -> CodedTensor:
    rng = np.random.default_rng(seed)
    numbers = rng.integers(-127, 128, (CHANNELS, 9)).astype(np.int8)
    scale = rng.random(CHANNELS).astype(np.float32) / 100 + np.float32(0.001)
    points = rng.integers(-9, 9, CHANNELS).astype(np.int32)
    shaped = numbers if axis == 0 else np.ascontiguousarray(numbers.T)
    return CodedTensor(name, DType.FLOAT, shaped, Affine(DType.INT8, scale, points, axis))


def said(*vectors: F32) -> bytes:
    """Return a graph's data: no holes, a text, and each vector behind its length."""
    packed = (struct.pack("<I", v.size) + v.astype("<f4").tobytes() for v in vectors)
    return bytes(4) + b"text " + b"".join(packed)


def vectors_of(one: CodedTensor) -> tuple[F32, ...]:
    """Return the scales, a bias's scales, and a range that integers were made of."""
    assert isinstance(one.values, Affine)
    numbers, scale = one.numbers().astype(np.int64), one.values.scale
    numbers = numbers if one.values.axis == 0 else numbers.T
    real = (numbers - one.values.zero_point[:, None]).astype(np.float32) * scale[:, None]
    near = real.max(axis=1) + scale * np.float32(0.25)
    return scale, scale * np.float32(0.0123), real.min(axis=1), near


def by_hand(content: bytes, predictions: dict[int, list[float]]) -> bytes:
    """Return the data of a predicted graph, number by number, as the page has it."""
    (count,) = struct.unpack_from("<I", content, 1)
    data = bytearray(content[5 + 13 * count :])
    for i in range(count):
        at, _, kind, factor = struct.unpack_from("<IIBf", content, 5 + 13 * i)
        whole = [np.float32(p) * np.float32(factor) for p in predictions[kind]]
        n = len(whole)
        bits = []
        for c, prediction in enumerate(whole):
            z = sum(data[at + n * plane + c] << 8 * plane for plane in range(4))
            difference = -(z + 1) // 2 if z & 1 else z // 2
            (wanted,) = struct.unpack("<I", struct.pack("<f", prediction))
            bits.append((wanted + difference) % 2**32)
        data[at : at + 4 * n] = struct.pack(f"<{n}I", *bits)
    return bytes(data)


@pytest.mark.parametrize("axis", [0, 1])
def test_what_a_tensor_says_is_left_out_and_put_back(axis: int) -> None:
    one = tensor(axis=axis)
    graph = Graph(GraphFormat.TFLITE, said(*vectors_of(one)))
    data = encode_model(CodedModel((one,), graph))
    file = File(data)
    assert file.graph == graph
    assert file.predicted is not None
    kinds = [vector.prediction for vector in file.predicted]
    assert kinds == [Prediction.SCALE, Prediction.SCALE, Prediction.LEAST, Prediction.MOST]
    content = bytes(open_file(data).container.content(Section.GRAPH))
    scale, _, least, _ = vectors_of(one)
    numbers = one.numbers() if axis == 0 else one.numbers().T
    most = [
        np.float32(int(row.max()) - int(zero)) * s
        for row, zero, s in zip(numbers, one.values.zero_point, scale, strict=True)
    ]
    assert by_hand(content[1:], {0: list(scale), 1: list(least), 2: most}) == graph.data
    assert dcformat.File(data).coded_model().graph == graph


@given(data=st.binary(min_size=80, max_size=200), seed=st.integers(0, 9))
def test_any_bytes_come_back_whatever_is_predicted(data: bytes, seed: int) -> None:
    rng = np.random.default_rng(seed)
    predictions = {i: rng.integers(0, 2**32, 5, dtype=np.uint32).view(np.float32) for i in range(2)}
    usable = {i: np.where(np.isnan(p), np.float32(1), p) for i, p in predictions.items()}
    vectors = [Vector(3, 0, 0, 1.0), Vector(23, 1, 2, -0.5), Vector(60, 0, 1, 3.0)]

    def predict(index: int, kind: int) -> F32:
        return usable[index]

    graph = Graph(GraphFormat.ONNX, data)
    assert restore(differ(graph, vectors, predict), 2, predict) == (graph, vectors)


def test_nothing_is_predicted_that_only_looks_alike() -> None:
    sides = list(sides_of([tensor()]))
    rng = np.random.default_rng(5)
    wild = rng.integers(0, 2**32, CHANNELS, dtype=np.uint32).view(np.float32)
    nothing = np.zeros(CHANNELS, np.float32)
    scale = vectors_of(tensor())[0]
    assert find(said(np.nan_to_num(wild), nothing), sides) == []
    assert find(said(scale[:-1]), sides) == []
    assert find(scale.tobytes(), sides) == []
    cut = said(scale)[:-1]
    assert find(cut, sides) == []
    assert [v.position for v in find(said(scale) + b"x" + said(scale), sides)] == [13, 123]


def test_of_equal_tensors_the_first_one_predicts() -> None:
    first, tied = tensor(), tensor(name="again")
    graph = Graph(GraphFormat.TFLITE, said(*vectors_of(first)))
    other = CodedTensor("other", DType.FLOAT, np.ones(3, np.float32), dcformat.coded.Raw())
    file = File(encode_model(CodedModel((other, first, tied), graph)))
    assert file.predicted is not None
    assert {vector.tensor for vector in file.predicted} == {1}
    assert file.graph == graph


def test_a_damaged_tensor_is_named_where_the_graph_needs_it() -> None:
    one = tensor()
    graph = Graph(GraphFormat.TFLITE, said(*vectors_of(one)))
    data = bytearray(encode_model(CodedModel((one,), graph)))
    data[-9] ^= 1
    with pytest.raises(DcfError, match="section GRAPH / tensor 0") as caught:
        _ = File(bytes(data)).graph
    assert caught.value.code in (Code.CHECKSUM, Code.RANGE, Code.CODE, Code.PADDING)


#: What brotli -11 makes of the same .tflite, whole.
BROTLI = {
    "kws_ref_model": 33042,
    "pretrainedResnet_quant": 79677,
    "str_ww_ref_model": 52850,
    "vww_96_int8": 83980,
    "person_detect": 224353,
}


@pytest.mark.realdata
@pytest.mark.parametrize("name", BROTLI)
def test_whole_files_are_smaller_than_what_brotli_makes_of_them(
    data_dir: Path, tmp_path: Path, name: str
) -> None:
    source = data_dir / "tflite" / f"{name}.tflite"
    assert dcformat.save(dcformat.read(source), tmp_path / "x.dcf") < BROTLI[name]
    dcformat.write(dcformat.load(tmp_path / "x.dcf").coded_model(), tmp_path / "x.tflite")
    assert (tmp_path / "x.tflite").read_bytes() == source.read_bytes()
