"""Real TFLite models: into a .dcf and back, and run in LiteRT and TFLite Micro."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import dcformat
from dcformat.coded import Affine, expand_tensor
from dcformat.ids import DType
from dcformat.scaled import real

pytestmark = pytest.mark.realdata

#: Records, those with scales, and layers with weights.
FILES = {
    "ad01_fp32": (20, 0, 10),
    "ad01_int8": (20, 10, 10),
    "kws_ref_model": (20, 10, 10),
    "kws_ref_model_float32": (20, 5, 10),
    "person_detect": (56, 28, 28),
    "pretrainedResnet": (20, 0, 10),
    "pretrainedResnet_quant": (20, 10, 10),
    "str_ww_ref_model": (18, 9, 9),
    "vww_96_int8": (56, 28, 28),
}
FLOATS = ("ad01_fp32", "kws_ref_model_float32", "pretrainedResnet")
#: LiteRT takes no scales along an axis that tensors of one axis do not have; TFLite Micro does.
REFUSED = "person_detect"
Arrays = list[npt.NDArray[Any]]


@pytest.fixture(params=FILES)
def path(request: pytest.FixtureRequest, data_dir: Path) -> Path:
    return data_dir / "tflite" / f"{request.param}.tflite"


def through(path: Path, folder: Path, preset: str = "lossless") -> Path:
    """Return the file that is made of the .dcf that is made of `path`."""
    dcformat.save(dcformat.compress(dcformat.read(path), preset), folder / "m.dcf")
    dcformat.write(dcformat.load(folder / "m.dcf").coded_model(), folder / "back.tflite")
    return folder / "back.tflite"


def test_no_file_of_the_folder_is_left_out(data_dir: Path) -> None:
    assert {path.stem for path in (data_dir / "tflite").iterdir()} == set(FILES)


def test_without_loss_the_file_comes_back_byte_for_byte(path: Path, tmp_path: Path) -> None:
    assert through(path, tmp_path).read_bytes() == path.read_bytes()
    report = dcformat.verify(tmp_path / "m.dcf", against=path)
    assert report.ok, report
    assert (tmp_path / "m.dcf").stat().st_size < path.stat().st_size


def test_roles_and_scales_are_those_of_the_graph(path: Path, tmp_path: Path) -> None:
    model = dcformat.read(path)
    weights = {use.node for use in model.uses.values() if use.role == "weight"}
    assert (len(model.tensors), len(model.scales), len(weights)) == FILES[path.stem]
    through(path, tmp_path)
    file = dcformat.load(tmp_path / "m.dcf")
    meant = real(model)
    for tensor in model.tensors:
        stored = file.coded(tensor.name)
        assert isinstance(stored.values, Affine) == (tensor.name in model.scales)
        assert expand_tensor(stored).tobytes() == meant[tensor.name].data.tobytes()
        use = model.uses[tensor.name]
        assert use.role == ("weight" if len(tensor.shape) > 1 else "bias")
        if use.role == "weight":
            assert use.out_axis == (3 if use.op == "DepthwiseConv2D" else 0)


def test_tensors_are_those_that_the_generated_reader_finds(path: Path) -> None:
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated", reason="extra [tflite]")
    theirs = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    model, seen = dcformat.read(path), set()
    for tensor in theirs.subgraphs[0].tensors:
        raw, name = theirs.buffers[tensor.buffer].data, tensor.name.decode()
        if raw is None or name not in model.uses:
            continue
        ours = model[name]
        seen.add(name)
        assert ours.shape == tuple(tensor.shape)
        assert ours.dtype == {0: DType.FLOAT, 2: DType.INT32, 9: DType.INT8}[tensor.type]
        assert ours.data.tobytes() == raw.tobytes()
        if name in model.scales:
            assert np.array_equal(model.scales[name].scale.reshape(-1), tensor.quantization.scale)
            assert model.scales[name].axis in (None, tensor.quantization.quantizedDimension)
    assert seen == {tensor.name for tensor in model.tensors}


def litert(path: Path, inputs: Arrays | None = None) -> tuple[Arrays, Arrays]:
    """Return inputs and outputs of a model."""
    interpreter = pytest.importorskip("ai_edge_litert.interpreter", reason="extra [tflite]")
    made = interpreter.Interpreter(str(path), num_threads=1)
    made.allocate_tensors()
    inputs = inputs or [_random(one) for one in made.get_input_details()]
    for details, data in zip(made.get_input_details(), inputs, strict=True):
        made.set_tensor(details["index"], data)
    made.invoke()
    outputs = [made.get_tensor(one["index"]).copy() for one in made.get_output_details()]
    return inputs, outputs


def _random(details: dict[str, Any]) -> npt.NDArray[Any]:
    rng = np.random.default_rng(7)
    if details["dtype"] is np.float32:
        return (rng.standard_normal(details["shape"]) * 10 - 20).astype(np.float32)
    return rng.integers(-128, 128, details["shape"]).astype(details["dtype"])


def micro(path: Path, inputs: Arrays) -> Arrays:
    runtime = pytest.importorskip(
        "tflite_micro.python.tflite_micro.runtime", reason="extra [tflite]"
    )
    made = runtime.Interpreter.from_file(str(path))
    for index, data in enumerate(inputs):
        made.set_input(data, index)
    made.invoke()
    return [made.get_output(0)]


def test_outputs_in_litert_are_identical(path: Path, tmp_path: Path) -> None:
    if path.stem == REFUSED:
        pytest.skip("LiteRT refuses the file itself: quantized_dimension of its biases")
    inputs, wanted = litert(path)
    _, got = litert(through(path, tmp_path), inputs)
    assert [a.tobytes() for a in got] == [a.tobytes() for a in wanted]


@pytest.mark.parametrize("name", [n for n in FILES if n != "kws_ref_model_float32"])
def test_outputs_in_tflite_micro_are_identical(name: str, data_dir: Path, tmp_path: Path) -> None:
    """All but a model with float inputs and int8 weights, which TFLite Micro does not run."""
    path = data_dir / "tflite" / f"{name}.tflite"
    shape = {"person_detect": (1, 96, 96, 1)}.get(name)
    if shape:
        inputs = [np.random.default_rng(7).integers(-128, 128, shape).astype(np.int8)]
    else:
        inputs, _ = litert(path)
    wanted = micro(path, inputs)
    got = micro(through(path, tmp_path), inputs)
    assert [a.tobytes() for a in got] == [a.tobytes() for a in wanted]
    assert wanted[0].size


@pytest.mark.parametrize("name", FLOATS)
@pytest.mark.parametrize("preset", ["int8", "deep"])
def test_coded_floats_run_and_answer_nearly_the_same(
    name: str, preset: str, data_dir: Path, tmp_path: Path
) -> None:
    path = data_dir / "tflite" / f"{name}.tflite"
    made = through(path, tmp_path, preset)
    report = dcformat.verify(tmp_path / "m.dcf", against=path)
    assert report.ok, report
    inputs, wanted = litert(path)
    _, got = litert(made, inputs)
    noise = float(np.sum((got[0] - wanted[0]) ** 2) / np.sum(wanted[0] ** 2))
    assert 0 < noise < (0.001 if preset == "int8" else 0.01)


def answers(path: Path, images: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.array([np.argmax(litert(path, [image[None]])[1][0]) for image in images])


@pytest.mark.parametrize(("preset", "same"), [("int8", 0.98), ("deep", 0.96)])
def test_pictures_are_seen_as_before(
    preset: str, same: float, data_dir: Path, tmp_path: Path
) -> None:
    path = data_dir / "tflite" / "pretrainedResnet.tflite"
    with np.load(data_dir / "cifar10" / "cifar10_test761.npz") as arrays:
        images = arrays["images"].transpose(0, 2, 3, 1).astype(np.float32)[:200]
        labels = arrays["labels"][:200]
    before, after = answers(path, images), answers(through(path, tmp_path, preset), images)
    assert np.mean(before == labels) > 0.85
    assert np.mean(after == labels) > 0.85
    assert np.mean(before == after) >= same


@pytest.mark.parametrize("preset", ["int8", "deep"])
def test_quantized_files_come_back_byte_for_byte_in_every_preset(
    preset: str, data_dir: Path, tmp_path: Path
) -> None:
    path = data_dir / "tflite" / "kws_ref_model.tflite"
    assert through(path, tmp_path, preset).read_bytes() == path.read_bytes()


def test_the_sizes_of_dcf_files(data_dir: Path, tmp_path: Path) -> None:
    """No larger than measured: bytes of the .dcf of a float model and of a quantized one."""
    for name, preset, most in (("pretrainedResnet", "int8", 77_680), ("ad01_fp32", "deep", 138_907),
                               ("kws_ref_model", "lossless", 37_538)):  # fmt: skip
        through(data_dir / "tflite" / f"{name}.tflite", tmp_path, preset)
        assert (tmp_path / "m.dcf").stat().st_size <= most * 1.01
