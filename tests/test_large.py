"""Models larger than memory: a GiB of external data in a few hundred MB."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import dcformat
from dcformat.coded import Affine, same_bits

SHAPES = {
    "embedding": (131072, 1024),
    "conv1": (512, 512, 3, 3),
    "matmul1": (4096, 4096),
    "matmul2": (1024, 8192),
    "conv2": (2048, 1024, 3, 3),
    "matmul3": (8192, 2048),
    "matmul4": (4096, 4095),
    "matmul5": (4095, 4096),
    "conv3": (1024, 700, 3, 3),
    "matmul6": (2048, 8192),
    "matmul7": (4096, 4097),
    "conv4": (1024, 1024, 3, 3),
}

#: Runs dcconvert and prints the most memory that was resident, in kB.
CHILD = """
import sys
from dcformat.tools.dcconvert import main
try:
    main(sys.argv[1:])
finally:
    print(next(line.split()[1] for line in open("/proc/self/status") if "VmHWM" in line))
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/self/status"),
]


def numbers(index: int, size: int) -> np.ndarray:
    """Return the elements of tensor `index`: a noise that differs from tensor to tensor."""
    noise = np.random.default_rng(index).standard_normal(1 << 20, np.float32)
    return np.resize(noise * np.float32(0.02), size)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a model with a GiB of external data."""
    path = tmp_path_factory.mktemp("large") / "large.onnx"
    tensors, offset = [], 0
    with path.with_name("large.data").open("wb") as data:
        for index, (name, shape) in enumerate(SHAPES.items()):
            raw = numbers(index, int(np.prod(shape))).data
            data.write(raw)
            tensors.append(external(name, shape, offset, raw.nbytes))
            offset += raw.nbytes
    assert offset >= 1 << 30
    path.write_bytes(model_of(tensors).SerializeToString())
    return path


def external(name: str, shape: tuple[int, ...], offset: int, size: int) -> TensorProto:
    tensor = TensorProto(name=name, dims=shape, data_type=TensorProto.FLOAT, data_location=1)
    where = {"location": "large.data", "offset": str(offset), "length": str(size)}
    for key, value in where.items():
        tensor.external_data.add(key=key, value=value)
    return tensor


def model_of(tensors: list[TensorProto]) -> onnx.ModelProto:
    ops = {"embedding": "Gather", "conv": "Conv", "matmul": "MatMul"}
    nodes, inputs, outputs = [], [], []
    for tensor in tensors:
        op = ops[tensor.name.rstrip("0123456789")]
        mine, kind = f"in_{tensor.name}", TensorProto.INT64 if op == "Gather" else TensorProto.FLOAT
        names = [tensor.name, mine] if op == "Gather" else [mine, tensor.name]
        nodes.append(helper.make_node(op, names, [f"out_{tensor.name}"]))
        inputs.append(helper.make_tensor_value_info(mine, kind, None))
        outputs.append(helper.make_tensor_value_info(f"out_{tensor.name}", TensorProto.FLOAT, None))
    graph = helper.make_graph(nodes, "large", inputs, outputs, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def convert(source: Path, target: Path, *options: str) -> int:
    """Run dcconvert in a process of its own; return the most MB that were resident."""
    command = [sys.executable, "-c", CHILD, str(source), "-o", str(target), "-q", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout) // 1000


def test_lossless_takes_less_than_300_mb(large: Path, tmp_path: Path) -> None:
    target = tmp_path / "large.dcf"
    assert convert(large, target, "--preset", "lossless") < 300
    file = dcformat.load(target, budget=1 << 30)
    for index, (name, shape) in enumerate(SHAPES.items()):
        wanted = numbers(index, int(np.prod(shape))).reshape(shape)
        assert same_bits(file[name], wanted), name


def test_int8_takes_less_than_500_mb_and_two_threads_give_the_same(
    large: Path, tmp_path: Path
) -> None:
    target, again = tmp_path / "int8.dcf", tmp_path / "again.dcf"
    assert convert(large, target, "--preset", "int8") < 500
    assert convert(large, again, "--preset", "int8", "--jobs", "2") < 500
    assert again.read_bytes() == target.read_bytes()
    file = dcformat.load(target, budget=1 << 30)
    for index, name in enumerate(SHAPES):
        values = file.coded(name).values
        assert isinstance(values, Affine), name
        wanted = numbers(index, file[name].size).reshape(SHAPES[name])
        assert np.abs(file[name] - wanted).max() <= 0.51 * values.scale.max(), name
