"""Call one check of properties.ENTRIES again and again: a child process of run.py.

    python tests/fuzz/drive.py NAME SEED SECONDS COUNT FILE

Ends after SECONDS or COUNT inputs, whichever comes first; 0 is no limit. FILE holds the input at
work, after its size in 8 bytes, so that it is there whatever becomes of this process: an
exception, a crash, a hang (ended by SIGALRM), or more memory than RLIMIT_AS.
"""

from __future__ import annotations

import mmap
import random
import resource
import signal
import sys
import time
from pathlib import Path

from properties import ENTRIES

MEMORY = 4 << 30  #: bytes of address space: far above what inputs of some kB may ask for
HANG = 30  #: seconds
MOST = 1 << 20  #: bytes of an input


def main(name: str, seed: str, seconds: str, count: str, file: str) -> None:
    """Run until an input breaks the check or the time is up; print how many were tried."""
    entry = ENTRIES[name]
    rng = random.Random(f"{name} {seed}")
    seeds = entry.seeds()
    Path(file).write_bytes(bytes(8 + MOST))
    with Path(file).open("rb+") as stream:
        current = mmap.mmap(stream.fileno(), 8 + MOST)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    begun, done = time.monotonic(), 0
    while (not int(count) or done < int(count)) and (
        not float(seconds) or time.monotonic() - begun < float(seconds)
    ):
        data = entry.change(rng.choice(seeds), rng)
        current[: 8 + len(data)] = len(data).to_bytes(8, "little") + data
        signal.alarm(HANG)
        entry.check(data)
        done += 1
    signal.alarm(0)
    Path(file).unlink()
    print(done)


def input_at_work(file: Path) -> bytes:
    """Return the input that a process was at work on when it ended."""
    held = file.read_bytes()
    return held[8 : 8 + int.from_bytes(held[:8], "little")]


if __name__ == "__main__":
    main(*sys.argv[1:])
