"""Train the small network of this folder on scikit-learn's digits, with NumPy alone.

`OPENBLAS_NUM_THREADS=1 python examples/digits/train.py` writes digits.onnx and digits_test.npz
beside itself. It needs scikit-learn for the pictures and onnx to write the graph. With one thread
the same machine gives the same files; another build of NumPy rounds, and so trains, a little
differently. The pictures (1797 of 8 x 8 pixels) are the test part of "Optical Recognition of
Handwritten Digits" by E. Alpaydin and C. Kaynak, UCI Machine Learning Repository, CC BY 4.0.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from numpy.lib.stride_tricks import sliding_window_view
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits

HERE = Path(__file__).resolve().parent
HELD_OUT = 450
EPOCHS = 30
BATCH = 32

F32 = npt.NDArray[np.float32]
Weights = dict[str, F32]


def load_data(rng: np.random.Generator) -> tuple[F32, npt.NDArray[np.int64]]:
    """Return pictures in random order, (n, 1, 8, 8) in 0 to 1, and their labels."""
    pixels, labels = load_digits(return_X_y=True)
    order = rng.permutation(len(labels))
    images = (pixels[order] / 16).astype(np.float32).reshape(-1, 1, 8, 8)
    return images, labels[order].astype(np.int64)


def new_weights(rng: np.random.Generator) -> Weights:
    """Return He-normal weights and zero biases; dense weights are [in, out]."""
    shapes = {"conv1": (16, 1, 3, 3), "conv2": (32, 16, 3, 3), "fc1": (512, 80), "fc2": (80, 10)}
    weights: Weights = {}
    for layer, shape in shapes.items():
        is_conv = len(shape) == 4
        inputs = np.prod(shape[1:]) if is_conv else shape[0]
        outputs = shape[0] if is_conv else shape[1]
        drawn = rng.standard_normal(shape) * np.sqrt(2 / inputs)
        weights[f"{layer}.weight"] = drawn.astype(np.float32)
        weights[f"{layer}.bias"] = np.zeros(outputs, np.float32)
    return weights


def windows(x: F32) -> F32:
    """Return the 3 x 3 neighbourhood of every pixel: (n, c, h, w, 3, 3), zeros outside."""
    return sliding_window_view(np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1))), (3, 3), axis=(2, 3))


def conv(x: F32, weight: F32) -> F32:
    """Return the 3 x 3 convolution of x (n, c, h, w) with weight (o, c, 3, 3)."""
    y: F32 = np.tensordot(windows(x), weight, axes=((1, 4, 5), (1, 2, 3))).transpose(0, 3, 1, 2)
    return y


def conv_gradients(x: F32, weight: F32, dy: F32) -> tuple[F32, F32]:
    """Return the gradients of a convolution's weight and of its input."""
    d_weight = np.tensordot(dy, windows(x), axes=((0, 2, 3), (0, 2, 3)))
    return d_weight, conv(dy, weight[:, :, ::-1, ::-1].transpose(1, 0, 2, 3))


def spread(pooled: F32) -> F32:
    """Return each value of (n, c, h, w) four times: as a square of 2 x 2."""
    return pooled.repeat(2, axis=2).repeat(2, axis=3)


def forward(w: Weights, x: F32) -> dict[str, F32]:
    """Return the value of every layer for the pictures x; "logits" is the last."""
    n = len(x)
    a1 = np.maximum(conv(x, w["conv1.weight"]) + w["conv1.bias"][:, None, None], 0)
    pool = a1.reshape(n, 16, 4, 2, 4, 2).max(axis=(3, 5))
    a2 = np.maximum(conv(pool, w["conv2.weight"]) + w["conv2.bias"][:, None, None], 0)
    flat = a2.reshape(n, -1)
    a3 = np.maximum(flat @ w["fc1.weight"] + w["fc1.bias"], 0)
    logits = a3 @ w["fc2.weight"] + w["fc2.bias"]
    return {"x": x, "a1": a1, "pool": pool, "a2": a2, "flat": flat, "a3": a3, "logits": logits}


