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

import onnx
import pytest
from click.testing import CliRunner, Result
from command_nets import make_net

from dcformat.tools import dcaudit, dcconvert, dcverify

Run = Callable[..., Result]
Start = Callable[..., "subprocess.CompletedProcess[bytes]"]

COMMANDS = {"dcaudit": dcaudit.main, "dcconvert": dcconvert.main, "dcverify": dcverify.main}


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
