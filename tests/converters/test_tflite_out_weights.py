"""Weights of a .tflite: the integers of a .dcf stay what they are, others are stored as asked for.

What is run is run in LiteRT (ai_edge_litert).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper
from tflite_files import dense
from tflite_runs import Array, Lite, agree, check, in_onnxruntime, model_of, numbers

import dcformat
from dcformat.coded import CodedModel, CodedTensor
from dcformat.compress import recipe_from_json
from dcformat.converters.tflite_out import Wanted, tflite_of, translated
from dcformat.converters.tflite_schema import TfModel, TfTensor, parse
from dcformat.errors import ConvertError
from dcformat.ids import DType
from dcformat.scaled import real, with_integers

INT8, INT4, FLOAT16, FLOAT = 9, 17, 1, 0
ALL = recipe_from_json('{"method": "int8", "min_elements": 1}')
LAYERS = ("Conv2D", "DepthwiseConv2D", "FullyConnected")


def stored_weights(data: bytes) -> list[tuple[TfTensor, bytes]]:
    """Return the constants that layers have as weights, or that they are made of."""
    model = parse(data)
    graph = model.subgraphs[0]
    makers = {op.outputs[0]: op.inputs[0] for op in graph.operators if op.op == "Dequantize"}
    places = [op.inputs[1] for op in graph.operators if op.op in LAYERS]
    return [_constant(model, data, makers.get(place, place)) for place in places]


def stored_integers(data: bytes) -> dict[str, tuple[int, bytes]]:
    """Return the types and bytes of weights that are integers."""
    found = stored_weights(data)
    return {one.name: (one.type, raw) for one, raw in found if one.type in (INT8, INT4)}


def _constant(model: TfModel, data: bytes, place: int) -> tuple[TfTensor, bytes]:
    tensor = model.subgraphs[0].tensors[place]
    region = model.buffers[tensor.buffer]
    return tensor, data[region.start : region.end]


@pytest.fixture
def pictures(digits: Path) -> Array:
    with np.load(digits / "digits_test.npz") as held:
        (name,) = [n for n in held.files if held[n].ndim == 4]
        return np.asarray(held[name][:20])


def through(model: dcformat.Model, folder: Path, recipe: Any) -> CodedModel:
    dcformat.save(dcformat.compress(model, recipe), folder / "m.dcf")
    return dcformat.load(folder / "m.dcf").coded_model()


def laid(tensor: CodedTensor) -> bytes:
    """Return the integers of a weight as TFLite has them: [out, h, w, in] or [out, in].

    Those of a dense layer are sorted: behind a Flatten TFLite has them in another order.
    """
    own = np.asarray(tensor.numbers())
    return own.transpose(0, 2, 3, 1).tobytes() if own.ndim == 4 else np.sort(own.T).tobytes()


def rows_sorted(raw: bytes, tensor: CodedTensor) -> bytes:
    own = np.frombuffer(raw, np.int8)
    return raw if len(tensor.shape) == 4 else np.sort(own.reshape(tensor.shape[::-1])).tobytes()


@pytest.mark.parametrize("method", ["int8", "affine", "fixed"])
def test_integers_of_a_dcf_are_written_as_they_are(
    method: str, digits: Path, tmp_path: Path, pictures: Array
) -> None:
    recipe = recipe_from_json(f'{{"method": "{method}", "min_elements": 1}}')
    coded = through(dcformat.read(digits / "digits.onnx"), tmp_path, recipe)
    dcformat.write(coded, tmp_path / "m.tflite")
    dcformat.write(coded, tmp_path / "m.onnx")
    data = (tmp_path / "m.tflite").read_bytes()
    found = stored_integers(data)
    held = {one.name: one for one in coded.tensors if one.number_type() is DType.INT8}
    assert found.keys() == held.keys()
    assert len(found) >= 3
    for name, (kind, raw) in found.items():
        assert (kind, rows_sorted(raw, held[name])) == (INT8, laid(held[name]))
    onnx_bytes, lite = (tmp_path / "m.onnx").read_bytes(), Lite(data)
    name = onnx.load_from_string(onnx_bytes).graph.input[0].name
    for picture in pictures:
        feeds = {name: picture[None]}
        ((output, wanted),) = in_onnxruntime(onnx_bytes, feeds).items()
        check(output, lite.run(feeds)[output], wanted, 1e-5)


@pytest.mark.parametrize("kind", ["float16", "int8", "int4"])
def test_integers_of_a_dcf_are_never_made_anew(kind: str, digits: Path, tmp_path: Path) -> None:
    coded = through(dcformat.read(digits / "digits.onnx"), tmp_path, ALL)
    plain = stored_integers(tflite_of(with_integers(coded)).data)
    changed = stored_integers(tflite_of(with_integers(coded), Wanted(weights=kind)).data)
    assert len(plain) >= 3
    assert plain == {name: changed[name] for name in plain}


def test_what_fits_in_four_bits_is_stored_in_four() -> None:
    held = {"q": np.random.default_rng(1).integers(-8, 8, (5, 4, 3, 3)).astype(np.int8),
            "s": numbers(5, low=0.001, high=0.1), "z": np.zeros(5, np.int8)}  # fmt: skip
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["w"], axis=0),
        helper.make_node("Conv", ["x", "w"], ["y"]),
    ]
    feeds = {"x": numbers(1, 4, 9, 8)}
    model = model_of(nodes, feeds, {"y": np.float32}, held)
    for kind, type_ in (("", INT8), ("int8", INT8), ("int4", INT4)):
        written = agree(model, feeds, translated(model, Wanted(weights=kind)), within=1e-5)
        ((found, raw),) = stored_integers(written.data).values()
        assert (found, len(raw)) == (type_, 180 if type_ == INT8 else 90)


def test_float32_gives_the_meaning_of_integers(digits: Path, tmp_path: Path) -> None:
    coded = through(dcformat.read(digits / "digits.onnx"), tmp_path, ALL)
    model = with_integers(coded)
    found = [
        stored_weights(tflite_of(one, Wanted(weights="float32")).data)
        for one in (model, real(model))
    ]
    first, second = ([raw for _, raw in one] for one in found)
    assert {tensor.type for tensor, _ in found[0]} == {FLOAT}
    assert first == second


@pytest.mark.parametrize(("kind", "type_", "within"), [("float16", FLOAT16, 2e-3),
                                                       ("int8", INT8, 0.02), ("int4", INT4, 0.3),
                                                       ("float32", FLOAT, 1e-5)])  # fmt: skip
def test_weights_are_stored_as_asked_for(kind: str, type_: int, within: float) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "a"], ["b"], group=4),
        helper.make_node("Conv", ["b", "c"], ["d"]),
        helper.make_node("ConvTranspose", ["d", "e"], ["f"]),
        helper.make_node("Flatten", ["f"], ["g"]),
        helper.make_node("Gemm", ["g", "h"], ["y"]),
    ]
    held = {"a": numbers(8, 1, 3, 3), "c": numbers(5, 8, 1, 1), "e": numbers(5, 2, 2, 2),
            "h": numbers(2 * 8 * 7, 6)}  # fmt: skip
    feeds = {"x": numbers(1, 4, 9, 8)}
    model = model_of(nodes, feeds, {"y": np.float32}, held)
    written = agree(model, feeds, translated(model, Wanted(weights=kind)), within=within)
    assert {tensor.type for tensor, _ in stored_weights(written.data)} == {type_}


def test_a_channel_of_zeros_has_a_scale() -> None:
    weight = numbers(5, 4, 3, 3)
    weight[2] = 0
    feeds = {"x": numbers(1, 4, 9, 8)}
    node = helper.make_node("Conv", ["x", "w"], ["y"])
    model = model_of([node], feeds, {"y": np.float32}, {"w": weight})
    agree(model, feeds, translated(model, Wanted(weights="int8")), within=0.02)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_norm_scales_integers_or_stays_behind_them(sign: int) -> None:
    factor = np.abs(numbers(5)) + np.float32(0.1)
    factor[3] *= sign
    held = {"q": np.random.default_rng(1).integers(-128, 128, (5, 4, 3, 3)).astype(np.int8),
            "s": numbers(5, low=0.001, high=0.1), "z": np.zeros(5, np.int8),
            "f": factor, "b": numbers(5), "m": numbers(5), "v": np.abs(numbers(5))}  # fmt: skip
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["w"], axis=0),
        helper.make_node("Conv", ["x", "w"], ["a"]),
        helper.make_node("BatchNormalization", ["a", *"fbmv"], ["y"]),
    ]
    feeds = {"x": numbers(1, 4, 9, 8)}
    model = model_of(nodes, feeds, {"y": np.float32}, held)
    written = agree(model, feeds, within=1e-5)
    tensor, raw = stored_weights(written.data)[0]
    assert tensor.type == INT8
    assert raw == held["q"].transpose(0, 2, 3, 1).tobytes()
    assert written.operators - written.transposes == (2 if sign > 0 else 3)


def test_options_of_onnx_are_refused_for_tflite(tmp_path: Path) -> None:
    (tmp_path / "x.tflite").write_bytes(dense())
    model = dcformat.read(tmp_path / "x.tflite")
    with pytest.raises(ConvertError, match="weights is for an ONNX graph"):
        dcformat.write(model, tmp_path / "y.tflite", weights="int8")
