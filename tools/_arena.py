"""The child process of `dcconvert --arena`: one model in TFLite Micro's interpreter, not run.

Sister: converters/tflm_arena.py, which starts it.

    python -m dcformat.tools._arena MODEL MEMORY SECONDS

The runtime writes what it allocated to standard error, a total first. Exit code 0, or 1 with the
runtime's reasons there. It checks little of a model: one that is damaged may end the process.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from dcformat.tools._run import limit

#: Bytes of the arena, one after the other: always the same, so that alignment is the same, too.
SIZES = (16 << 20, 256 << 20)


def main(arguments: Sequence[str]) -> int:
    """Let the runtime prepare the model that the arguments name; returns the exit code."""
    model, memory, seconds = arguments
    limit(int(memory), int(seconds))
    from tflite_micro.python.tflite_micro import runtime  # noqa: PLC0415 - after the limits

    for size in SIZES:
        try:
            made = runtime.Interpreter.from_file(model, arena_size=size)
        except RuntimeError as error:  # its reasons are on standard error already
            reason = str(error)
            continue
        made.print_allocations()
        return 0
    print(reason, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
