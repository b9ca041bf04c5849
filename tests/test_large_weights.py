"""Models of 3 GiB in shards, converted in a few hundred MB."""

from __future__ import annotations

import json
import shutil
import sys
from math import prod
from pathlib import Path

import numpy as np
import pytest
from test_large import convert

import dcformat
from dcformat.converters.read_safetensors import READER
from dcformat.model import Array, LazyTensor, Tensor

#: Tensors of each of three shards, a GiB together: type, bytes of an element, dims.
SHAPES = {
    "embed": ("F32", 4, (65536, 1024)),
    "up": ("BF16", 2, (16384, 8192)),
    "down": ("BF16", 2, (8192, 16384)),
    "experts": ("F8_E4M3", 1, (16, 4096, 4096)),
}
HOLES = 1 << 26  # bytes from one piece of noise to the next; what is between is zero

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/self/status"),
]


def noise(place: int) -> bytes:
    """Return bits of any kind, NaN with payloads among them."""
    return np.random.default_rng(place).bytes(1 << 16)


@pytest.fixture(scope="module")
def sharded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the index of a model whose shards are mostly holes on the disk."""
    folder = tmp_path_factory.mktemp("weights")
    if shutil.disk_usage(folder).free < 12 << 30:
        pytest.skip("needs 12 GiB of disk")
    weight_map = {}
    for shard in ("1", "2", "3"):
        weight_map |= dict.fromkeys(write_shard(folder, shard), f"m-{shard}.safetensors")
    path = folder / "model.safetensors.index.json"
    said = {"metadata": {"total_size": 3 << 30}, "weight_map": weight_map}
    path.write_text(json.dumps(said))
    return path


def write_shard(folder: Path, shard: str) -> list[str]:
    """Write a shard of a GiB; return its tensors."""
    header, start = {}, 0
    for name, (dtype, width, dims) in SHAPES.items():
        end = start + width * prod(dims)
        header[f"{name}{shard}"] = {"dtype": dtype, "shape": dims, "data_offsets": [start, end]}
        start = end
    text = json.dumps(header).encode()
    with (folder / f"m-{shard}.safetensors").open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        for place in range(0, start, HOLES):
            stream.seek(8 + len(text) + place)
            stream.write(noise(place + int(shard)))
        stream.truncate(8 + len(text) + start)
    return list(header)


def pieces(tensor: Tensor) -> list[Array]:
    return [tensor.piece((slice(i, i + 1),)) for i in range(0, tensor.shape[0], 997)]


def test_three_gib_become_a_dcf_in_300_mb_and_come_back(sharded: Path, tmp_path: Path) -> None:
    assert convert(sharded, tmp_path / "m.dcf", "--preset", "lossless") < 300
    packed = (tmp_path / "m.dcf").stat().st_size
    bound = 150 + (packed + (1 << 28)) // 1_000_000  # the largest tensor is decoded at once
    out = tmp_path / "m.safetensors"
    assert convert(tmp_path / "m.dcf", out) < bound
    check_same(dcformat.read(sharded).tensors, READER.read(out).tensors)
    out.unlink()
    assert convert(tmp_path / "m.dcf", tmp_path / "m.npz") < bound
    with np.load(tmp_path / "m.npz") as found:
        assert found.files == [t.name for t in dcformat.read(sharded).tensors]
    (tmp_path / "m.npz").unlink()


def check_same(mine: tuple[Tensor, ...], theirs: tuple[Tensor, ...]) -> None:
    assert [(t.name, t.dtype, t.shape) for t in mine] == [
        (t.name, t.dtype, t.shape) for t in theirs
    ]
    for a, b in zip(mine, theirs, strict=True):
        assert isinstance(a, LazyTensor)
        assert all(map(same_bits, pieces(a), pieces(b))), a.name


def same_bits(a: Array, b: Array) -> bool:
    return a.tobytes() == b.tobytes()


def test_weights_go_from_file_to_file_in_200_mb(sharded: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.safetensors"
    assert convert(sharded, out) < 200
    check_same(dcformat.read(sharded).tensors, READER.read(out).tensors)
    out.unlink()


def test_three_gib_become_int8_in_400_mb(sharded: Path, tmp_path: Path) -> None:
    assert convert(sharded, tmp_path / "m.dcf", "--preset", "int8", "--jobs", "2") < 400