def gradients(w: Weights, v: dict[str, F32], labels: npt.NDArray[np.int64]) -> Weights:
    """Return the gradient of the mean cross-entropy in every weight, given forward()'s values."""
    exps = np.exp(v["logits"] - v["logits"].max(axis=1, keepdims=True))
    d_logits = exps / exps.sum(axis=1, keepdims=True)
    d_logits[np.arange(len(labels)), labels] -= 1
    d_logits /= len(labels)
    d3 = (d_logits @ w["fc2.weight"].T) * (v["a3"] > 0)
    d2 = (d3 @ w["fc1.weight"].T).reshape(v["a2"].shape) * (v["a2"] > 0)
    d_conv2, d_pool = conv_gradients(v["pool"], w["conv2.weight"], d2)
    d1 = spread(d_pool) * (v["a1"] == spread(v["pool"])) * (v["a1"] > 0)
    d_conv1, _ = conv_gradients(v["x"], w["conv1.weight"], d1)
    return {
        "conv1.weight": d_conv1,
        "conv1.bias": d1.sum(axis=(0, 2, 3)),
        "conv2.weight": d_conv2,
        "conv2.bias": d2.sum(axis=(0, 2, 3)),
        "fc1.weight": v["flat"].T @ d3,
        "fc1.bias": d3.sum(axis=0),
        "fc2.weight": v["a3"].T @ d_logits,
        "fc2.bias": d_logits.sum(axis=0),
    }


def train(w: Weights, x: F32, labels: npt.NDArray[np.int64], rng: np.random.Generator) -> None:
    """Change the weights in place: Adam, with a step that falls linearly to zero."""
    mean = {name: np.zeros_like(value) for name, value in w.items()}
    square = {name: np.zeros_like(value) for name, value in w.items()}
    batches = len(x) // BATCH
    steps = EPOCHS * batches
    for step in range(1, steps + 1):
        if step % batches == 1:
            order = rng.permutation(len(x))
        pick = order[(step - 1) % batches * BATCH :][:BATCH]
        rate = 2e-3 * (1 - step / steps)
        for name, slope in gradients(w, forward(w, x[pick]), labels[pick]).items():
            mean[name] += 0.1 * (slope - mean[name])
            square[name] += 0.001 * (slope * slope - square[name])
            upward = mean[name] / (1 - 0.9**step)
            scale = np.sqrt(square[name] / (1 - 0.999**step)) + 1e-8
            w[name] -= (rate * upward / scale).astype(np.float32)


def to_onnx(w: Weights) -> onnx.ModelProto:
    """Return the network as ONNX: input (N, 1, 8, 8), output the ten logits."""
    pads, kernel = [1, 1, 1, 1], [3, 3]
    nodes = [
        helper.make_node(
            "Conv", ["image", "conv1.weight", "conv1.bias"], ["c1"], pads=pads, kernel_shape=kernel
        ),
        helper.make_node("Relu", ["c1"], ["a1"]),
        helper.make_node("MaxPool", ["a1"], ["pool"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node(
            "Conv", ["pool", "conv2.weight", "conv2.bias"], ["c2"], pads=pads, kernel_shape=kernel
        ),
        helper.make_node("Relu", ["c2"], ["a2"]),
        helper.make_node("Flatten", ["a2"], ["flat"]),
        helper.make_node("Gemm", ["flat", "fc1.weight", "fc1.bias"], ["f1"]),
        helper.make_node("Relu", ["f1"], ["a3"]),
        helper.make_node("Gemm", ["a3", "fc2.weight", "fc2.bias"], ["logits"]),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 1, 8, 8])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 10])
    numbers = [numpy_helper.from_array(value, name) for name, value in w.items()]
    graph = helper.make_graph(nodes, "digits", [image], [logits], initializer=numbers)
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8, producer_name="digits")
    onnx.checker.check_model(model, full_check=True)
    return model


def main() -> None:
    rng = np.random.default_rng(0)
    images, labels = load_data(rng)
    held_x, held_y = images[:HELD_OUT], labels[:HELD_OUT]
    weights = new_weights(rng)
    train(weights, images[HELD_OUT:], labels[HELD_OUT:], rng)
    right = int((forward(weights, held_x)["logits"].argmax(axis=1) == held_y).sum())
    onnx.save(to_onnx(weights), HERE / "digits.onnx")
    np.savez_compressed(HERE / "digits_test.npz", images=held_x, labels=held_y)
    parameters = sum(value.size for value in weights.values())
    print(f"{parameters} parameters, {right} of {HELD_OUT} held-out pictures right")


if __name__ == "__main__":
    main()
