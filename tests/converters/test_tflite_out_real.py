"""Real ONNX models as .tflite: the same outputs in LiteRT (ai_edge_litert), the same answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from evaluation import MNIST, cifar_task, mnist_task
from tflite_runs import Array, Lite, check, in_onnxruntime

import dcformat
from dcformat.converters.tflite_out import Written, tflite_of

pytestmark = pytest.mark.realdata

#: Transposes in the .tflite; of lstm_1layer steps are written out in both directions.
MODELS = {
    "cct2_32_opset20_untrained": 9,
    "dtln_1": 0,
    "fastestdet": 2,
    "genre_mlp_velardo": 0,
    "lstm_1layer": 2,
    "micro_kws_m_fp32": 0,
    "mnist_14x14_atmega": 0,
    "mnist_cnn_bn_burn": 0,
    "mnist_cntk": 0,
    "mnist_mlp_bn_pytorch": 0,
    "super_resolution": 1,
    "ultraface_rfb320": 1,
    "yunet_n_320": 1,
}
FEW = 300  #: pictures in the default suite


def written_of(path: Path) -> Written:
    return tflite_of(dcformat.read(path))


def feeds_of(model: bytes, seed: int, scale: float) -> dict[str, Array]:
    """Return random inputs; what is open is 1."""
    rng = np.random.default_rng(seed)
    feeds = {}
    for one in onnxruntime.InferenceSession(model).get_inputs():
        shape = [size if isinstance(size, int) else 1 for size in one.shape]
        feeds[one.name] = (scale * rng.standard_normal(shape)).astype(np.float32)
    return feeds


@pytest.mark.parametrize("name", MODELS)
def test_outputs_are_those_of_onnxruntime(name: str, data_dir: Path) -> None:
    path = data_dir / "onnx" / f"{name}.onnx"
    model, written = path.read_bytes(), written_of(path)
    for seed, own_kernels in ((0, False), (1, False), (2, name != "super_resolution")):
        feeds = feeds_of(model, seed, 0.1 * 10**seed)
        wanted = in_onnxruntime(model, feeds)
        found = Lite(written.data, own_kernels).run(feeds)  # its own are slow for large pictures
        assert found.keys() == wanted.keys()
        for output, numbers in wanted.items():
            check(output, found[output], numbers)


@pytest.mark.parametrize("name", MODELS)
def test_few_numbers_are_moved(name: str, data_dir: Path) -> None:
    path = data_dir / "onnx" / f"{name}.onnx"
    graph = onnx.load(path).graph
    own = sum(node.op_type == "Transpose" for node in graph.node)
    held = {tensor.name for tensor in graph.initializer}
    ends = len([v for v in graph.input if v.name not in held]) + len(graph.output)
    assert written_of(path).transposes == MODELS[name] <= own + ends


@pytest.mark.parametrize("name", ["ultraface_rfb320", "yunet_n_320", "fastestdet", "dtln_1",
                                  "micro_kws_m_fp32", "cct2_32_opset20_untrained"])  # fmt: skip
def test_a_dcf_gives_as_tflite_what_it_gives_as_onnx(
    name: str, data_dir: Path, tmp_path: Path
) -> None:
    source = data_dir / "onnx" / f"{name}.onnx"
    dcformat.save(dcformat.compress(dcformat.read(source), "int8"), tmp_path / "m.dcf")
    coded = dcformat.load(tmp_path / "m.dcf").coded_model()
    for path in ("m.onnx", "m.tflite"):
        dcformat.write(coded, tmp_path / path)
    assert (tmp_path / "m.tflite").stat().st_size < 0.6 * source.stat().st_size
    model = (tmp_path / "m.onnx").read_bytes()
    feeds = feeds_of(model, 1, 1.0)
    found = Lite((tmp_path / "m.tflite").read_bytes()).run(feeds)
    for output, numbers in in_onnxruntime(model, feeds).items():
        check(output, found[output], numbers)


def answers(model: Path, images: Array) -> tuple[Array, Array]:
    """Return which output is the largest, in onnxruntime and in LiteRT, picture by picture."""
    session = onnxruntime.InferenceSession(model.read_bytes())
    lite, name = Lite(written_of(model).data), session.get_inputs()[0].name
    wanted, found = [], []
    for image in images:
        wanted.append(session.run(None, {name: image[None]})[0].argmax())
        (own,) = lite.run({name: image[None]}).values()
        found.append(own.argmax())
    return np.array(wanted), np.array(found)


def same_answers(task: Any, key: str, count: int | None) -> None:
    with np.load(task.test) as held:
        images, labels = held[key][:count], held["labels"][:count]
    wanted, found = answers(task.model, images)
    assert np.array_equal(wanted, found)
    assert np.mean(found == labels) > 0.9


@pytest.mark.parametrize("name", MNIST)
def test_mnist_has_the_same_answers(name: str, data_dir: Path, tmp_path: Path) -> None:
    same_answers(mnist_task(data_dir, tmp_path, name), MNIST[name][0], FEW)


@pytest.mark.slow
@pytest.mark.parametrize("name", MNIST)
def test_all_of_mnist_has_the_same_answers(name: str, data_dir: Path, tmp_path: Path) -> None:
    same_answers(mnist_task(data_dir, tmp_path, name), MNIST[name][0], None)


@pytest.mark.parametrize("name", ["resnet20", "resnet32"])
def test_cifar_has_the_same_answers(name: str, data_dir: Path, tmp_path: Path) -> None:
    same_answers(cifar_task(data_dir, tmp_path, name), "input", FEW)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet20", "resnet32"])
def test_all_of_cifar_has_the_same_answers(name: str, data_dir: Path, tmp_path: Path) -> None:
    same_answers(cifar_task(data_dir, tmp_path, name), "input", None)
