"""Real networks end to end: source to file, file verified, and run in onnxruntime."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

import dcformat
from dcformat.coded import expand_tensor, same_bits
from dcformat.model import Model, Tensor

ort = pytest.importorskip("onnxruntime", reason="needs pip install 'dcformat[run]'")

pytestmark = pytest.mark.realdata

#: file -> how MNIST's pixels (0 to 255) become its input
MNIST = {
    "mnist_cntk": lambda x: x,
    "mnist_cnn_bn_burn": lambda x: (x / 255 - 0.1307) / 0.3081,
    "mnist_mlp_bn_pytorch": lambda x: x.reshape(len(x), 784) / 255,
}
DETECTORS = ("fastestdet", "yunet_n_320", "super_resolution", "ultraface_rfb320")
CANNOT_LOAD = {"espcn_qonnx_customdomain", "super_resolution_prepost_customops"}


def models(data_dir: Path) -> list[Path]:
    found = [*(data_dir / "onnx").glob("*.onnx"), *(data_dir / "onnx/external").glob("*.onnx")]
    return sorted(found)


NAMES = (
    "all_dtypes", "cct2_32_opset20_untrained", "dtln_1", "espcn_qonnx_customdomain",
    "external/conv_qdq_external_ini", "external/external_data_offset", "fastestdet", "fp16_loop",
    "genre_mlp_velardo", "light_shufflenet", "lstm_1layer", "micro_kws_m_fp32",
    "micro_kws_m_qdq", "mnist_14x14_atmega", "mnist_cnn_bn_burn", "mnist_cntk",
    "mnist_int8_dynamic", "mnist_mlp_bn_pytorch", "scan_lstm", "silero_vad_v6",
    "super_resolution", "super_resolution_prepost_customops", "tiny_random_gpt2_fp16",
    "tiny_random_gpt2_fp32", "tree_ensemble", "ultraface_rfb320", "yunet_n_320",
)  # fmt: skip


def test_no_model_of_the_folder_is_left_out(data_dir: Path) -> None:
    found = {str(p.relative_to(data_dir / "onnx").with_suffix("")) for p in models(data_dir)}
    assert found == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_lossless_gives_the_same_weights_and_the_same_outputs(
    data_dir: Path, tmp_path: Path, name: str
) -> None:
    source = data_dir / "onnx" / f"{name}.onnx"
    file = tmp_path / "x.dcf"
    dcformat.save(dcformat.compress(dcformat.read(source), "lossless"), file)
    report = dcformat.verify(file, against=source, run=True)
    checks = {check.name: check for check in report.checks}
    assert report.ok, [c for c in report.checks if c.status == "failed"]
    wanted = "skipped" if name in CANNOT_LOAD else "ok"
    assert checks["outputs"].status == wanted, checks["outputs"]


@pytest.mark.parametrize("preset", ["int8", "deep"])
@pytest.mark.parametrize("name", NAMES)
def test_lossy_presets_verify_against_their_source(
    data_dir: Path, tmp_path: Path, name: str, preset: str
) -> None:
    source = data_dir / "onnx" / f"{name}.onnx"
    file = tmp_path / "x.dcf"
    dcformat.save(dcformat.compress(dcformat.read(source), preset), file)
    report = dcformat.verify(file, against=source)
    assert report.ok, [c for c in report.checks if c.status == "failed"]


def mnist(data_dir: Path) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
    """Return the 10,000 test pictures (n, 1, 28, 28), 0 to 255, and their labels."""
    folder = data_dir / "mnist"
    images = gzip.decompress((folder / "t10k-images-idx3-ubyte.gz").read_bytes())[16:]
    labels = gzip.decompress((folder / "t10k-labels-idx1-ubyte.gz").read_bytes())[8:]
    pixels = np.frombuffer(images, np.uint8).reshape(-1, 1, 28, 28).astype(np.float32)
    return pixels, np.frombuffer(labels, np.uint8)


def session(path: Path) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def top1(path: Path, images: npt.NDArray[np.float32], labels: npt.NDArray[np.uint8]) -> float:
    """Return the share of right answers in percent."""
    model = session(path)
    name = model.get_inputs()[0].name
    right = 0
    for image, label in zip(images, labels, strict=True):
        right += int(model.run(None, {name: image[None]})[0].argmax()) == int(label)
    return 100 * right / len(labels)


def through_file(source: Path, folder: Path, preset: str) -> Path:
    """Return an ONNX file that went through a `.dcf`."""
    dcformat.save(dcformat.compress(dcformat.read(source), preset), folder / "x.dcf")
    back = folder / "back.onnx"
    dcformat.write(dcformat.expand(dcformat.load(folder / "x.dcf").coded_model()), back)
    return back


@pytest.mark.parametrize("name", MNIST)
def test_int8_keeps_top1_on_mnist(data_dir: Path, tmp_path: Path, name: str) -> None:
    source = data_dir / "onnx" / f"{name}.onnx"
    pixels, labels = mnist(data_dir)
    images = MNIST[name](pixels).astype(np.float32)
    before = top1(source, images, labels)
    after = top1(through_file(source, tmp_path, "int8"), images, labels)
    assert after >= before - 0.10


def plain_int8(model: Model) -> Model:
    """Return `model` with every weight rounded to int8 per output channel, the usual way."""
    return Model(
        tuple(_plain(model, t) for t in model.tensors), model.graph, model.uses, model.source
    )


def _plain(model: Model, tensor: Tensor) -> Tensor:
    use = model.uses.get(tensor.name)
    if use is None or use.role != "weight" or tensor.data.dtype != np.float32:
        return tensor
    others = tuple(i for i in range(tensor.data.ndim) if i != use.out_axis)
    scale = np.abs(tensor.data).max(axis=others, keepdims=True) / np.float32(127)
    scale = np.where(scale == 0, np.float32(1), scale)
    return Tensor(tensor.name, tensor.dtype, np.round(tensor.data / scale) * scale)


def outputs(path: Path, inputs: list[npt.NDArray[np.float32]]) -> list[npt.NDArray[np.float64]]:
    model = session(path)
    name = model.get_inputs()[0].name
    results = []
    for value in inputs:
        flat = [np.asarray(o, np.float64).reshape(-1) for o in model.run(None, {name: value})]
        results.append(np.concatenate(flat))
    return results


@pytest.mark.parametrize("name", DETECTORS)
def test_the_output_error_of_int8_is_that_of_plain_per_channel_int8(
    data_dir: Path, tmp_path: Path, name: str
) -> None:
    source = data_dir / "onnx" / f"{name}.onnx"
    plain = tmp_path / "plain.onnx"
    dcformat.write(plain_int8(dcformat.read(source)), plain)
    ours = through_file(source, tmp_path, "int8")
    shape = [d if isinstance(d, int) else 1 for d in session(source).get_inputs()[0].shape]
    rng = np.random.default_rng(5)
    inputs = [rng.random(shape, np.float32) for _ in range(4)]
    wanted = outputs(source, inputs)

    def error(path: Path) -> float:
        pairs = zip(wanted, outputs(path, inputs), strict=True)
        return float(np.sqrt(sum(np.square(a - b).sum() for a, b in pairs)))

    assert error(ours) <= 1.05 * error(plain)


@pytest.mark.parametrize("preset", ["lossless", "int8", "deep"])
def test_a_quantized_model_comes_back_to_the_bit(data_dir: Path, preset: str) -> None:
    model = dcformat.read(data_dir / "onnx" / "micro_kws_m_qdq.onnx")
    coded = dcformat.compress(model, preset)
    for tensor, result in zip(model.tensors, coded.tensors, strict=True):
        assert same_bits(np.asarray(tensor.data), np.asarray(expand_tensor(result))), tensor.name
