"""The child process that makes an ONNX graph of a torch.export archive.

Spec: spec/SECURITY.md (S5).    Sister: pt2_graph.py, which starts it and made the archive anew

    python -m dcformat.converters.pt2_run CLEAN.pt2 OUT.onnx MEMORY SECONDS

Exit code 0, or 1 with the reason as the last line on standard error.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path

from dcformat.errors import ConvertError

from . import torch_export


def main(arguments: Sequence[str]) -> int:
    """Convert the archive that the arguments name; returns the exit code."""
    source, out, memory, seconds = arguments
    _limit(int(memory), int(seconds))
    try:
        convert(Path(source), Path(out))
    except ConvertError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def convert(source: Path, out: Path) -> None:
    """Write the program in `source` as ONNX to `out`."""
    import torch  # noqa: PLC0415 - heavy, and not always there

    torch.set_num_threads(1)
    try:
        with torch_export.quiet():
            program = torch.export.load(str(source))
    except Exception as error:  # whatever PyTorch raises
        raise ConvertError(f"PyTorch cannot load it: {torch_export.reason_of(error)}") from error
    torch_export.write_onnx(program, out)


def _limit(memory: int, seconds: int) -> None:
    """Bound memory and processor time, where the system can."""
    try:
        import resource  # noqa: PLC0415 - not on Windows
    except ImportError:
        return
    bounds = {resource.RLIMIT_CPU: seconds, resource.RLIMIT_AS: memory, resource.RLIMIT_CORE: 0}
    for which, bound in bounds.items():
        _, hard = resource.getrlimit(which)
        allowed = bound if hard == resource.RLIM_INFINITY else min(bound, hard)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(which, (allowed, hard))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
