"""Networks as Deep Compression was released with: made here, and decoded by another way.

What is under test works on whole streams; `decoded` goes entry by entry through the bytes, as the
format is described: counts of all layers, then codebook, bias, indices and gaps of each.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path


@dataclass(frozen=True)
class Blob:
    """A layer: its name, the shape of its weight, and how many weights are not stored of ten."""

    name: str
    weight: tuple[int, ...]
    zeros: int = 5


#: Layers of `NET`, in its order: the shapes are worked out by hand.
BLOBS = (
    Blob("conv1", (6, 3, 5, 3)),
    Blob("conv2", (8, 3, 3, 3), 9),
    Blob("fc3", (10, 8 * 3 * 2)),
    Blob("my_ip", (4, 10), 0),
)
#: 3x17x12 → conv1 6x15x9 → pool 6x7x4 (ceil) → conv2, 2 groups, stride 2: 8x4x3 → pool 8x3x2
NET = """
name: 'small'  # a comment
input: "data"
input_dim: 1 input_dim: 3 input_dim: 17 input_dim: 12
layer { name: "label" type: "Data" top: "x" include { phase: TRAIN } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 6 kernel_h: 5 kernel_w: 3 pad_h: 1
    weight_filler { type: "xavier" } } }
layer { name: "relu_conv1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1"
  pooling_param { pool: MAX kernel_size: 3 stride: 2 } }
layer { name: "conv2" type: "Convolution" bottom: "pool1" top: "conv2"
  convolution_param { num_output: 8 pad: 1 kernel_size: 3 stride: 2 group: 2 } }
layer { name: "pool2" type: "Pooling" bottom: "conv2" top: "pool2"
  pooling_param { pool: AVE kernel_size: 2 } }
layer { name: "fc3" type: "InnerProduct" bottom: "pool2" top: "fc3"
  inner_product_param { num_output: 10 } }
layer { name: "drop" type: "Dropout" bottom: "fc3" top: "fc3" dropout_param < dropout_ratio: 0.5 > }
layer { name: "my_ip" type: "InnerProduct" bottom: "fc3" top: "out"
  inner_product_param { num_output: 4 } }
layer { name: "score" type: "InnerProduct" bottom: "out" top: "score"
  inner_product_param { num_output: 2 } }
"""


def net_of(blobs: tuple[Blob, ...] = BLOBS, seed: int = 1) -> bytes:
    """Return a .net of these layers with numbers of all kinds, NaN and -0.0 included."""
    rng = random.Random(seed)
    counts, bodies = [], []
    for blob in blobs:
        bits = 8 if "conv" in blob.name else 4
        gaps = list(_gaps(prod(blob.weight), blob.zeros, rng))
        indices = [rng.randrange(1 << bits) for _ in gaps]
        book = [0.0, -0.0, float("nan"), *(rng.gauss(0, 1) for _ in range((1 << bits) - 3))]
        bias = [rng.gauss(0, 1) for _ in range(blob.weight[0])]
        counts.append(len(gaps))
        stream = bytes(indices) if bits == 8 else _packed(indices)
        bodies.append(struct.pack(f"<{len(book)}f", *book))
        bodies.append(struct.pack(f"<{len(bias)}f", *bias) + stream + _packed(gaps))
    return struct.pack(f"<{len(counts)}I", *counts) + b"".join(bodies)


def _gaps(weights: int, zeros: int, rng: random.Random) -> Iterator[int]:
    left = weights
    while True:
        gap = rng.randrange(16) if rng.randrange(10) < zeros else 0
        left -= gap + 1
        if left < 0:
            return
        yield gap


def _packed(numbers: list[int]) -> bytes:
    padded = [*numbers, 0][: len(numbers) + len(numbers) % 2]
    return bytes(low | high << 4 for low, high in zip(padded[::2], padded[1::2], strict=True))


def decoded(data: bytes, blobs: tuple[Blob, ...] = BLOBS) -> dict[str, bytes]:
    """Return the float32 bytes of every tensor, read entry by entry."""
    found = {}
    at = 4 * len(blobs)
    for number, blob in enumerate(blobs):
        stored = int.from_bytes(data[4 * number : 4 * number + 4], "little")
        bits = 8 if "conv" in blob.name else 4
        book = [data[at + 4 * i : at + 4 * i + 4] for i in range(1 << bits)]
        at += 4 << bits
        found[f"{blob.name}.bias"] = data[at : at + 4 * blob.weight[0]]
        at += 4 * blob.weight[0]
        gaps_at = at + (stored if bits == 8 else (stored + 1) // 2)
        weights = [book[0]] * prod(blob.weight)
        place = -1
        for i in range(stored):
            index = data[at + i] if bits == 8 else _half(data, at, i)
            place += 1 + _half(data, gaps_at, i)
            weights[place] = book[index]
        found[f"{blob.name}.weight"] = b"".join(weights)
        at = gaps_at + (stored + 1) // 2
    assert at == len(data)
    return found


def _half(data: bytes, at: int, number: int) -> int:
    return data[at + number // 2] >> 4 * (number % 2) & 15


def write(folder: Path, data: bytes | None = None, text: str = NET) -> tuple[Path, Path]:
    """Write a .net and its definition, which stands elsewhere; return both paths."""
    (folder / "def").mkdir(exist_ok=True)
    net, prototxt = folder / "n.net", folder / "def" / "n.prototxt"
    net.write_bytes(net_of() if data is None else data)
    prototxt.write_text(text)
    return net, prototxt
