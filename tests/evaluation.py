"""Real data to calibrate on and to evaluate with, as .npz files, and networks made ONNX by hand.

MNIST: 25,000 training images to calibrate, 10,000 test images with labels. CIFAR-10: 761 of each.
The residual networks for CIFAR-10 (resnet20, resnet32) are PyTorch checkpoints without a graph; it
is built here, with each batch norm folded into the convolution before it.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

import dcformat

Array = npt.NDArray[Any]
F32 = npt.NDArray[np.float32]

LITE = "pretrainedResnet"
RESNETS = {"resnet20": "resnet20-12fca82f.th", "resnet32": "resnet32-d509ac18.th"}
#: Model files with the name of their input, its shape, and what is subtracted and divided by.
MNIST = {
    "mnist_cnn_bn_burn": ("input.1", (1, 28, 28), 0.1307, 0.3081),
    "mnist_mlp_bn_pytorch": ("network_input", (784,), 0.0, 1.0),
}
_MEAN = np.array([0.485, 0.456, 0.406], np.float32).reshape(3, 1, 1)
_STD = np.array([0.229, 0.224, 0.225], np.float32).reshape(3, 1, 1)
_EPSILON = 1e-5  # of PyTorch's batch norms


@dataclass(frozen=True)
class Task:
    """A model with data: files for calibration and, with labels, for evaluation."""

    model: Path
    calib: Path
    test: Path


def mnist_task(data: Path, folder: Path, name: str = "mnist_cnn_bn_burn") -> Task:
    """Return a model of MNIST, its data written to `folder`."""
    key, shape, mean, std = MNIST[name]

    def images(file: str) -> F32:
        pixels = _idx(data / "mnist" / file, 16).reshape(-1, *shape)
        return (pixels / np.float32(255) - np.float32(mean)) / np.float32(std)

    calib, test = folder / f"{name}_calib.npz", folder / f"{name}_test.npz"
    labels = _idx(data / "mnist" / "t10k-labels-idx1-ubyte.gz", 8)
    np.savez(calib, **{key: images("train25k-images-idx3-ubyte.gz")})
    np.savez(test, labels=labels, **{key: images("t10k-images-idx3-ubyte.gz")})
    return Task(data / "onnx" / f"{name}.onnx", calib, test)


def _idx(path: Path, header: int) -> npt.NDArray[np.uint8]:
    with gzip.open(path) as stream:
        return np.frombuffer(stream.read(), np.uint8, offset=header)


def lite_task(data: Path, folder: Path, name: str = LITE) -> Task:
    """Return a TFLite network for CIFAR-10, which takes pixels as they are, 0 to 255, NHWC."""
    files = {}
    for part in ("train", "test"):
        with np.load(data / "cifar10" / f"cifar10_{part}761.npz") as held:
            images = np.ascontiguousarray(np.moveaxis(held["images"], 1, -1), np.float32)
            labels = {"labels": held["labels"].astype(np.int64)} if part == "test" else {}
        files[part] = folder / f"lite_{part}.npz"
        np.savez(files[part], input_1=images, **labels)
    return Task(data / "tflite" / f"{name}.tflite", files["train"], files["test"])


def cifar_task(data: Path, folder: Path, name: str = "resnet20") -> Task:
    """Return a residual network for CIFAR-10 as ONNX, it and its data written to `folder`."""
    model = folder / f"{name}.onnx"
    onnx.save(resnet(data / "pytorch" / RESNETS[name]), model)
    files = {}
    for part in ("train", "test"):
        with np.load(data / "cifar10" / f"cifar10_{part}761.npz") as held:
            images = (held["images"].astype(np.float32) / np.float32(255) - _MEAN) / _STD
            labels = {"labels": held["labels"].astype(np.int64)} if part == "test" else {}
        files[part] = folder / f"cifar_{part}.npz"
        np.savez(files[part], input=images, **labels)
    return Task(model, files["train"], files["test"])


@dataclass
class _Builder:
    """Nodes and initializers of a graph, put together in the order in which they run."""

    state: dict[str, Array]
    nodes: list[Any] = field(default_factory=list)
    weights: dict[str, Array] = field(default_factory=dict)

    def add(self, op: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        name = name or f"{op.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, [*inputs], [f"{name}_out"], name, **attributes))
        return f"{name}_out"

    def constant(self, name: str, *numbers: int) -> str:
        self.weights[name] = np.array(numbers, np.int64)
        return name

    def conv(self, name: str, value: str, stride: int = 1) -> str:
        """Add a convolution into which its batch norm is folded."""
        norm = name.replace("conv", "bn")
        gain, shift, mean, variance = (
            self.state[f"{norm}.{part}"].astype(np.float64)
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        factor = gain / np.sqrt(variance + _EPSILON)
        weight = self.state[f"{name}.weight"] * factor.reshape(-1, 1, 1, 1)
        self.weights[f"{name}.weight"] = weight.astype(np.float32)
        self.weights[f"{name}.bias"] = (shift - mean * factor).astype(np.float32)
        inputs = value, f"{name}.weight", f"{name}.bias"
        pads, strides = [1, 1, 1, 1], [stride, stride]
        return self.add("Conv", *inputs, name=name, kernel_shape=[3, 3], pads=pads, strides=strides)

    def block(self, name: str, value: str) -> str:
        """Add a residual block; where it has more channels the shortcut is cut and padded."""
        wide, narrow = (self.state[f"{name}.conv1.weight"].shape[axis] for axis in (0, 1))
        stride = 1 if wide == narrow else 2
        inner = self.add("Relu", self.conv(f"{name}.conv1", value, stride))
        inner = self.conv(f"{name}.conv2", inner)
        if stride == 2:
            value = self.shortcut(value, (wide - narrow) // 2)
        return self.add("Relu", self.add("Add", inner, value))

    def shortcut(self, value: str, more: int) -> str:
        """Take every second pixel, and put `more` channels of zeros before and after."""
        names = [
            self.constant(f"{what}_{more}", *numbers)
            for what, numbers in (("from", (0, 0)), ("to", (1 << 30, 1 << 30)),
                                  ("axes", (2, 3)), ("steps", (2, 2)))
        ]  # fmt: skip
        pads = self.constant(f"pads_{more}", 0, more, 0, 0, 0, more, 0, 0)
        return self.add("Pad", self.add("Slice", value, *names), pads)


def resnet(checkpoint: Path) -> Any:
    """Return the ONNX model of a residual network for CIFAR-10, from its state dict."""
    tensors = dcformat.read(checkpoint).tensors
    state = {t.name.removeprefix("module."): np.asarray(t.data) for t in tensors}
    made = _Builder(state)
    value = made.add("Relu", made.conv("conv1", "input"))
    for stage in (1, 2, 3):
        index = 0
        while f"layer{stage}.{index}.conv1.weight" in state:
            value = made.block(f"layer{stage}.{index}", value)
            index += 1
    value = made.add("Flatten", made.add("GlobalAveragePool", value))
    made.weights |= {f"linear.{part}": state[f"linear.{part}"] for part in ("weight", "bias")}
    value = made.add("Gemm", value, "linear.weight", "linear.bias", name="linear", transB=1)
    shapes = (("input", ["batch", 3, 32, 32]), (value, ["batch", 10]))
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in shapes]
    held = [numpy_helper.from_array(array, name) for name, array in made.weights.items()]
    graph = helper.make_graph(made.nodes, "resnet", ends[:1], ends[1:], held)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
