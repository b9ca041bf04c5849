"""What the tests of the commands share: a small network, and two ways to run a command.

A module of fixtures, for `pytest_plugins`; a second conftest.py would hide the first one.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result
from onnx import TensorProto, helper, numpy_helper

from dcformat.tools import dcaudit, dcconvert, dcverify

Run = Callable[..., Result]
Start = Callable[..., "subprocess.CompletedProcess[bytes]"]

COMMANDS = {"dcaudit": dcaudit.main, "dcconvert": dcconvert.main, "dcverify": dcverify.main}


def make_net(weight: str = "conv1.weight") -> Any:
    """Return a convolution and a dense layer with biases, 1,754 parameters, seeded."""
    random = np.random.default_rng(7)
    shapes = {weight: (16, 2, 3, 3), "conv1.bias": (16,), "fc.weight": (10, 144), "fc.bias": (10,)}
    constants = [
        numpy_helper.from_array(random.standard_normal(shape).astype(np.float32), name)
        for name, shape in shapes.items()
    ]
    nodes = [
        helper.make_node("Conv", ["x", weight, "conv1.bias"], ["a"], "conv1", kernel_shape=[3, 3]),
        helper.make_node("Relu", ["a"], ["b"], "relu"),
        helper.make_node("Flatten", ["b"], ["c"], "flatten"),
        helper.make_node("Gemm", ["c", "fc.weight", "fc.bias"], ["y"], "fc", transB=1),
    ]
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2, 5, 5])
    made = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 10])
    graph = helper.make_graph(nodes, "net", [given], [made], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture
def net(tmp_path: Path) -> Path:
    """The path of the network as net.onnx."""
    path = tmp_path / "net.onnx"
    path.write_bytes(make_net().SerializeToString())
    return path


@pytest.fixture
def external_net(tmp_path: Path) -> Path:
    """The same with its weights in weights.bin, in a folder of its own."""
    folder = tmp_path / "external"
    folder.mkdir()
    path = folder / "net.onnx"
    onnx.save_model(
        make_net(), path, save_as_external_data=True, location="weights.bin", size_threshold=64
    )
    return path


@pytest.fixture
def run() -> Run:
    """Run a command in this process: run("dcconvert", arguments…, stdin=bytes)."""

    def run(command: str, *arguments: object, stdin: bytes | None = None) -> Result:
        return CliRunner().invoke(COMMANDS[command], [str(a) for a in arguments], input=stdin)

    return run


@pytest.fixture
def start() -> Start:
    """Run a command in a process of its own; keywords are those of subprocess.run."""

    def start(
        command: str, *arguments: object, **options: Any
    ) -> subprocess.CompletedProcess[bytes]:
        line = [sys.executable, "-m", f"dcformat.tools.{command}", *map(str, arguments)]
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        env = {**os.environ, "DCFORMAT_TRACEBACK": ""}
        return subprocess.run(line, check=False, timeout=120, env=env, **streams)

    return start
