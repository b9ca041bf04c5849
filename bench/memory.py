"""The most memory that converting a large model takes, in a process of its own.

The model is made here, with external data. `beyond` is what comes on top of converting the
example network, so without the interpreter and the libraries.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from files import DIGITS
from made import write_network
from show import Cell, Table
from starting import command

MIB = 1 << 20
#: Runs a command and prints the peak of it alone: a child inherits the peak of who starts it,
#: so that this process, which has held the model, must not.
PEAK = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def peak_bytes(arguments: list[str]) -> int:
    """Return the peak resident memory of a command."""
    run = [sys.executable, "-c", PEAK, *arguments]
    printed = int(subprocess.run(run, capture_output=True, check=True).stdout)
    return printed if sys.platform == "darwin" else 1024 * printed


def tables(quick: bool) -> list[Table]:
    """Measure and return the table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = folder / "made.onnx"
        size = 4 * write_network(model, 8 if quick else 96, external=True)
        rows = [_row(model, size, preset, folder) for preset in ("lossless", "int8")]
    columns = ["MiB", "preset", "model", "peak", "beyond", "beyond : model", "seconds"]
    return [Table("memory of dcconvert", "", columns, rows, digits=1)]


def _row(model: Path, size: int, preset: str, folder: Path) -> list[Cell]:
    end = ["--preset", preset, "-o", str(folder / "x.dcf")]
    least = peak_bytes([command(), str(DIGITS), *end])
    start = time.perf_counter()
    peak = peak_bytes([command(), str(model), *end])
    seconds = time.perf_counter() - start
    beyond = peak - least
    sizes = (size / MIB, peak / MIB, beyond / MIB)
    return [model.stem, preset, *sizes, beyond / size, seconds]
