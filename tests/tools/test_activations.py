"""Statistics of activations: by hand on small models, and what does not fit."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from dcformat import verify_run
from dcformat.converters.onnx_watch import watch
from dcformat.errors import ConvertError
from dcformat.tools import _activations_run
from dcformat.tools._activation_stats import Stats, fraction_bits
from dcformat.tools._activations import activations

pytest.importorskip("onnxruntime")

Array = npt.NDArray[Any]


def value(name: str, shape: list[int | str], kind: int = TensorProto.FLOAT) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


def save(folder: Path, nodes: list[Any], inputs: list[Any], **weights: Array) -> Path:
    tensors = [numpy_helper.from_array(w, n) for n, w in weights.items()]
    outputs = [helper.make_empty_tensor_value_info("y")]
    graph = helper.make_graph(nodes, "g", inputs, outputs, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    onnx.save(model, folder / "m.onnx")
    return folder / "m.onnx"


def convolution(folder: Path, batch: int | str = "N") -> Path:
    """Channels: x, 0, -x and x - 100; a Relu after them."""
    weights = np.array([1, 0, -1, 1], np.float32).reshape(4, 1, 1, 1)
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], "conv"),
        helper.make_node("Relu", ["c"], ["y"], "relu"),
    ]
    bias = np.array([0, 0, 0, -100], np.float32)
    return save(folder, nodes, [value("x", [batch, 1, 2, 2])], w=weights, b=bias)


def calib(folder: Path, **arrays: Any) -> Path:
    np.savez(folder / "calib.npz", **arrays)
    return folder / "calib.npz"


def look(model: Path, samples: Path, epsilon: float = 0.0, batch: int = 32) -> dict[str, Any]:
    """Do in this process what the child does."""
    return _activations_run.run(model, samples, epsilon, batch)


def by_name(found: dict[str, Any]) -> dict[str, Any]:
    return {row["name"]: row for row in found["layers"]}


def test_zeros_ranges_and_channels_that_never_fire(tmp_path: Path) -> None:
    x = np.array([[1, -2, 3, 0], [0, 0.5, -0.5, 7.9]], np.float32).reshape(2, 1, 2, 2)
    found = activations(convolution(tmp_path), calib(tmp_path, x=x), epsilon=0.5)
    assert (found["samples"], found["epsilon"], found["notes"]) == (2, 0.5, [])
    assert list(by_name(found)) == ["x", "relu"]  # what a Relu follows is not looked at
    relu = by_name(found)["relu"]
    assert (relu["op"], relu["tensor"], relu["shape"]) == ("Relu", "y", [4, 2, 2])
    assert (relu["elements"], relu["zeros"], relu["near_zeros"]) == (32, 26, 28)
    assert relu["zero_share"] == 26 / 32
    assert (relu["low"], relu["high"]) == (0.0, pytest.approx(7.9))
    assert (relu["fraction8"], relu["fraction16"]) == (4, 12)
    assert (relu["channels"], relu["dead_channels"]) == (4, [1, 3])
    assert sum(relu["histogram"]) == 32
    assert relu["histogram"][-1] == 1
    given = by_name(found)["x"]
    assert (given["op"], given["low"], given["dead_channels"]) == ("Input", -2.0, [])


def test_batches_do_not_change_what_is_found(tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal((45, 1, 2, 2)).astype(np.float32)
    model, samples = convolution(tmp_path), calib(tmp_path, x=x)
    found = [look(model, samples, batch=n) for n in (1, 7, 45, 1000)]
    assert found[0] == found[1] == found[2] == found[3]
    assert found[0]["samples"] == 45


def test_a_fixed_batch_leaves_the_rest_out_and_says_so(tmp_path: Path) -> None:
    x = np.ones((10, 1, 2, 2), np.float32)
    found = look(convolution(tmp_path, 4), calib(tmp_path, x=x))
    assert found["samples"] == 8
    assert found["notes"] == ["the last 2 samples fill no batch and are left out"]


def test_channels_of_dense_layers_are_the_last_axis(tmp_path: Path) -> None:
    weight = np.diag([1, 0, 1]).astype(np.float32)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"], "dense"),
        helper.make_node("Tanh", ["m"], ["y"], "tanh"),
    ]
    model = save(tmp_path, nodes, [value("x", ["N", 5, 3])], w=weight)
    found = look(model, calib(tmp_path, x=np.ones((2, 5, 3), np.float32)))
    assert by_name(found)["tanh"]["dead_channels"] == [1]
    assert by_name(found)["tanh"]["channels"] == 3


def test_scalars_and_fixed_inputs_are_given_every_time(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Mul", ["x", "scale"], ["a"]),
        helper.make_node("MatMul", ["a", "table"], ["y"], "mm"),
    ]
    inputs = [value("x", ["N", 3]), value("scale", []), value("table", [3, 2])]
    model = save(tmp_path, nodes, inputs)
    arrays = calib(
        tmp_path, x=np.ones((5, 3), np.float32), scale=np.float32(2), table=np.ones((3, 2), "f4")
    )
    found = look(model, arrays, batch=2)
    assert found["samples"] == 5
    assert (by_name(found)["mm"]["low"], by_name(found)["mm"]["high"]) == (6.0, 6.0)
    assert by_name(found)["mm"]["histogram"] is None  # no range


def test_infinities_are_counted_and_not_part_of_the_range(tmp_path: Path) -> None:
    x = np.array([[np.inf, np.nan, 1, -1]], np.float32).reshape(1, 1, 2, 2)
    row = by_name(activations(convolution(tmp_path), calib(tmp_path, x=x)))["x"]
    assert (row["not_finite"], row["low"], row["high"]) == (2, -1.0, 1.0)


def test_the_digits_model_on_its_own_pictures(digits: Path, tmp_path: Path) -> None:
    with np.load(digits / "digits_test.npz") as arrays:
        pictures = next(a for a in map(arrays.__getitem__, arrays.files) if a.ndim > 1)
    model = onnx.load(digits / "digits.onnx")
    name = model.graph.input[0].name
    shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    x = pictures.astype(np.float32).reshape(len(pictures), *shape[1:])
    found = look(digits / "digits.onnx", calib(tmp_path, **{name: x}))
    assert found["samples"] == len(pictures)
    relus = [row for row in found["layers"] if row["op"] == "Relu"]
    assert relus
    assert all(0.05 < row["zero_share"] < 0.95 for row in relus)


@pytest.mark.realdata
def test_external_data_is_found_beside_the_model(data_dir: Path, tmp_path: Path) -> None:
    model = data_dir / "onnx" / "external" / "conv_qdq_external_ini.onnx"
    value_ = onnx.load(model, load_external_data=False).graph.input[0]
    shape = [d.dim_value or 1 for d in value_.type.tensor_type.shape.dim]
    found = look(model, calib(tmp_path, **{value_.name: np.ones(shape, np.float32)}))
    assert found["layers"]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"z": np.ones((1, 1, 2, 2), "f4")}, "no array 'x'; the model's inputs: 'x'"),
        (
            {"x": np.ones((1, 1, 2, 2), "f4"), "z": np.ones(1)},
            "array 'z' is no input of the model; its inputs: 'x'",
        ),
        (
            {"x": np.ones((5, 1, 3, 2), "f4")},
            r"shape \(5, 1, 3, 2\); the model wants any x 1 x 2 x 2, the first for samples",
        ),
        ({"x": np.ones((5, 4), "f4")}, "the model wants any x 1 x 2 x 2"),
        ({"x": np.ones((1, 1, 2, 2), "c8")}, "is complex64, the model wants float32"),
        ({"x": np.ones((0, 1, 2, 2), "f4")}, "there are no numbers in it"),
        ({"x": np.asfortranarray(np.ones((2, 1, 2, 2), "f4"))}, "Fortran order"),
        ({"x": np.array([{}, {}])}, "does not hold numbers"),
    ],
)
def test_arrays_that_do_not_fit(arrays: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match=message):
        look(convolution(tmp_path), calib(tmp_path, **arrays))


def test_different_numbers_of_samples(tmp_path: Path) -> None:
    nodes = [helper.make_node("MatMul", ["a", "b"], ["y"])]
    model = save(tmp_path, nodes, [value("a", ["N", 2, 2]), value("b", ["N", 2, 2])])
    arrays = calib(tmp_path, a=np.ones((3, 2, 2), "f4"), b=np.ones((4, 2, 2), "f4"))
    with pytest.raises(ConvertError, match="different numbers of samples: 'a' 3, 'b' 4"):
        look(model, arrays)


def broken_npz(folder: Path, content: bytes) -> Path:
    with zipfile.ZipFile(folder / "broken.npz", "w") as archive:
        archive.writestr("x.npy", content)
    return folder / "broken.npz"


def test_files_that_are_no_calibration_set(tmp_path: Path) -> None:
    model = convolution(tmp_path)
    whole = io.BytesIO()
    np.save(whole, np.ones((4, 1, 2, 2), "f4"))
    with pytest.raises(ConvertError, match="ends before its numbers do"):
        look(model, broken_npz(tmp_path, whole.getvalue()[:-5]))
    with pytest.raises(ConvertError, match="not in NumPy's format"):
        look(model, broken_npz(tmp_path, b"\x93NUMPY\x01\x00"))
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(ConvertError, match=r"text\.npz: not an \.npz file"):
        look(model, tmp_path / "text.npz")
    with pytest.raises(ConvertError, match="No such file"):
        look(model, tmp_path / "missing.npz")
    with pytest.raises(ConvertError, match=r"cannot be run: .*text\.npz: not an ONNX model"):
        activations(tmp_path / "text.npz", calib(tmp_path, x=np.ones(1)))


def test_without_onnxruntime_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify_run.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ConvertError, match=r"dcformat\[run\]"):
        activations(convolution(tmp_path), calib(tmp_path, x=np.ones((1, 1, 2, 2), "f4")))


def test_one_run_never_gives_more_than_there_is_room_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def noted(session: Any, feed: Any, names: Any) -> Any:
        seen.append(len(feed["x"]))
        return dict.fromkeys(names, feed["x"])

    monkeypatch.setattr(_activations_run, "_watched", noted)
    monkeypatch.setattr(_activations_run, "_ROOM", 3 * 2 * 16 + 5)  # three samples of two values
    samples = calib(tmp_path, x=np.ones((8, 1, 2, 2), np.float32))
    _activations_run.run(convolution(tmp_path), samples, 0.0, 32)
    assert seen == [1, 3, 3, 2]


def test_a_bias_between_a_layer_and_its_activation_hides_the_layer(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"], "dense"),
        helper.make_node("Add", ["m", "b"], ["a"], "bias"),
        helper.make_node("Relu", ["a"], ["r"], "relu"),
        helper.make_node("MatMul", ["r", "w"], ["y"], "last"),
    ]
    weight, bias = np.eye(3, dtype=np.float32), np.zeros(3, np.float32)
    model = save(tmp_path, nodes, [value("x", ["N", 3])], w=weight, b=bias)
    assert [v.label for v in watch(model).values] == ["x", "relu", "last"]


@pytest.mark.parametrize(
    ("low", "high", "bits", "wanted"),
    [
        (0.0, 127.0, 8, 0),
        (0.0, 127.5, 8, -1),
        (-128.0, 1.0, 8, 0),
        (-1.0, 0.99, 8, 7),
        (-1.0, 1.0, 8, 6),
        (0.0, 1e-3, 8, 16),
        (-5e-324, 0.0, 8, 1081),
        (0.0, 3e38, 16, -113),
        (0.0, 0.0, 8, None),
        (np.inf, -np.inf, 8, None),
    ],
)
def test_fraction_bits_hold_the_range_and_no_more_would(
    low: float, high: float, bits: int, wanted: int | None
) -> None:
    assert fraction_bits(low, high, bits) == wanted


def test_the_histogram_grows_with_the_range_and_loses_nothing() -> None:
    stats = Stats(0.0, 1)
    rng = np.random.default_rng(1)
    parts = [rng.standard_normal((10, 50)) * scale for scale in (1e-30, 1e-3, 1.0, 300.0)]
    for part in parts:
        stats.add(part)
    values = np.concatenate(parts).reshape(-1)
    found = stats.histogram()
    assert found is not None
    assert sum(found) == values.size
    exact, _ = np.histogram(values, 48, (values.min(), values.max()))
    assert np.abs(np.cumsum(found) - np.cumsum(exact)).max() <= 20  # at the edges of bins
