"""What an output was made from, as a file that Make and Ninja read.

Sister: tools/dcconvert.py (--depfile)

The files of the package are named too, so that an output is made again when the tool has changed.
Every dependency also gets an empty rule, so that Make goes on when one of them is gone (but for
names with a %, whose rule would be one for a pattern).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from dcformat.errors import ConvertError
from dcformat.files import write_if_changed

#: What both can take in a name, escaped where need be; nothing else can be written for both.
_POSSIBLE = re.compile(r"[A-Za-z0-9 +,/_:.~(){}%@\[\]!#$\x80-\ud7ff\ue000-\U0010ffff-]+")


def escaped(path: str) -> str:
    """Return a path as it stands in a depfile. ConvertError where it cannot stand in one."""
    if not _POSSIBLE.fullmatch(path) or path[-1] in " :":
        raise ConvertError("a name that cannot stand in a depfile", place=path)
    drive = 2 if re.match(r"[A-Za-z]:[/\\]", path) and sys.platform == "win32" else 0
    rest = re.sub(r"([ #:])", r"\\\1", path[drive:])
    return path[:drive] + rest.replace("$", "$$")


def write_depfile(path: str, target: str, sources: Iterable[str | Path]) -> None:
    """Write to `path` that `target` is made from `sources` and from this package."""
    if "%" in target:
        raise ConvertError("a target that Make takes for a pattern", place=target)
    names = sorted({Path(one).as_posix() for one in sources})
    needed = [escaped(name) for name in [*names, *_own_files()]]
    first = " \\\n  ".join([f"{escaped(Path(target).as_posix())}:", *needed])
    phony = "".join(f"\n{name}:\n" for name in needed if "%" not in name)
    write_if_changed(Path(path), f"{first}\n{phony}".encode())


def _own_files() -> Sequence[str]:
    """Return the files of this package that are in use."""
    modules = [module for name, module in sys.modules.items() if name.split(".")[0] == "dcformat"]
    files = [getattr(module, "__file__", None) for module in modules]
    return sorted({Path(file).as_posix() for file in files if file})
