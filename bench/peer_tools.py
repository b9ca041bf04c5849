"""The coders of others: where they come from, and what they make of given arrays.

They are installed, in stated versions, into an environment of their own below the folder that
DCFORMAT_PEERS names (else ~/.cache/dcformat-peers), once. What cannot be had is left out, with the
reason. zstd and xz run in any case.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Arrays = Mapping[str, npt.NDArray[Any]]
CHILD = Path(__file__).with_name("peer_child.py")
NUMPY = "numpy==2.2.6"
#: None: dcformat itself has what it takes.
PINS: dict[str, str | None] = {
    "NNCodec": "nncodec==2.1.3",
    "Vela": "ethos-u-vela==5.2.0",
    "zstd -19": None,
    "xz -9": None,
    "brotli -11": "brotli==1.2.1",
    "ZipNN": "zipnn==0.5.4",
    "shuffle, zstd -19": None,
}
MINUTES = 20  #: until a coder or an installation is given up


@dataclass(frozen=True)
class Result:
    """What a coder made of a case."""

    size: int
    encode: float  # seconds
    decode: float


@dataclass(frozen=True)
class Tools:
    """The coders that can be run, by name, each with its Python; and why others cannot."""

    pythons: dict[str, Path]
    left_out: tuple[str, ...]


def folder() -> Path:
    """Return where coders are installed: for each version of Python a folder of its own."""
    given = os.environ.get("DCFORMAT_PEERS")
    base = Path(given) if given else Path.home() / ".cache" / "dcformat-peers"
    return base / f"python{sys.version_info.major}.{sys.version_info.minor}"


def python_in(place: Path) -> Path:
    """Return the Python of an environment."""
    return place / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def tools(install: bool) -> Tools:
    """Return the coders, after having installed them; without `install`, those that are there."""
    own = python_in(folder())
    reasons = _prepare(own) if install else {}
    there = _installed(own)
    pythons, left_out = {}, []
    for name, pin in PINS.items():
        if pin is None:
            pythons[name] = Path(sys.executable)
        elif pin in there:
            pythons[name] = own
        else:
            left_out.append(f"left out: {name} ({pin}): {reasons.get(pin, 'not installed')}")
    return Tools(pythons, tuple(left_out))


def _prepare(python: Path) -> dict[str, str]:
    """Install what is missing, one by one; return why what could not be had."""
    if not python.exists():
        problem = _problem([sys.executable, "-m", "venv", str(folder())])
        if problem:
            return {pin: problem for pin in PINS.values() if pin}
    there = _installed(python)
    reasons: dict[str, str] = {}
    for pin in [NUMPY, *(pin for pin in PINS.values() if pin)]:
        if pin not in there:
            wheel = ["--only-binary", ":all:"] if pin == NUMPY else []
            # without dependencies: their coders need numpy and nothing else
            problem = _problem(
                [str(python), "-m", "pip", "install", "-q", "--no-deps", *wheel, pin]
            )
            reasons |= {pin: problem} if problem else {}
    return reasons


def _problem(command: Sequence[str]) -> str:
    """Run a command and return why it failed, empty if it did not."""
    try:
        run = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=60 * MINUTES
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return "" if run.returncode == 0 else _last_line(run)


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=60 * MINUTES
    )


def _last_line(run: subprocess.CompletedProcess[str]) -> str:
    lines = [line for line in run.stderr.splitlines() if line.strip()]
    return lines[-1].strip() if lines else f"ended with {run.returncode}"


def _installed(python: Path) -> set[str]:
    """Return what an environment has, as NAME==VERSION."""
    if not python.exists():
        return set()
    command = [str(python), "-m", "pip", "list", "--format=json", "--disable-pip-version-check"]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    return {f"{item['name']}=={item['version']}" for item in json.loads(run.stdout)}


def run(python: Path, name: str, arrays: Arrays, rounds: int) -> tuple[dict[str, Result], str]:
    """Return what a coder made of each case, and how it ended if it did not end well."""
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "arrays.npz"
        np.savez(path, **dict(arrays))  # type: ignore[arg-type]  # names are not its settings
        command = [str(python), str(CHILD), name, str(path), str(rounds)]
        try:
            ended = _run(command)
        except subprocess.TimeoutExpired:
            return {}, f"not done in {MINUTES} minutes"
    found = [json.loads(line) for line in ended.stdout.splitlines() if line.startswith("{")]
    results = {one["case"]: Result(one["bytes"], one["encode"], one["decode"]) for one in found}
    return results, _last_line(ended) if ended.returncode else ""
