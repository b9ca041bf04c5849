"""How many bytes of arena TFLite Micro's interpreter takes for a model, as it counts them itself.

What DECODE operators give lives there: a smaller file can take more memory to run. The count is of
this machine, where a pointer has 8 bytes; on one of 32 bits the runtime's own tables are smaller.
The interpreter runs in a child process with limits. Sisters: write_tflm.py, tools/_arena.py.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dcformat.errors import ConvertError
from dcformat.files import scratch_folder
from dcformat.verify_run import CPU_SECONDS, MEMORY_BYTES, WALL_SECONDS, ended_by

_PACKAGE = "tflite_micro"
_TOTAL = re.compile(r"Arena allocation total (\d+) bytes")


@dataclass(frozen=True)
class Arena:
    """Bytes for a plain file and for the encoded one; None, and the reason, where it is refused."""

    before: int | None
    after: int | None
    reason: str
    runtime: str

    @property
    def row(self) -> tuple[str, str]:
        before, after = (
            "the runtime refuses it" if size is None else f"{size:,} B"
            for size in (self.before, self.after)
        )
        why = f" ({self.reason})" if self.reason else ""
        return "interpreter", f"arena before: {before}, after: {after}{why}, by {self.runtime} here"

    @property
    def facts(self) -> dict[str, Any]:
        return {
            "arena": {
                "before": self.before,
                "after": self.after,
                "reason": self.reason,
                "runtime": self.runtime,
            }
        }


def need_runtime() -> None:
    """Raise ConvertError with the way out if the interpreter is not installed."""
    if importlib.util.find_spec(_PACKAGE) is None:
        raise ConvertError("the arena is measured by tflite-micro: pip install 'dcformat[tflite]'")


def measure(plain: bytes, encoded: bytes) -> Arena:
    """Return what both take."""
    with scratch_folder() as folder:
        (before, first), (after, second) = (
            _total(data, folder / f"{number}.tflite")
            for number, data in enumerate((plain, encoded))
        )
    version = importlib.metadata.version(_PACKAGE)
    return Arena(before, after, first or second, f"tflite-micro {version}")


def _total(data: bytes, path: Path) -> tuple[int | None, str]:
    """Return the bytes, or None and why the runtime does not take the model."""
    path.write_bytes(data)
    limits = [str(number) for number in (MEMORY_BYTES, CPU_SECONDS)]
    try:
        done = subprocess.run(
            [sys.executable, "-m", "dcformat.tools._arena", str(path), *limits],
            cwd=path.parent,  # -m puts the current folder first on the path: a scratch one
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=WALL_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return None, f"took longer than {WALL_SECONDS} s"
    errors = done.stderr.decode(errors="replace")
    found = _TOTAL.search(errors)
    if done.returncode or found is None:
        return None, ended_by(done.returncode, _first(errors))
    return int(found[1]), ""


def _first(errors: str) -> str:
    """Return the first line: the runtime's reason, before what follows from it."""
    return next((line.strip()[:200] for line in errors.splitlines() if line.strip()), "")
