"""How long commands take to start: least of several runs, each in a process of its own."""

from __future__ import annotations

import resource
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from files import DIGITS
from show import Cell, Table

IMPORT = """
import time, numpy
clocks = time.perf_counter, time.process_time
start = [clock() for clock in clocks]
import dcformat
print(*(clock() - since for clock, since in zip(clocks, start)))
"""
AIM = 0.2  #: seconds of `import dcformat` beyond NumPy; printed, not judged: a machine is busy


def command() -> str:
    """Return the path of this environment's dcconvert."""
    return str(Path(sysconfig.get_path("scripts")) / "dcconvert")


def import_seconds() -> list[float]:
    """Return the seconds of `import dcformat` where NumPy is there already, and the processor's."""
    run = subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, check=True)
    return [float(word) for word in run.stdout.split()]


def run_seconds(arguments: list[str]) -> list[float]:
    """Return the seconds of a command, and the processor's."""
    start, used = time.perf_counter(), _children()
    subprocess.run(arguments, capture_output=True, check=True)
    return [time.perf_counter() - start, _children() - used]


def _children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def least(measure: Callable[[], list[float]], rounds: int) -> list[float]:
    """Return the least of each of the measured values."""
    return [min(column) for column in zip(*(measure() for _ in range(rounds)), strict=True)]


def tables(quick: bool) -> list[Table]:
    """Measure and return the table."""
    rounds = 3 if quick else 10
    with tempfile.TemporaryDirectory() as folder:
        digits = [command(), str(DIGITS), "-o", str(Path(folder) / "digits.dcf")]
        runs: dict[str, list[str]] = {
            "python -c pass": [sys.executable, "-c", "pass"],
            "python -c 'import numpy'": [sys.executable, "-c", "import numpy"],
            "dcconvert --help": [command(), "--help"],
            "dcconvert digits.onnx": digits,
        }
        rows: list[list[Cell]] = [
            [name, *least(partial(run_seconds, arguments), rounds)]
            for name, arguments in runs.items()
        ]
    rows.append([f"import dcformat beyond numpy (aim: {AIM})", *least(import_seconds, rounds)])
    return [Table("start-up", f"least of {rounds}", ["", "seconds", "of the processor"], rows)]
