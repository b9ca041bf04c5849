"""README.md says what is so: its commands, files, options and Python example are tried."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tflite_files
import torch_files
from conftest import ROOT

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def lines_of(language: str) -> list[str]:
    """Return the lines of all fenced blocks of a language, comments and empty ones left out."""
    lines = [line for kind, text in BLOCKS if kind == language for line in text.splitlines()]
    return [line for line in lines if line.strip() and not line.startswith("#")]


COMMANDS = [shlex.split(line, comments=True) for line in lines_of("sh") if line.startswith("dc")]


@pytest.fixture
def desk(tmp_path: Path, digits: Path) -> Path:
    """A folder with the example model, a checkpoint and the recipe, named as README names them."""
    shutil.copy(digits / "digits.onnx", tmp_path / "model.onnx")
    (tmp_path / "model.tflite").write_bytes(tflite_files.layers("few"))
    weights = {"fc.weight": np.ones((9, 9), "<f4")}
    (tmp_path / "checkpoint.pth").write_bytes(torch_files.state_dict(weights))
    recipe, budget = [text for kind, text in BLOCKS if kind == "toml"]
    (tmp_path / "recipe.toml").write_text(recipe)
    (tmp_path / "budget.toml").write_text(budget)
    return tmp_path


def run(arguments: list[str], folder: Path) -> str:
    """Run one command as a user of this environment would; return what it prints."""
    scripts = str(Path(sys.executable).parent)
    environment = os.environ | {"PATH": os.pathsep.join((scripts, os.environ["PATH"]))}
    done = subprocess.run(
        arguments, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{shlex.join(arguments)}\n{done.stdout}{done.stderr}"
    return done.stdout


def test_two_commands_do_all_the_set_up() -> None:
    first, second = [line for line in lines_of("sh") if "venv" in line]
    start = "python3 -m venv .venv && .venv/bin/pip install -q -e '.[test]' && .venv/bin/python "
    assert first == start + "examples/digits/run.py"
    assert second.startswith(start + "-m pytest")


def test_the_first_command_ends_as_the_page_says(digits: Path) -> None:
    pytest.importorskip("onnxruntime")
    (shown,) = [text for kind, text in BLOCKS if kind == "console"]
    assert run([sys.executable, str(digits / "run.py")], ROOT).endswith(shown)


def test_the_commands_work_in_the_order_of_the_page(desk: Path) -> None:
    assert {command[0] for command in COMMANDS} == {"dcaudit", "dcconvert", "dcverify"}
    pytest.importorskip("onnxruntime")
    for command in COMMANDS:
        run(command, desk)


def test_the_python_example_runs(desk: Path) -> None:
    (code,) = [text for kind, text in BLOCKS if kind == "python"]
    run([sys.executable, "-c", code], desk)


def test_every_file_that_is_linked_exists() -> None:
    links = re.findall(r"\]\(([^)#:]+)[^)]*\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
