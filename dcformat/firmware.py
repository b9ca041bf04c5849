"""The C decoder as two files for a firmware project: dcf.h and dcf.c.

    python -m dcformat.firmware -o DIR [--without RUN ...]

One file is smaller than many: everything but the functions of dcf.h is static in it. Features are
the switches DCF_WITH_* of dcf.h, without that prefix; code of those that are left out is not there.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from .errors import Code, error_of
from .files import atomic_output

FOLDER = Path(__file__).parent / "c"

#: In the order of what uses what.
_PARTS = (
    "source", "crc", "dtype", "coder_packed", "coder_huffman", "coder_context", "layout_dense",
    "layout_gap", "layout_run", "values_raw", "values_fixed", "values_affine", "values_codebook",
    "values_pow2", "tables", "rooms", "record", "open", "elements", "blocks", "prepare", "decode",
    "check", "info", "float", "find", "strerror",
)  # fmt: skip
_HEAD = """\
/* The dcformat decoder in one file. Made from dcformat/c by dcformat.firmware. */
#include "dcf.h"

#include <stddef.h>

#define DCF_ONE_FILE 1
#if defined(__GNUC__)
#define DCF_LOCAL static __attribute__((unused))
#else
#define DCF_LOCAL static
#endif
"""
_DEFAULT = re.compile(r"^(#define DCF_WITH_(\w+)) (\S+)$", re.M)


def features() -> tuple[str, ...]:
    """Return the names of all features."""
    return tuple(name for _, name, _ in _DEFAULT.findall((FOLDER / "dcf.h").read_text()))


def sources(chosen: Mapping[str, bool] | None = None) -> dict[str, str]:
    """Return the texts of dcf.h and dcf.c; features that are not named are as dcf.h has them.

    Raises DcfError (ARGUMENT) for a feature that there is not.
    """
    chosen = dict(chosen or {})
    unknown = sorted(set(chosen) - set(features()))
    if unknown:
        there = ", ".join(features())
        raise error_of(Code.ARGUMENT, f"there is no feature {unknown[0]}; there are {there}")
    known = {f"DCF_WITH_{name}": False for name, wanted in chosen.items() if not wanted}
    known |= {"DCF_HOST": False, "defined(DCF_ONE_FILE)": True}
    header = _DEFAULT.sub(lambda found: _default(found, chosen), (FOLDER / "dcf.h").read_text())
    return {"dcf.h": _resolved(header, known), "dcf.c": _resolved(_HEAD + _body(), known)}


def _default(found: re.Match[str], chosen: Mapping[str, bool]) -> str:
    value = chosen.get(found[2])
    return found[0] if value is None else f"{found[1]} {int(value)}"


def _body() -> str:
    """Return the files behind each other, without what they include of each other."""
    files = ["dcf_internal.h", "dcf_context.h", *(f"dcf_{part}.c" for part in _PARTS)]
    texts = [(FOLDER / name).read_text() for name in files if (FOLDER / name).exists()]
    return "\n" + "\n".join(re.sub(r'^#include ".*"\n+', "", text, flags=re.M) for text in texts)


def _resolved(text: str, known: Mapping[str, bool]) -> str:
    """Return `text` without the branches of #if that `known` decides."""
    lines = "\n".join(_kept(text.splitlines(), known))
    return re.sub(r"\n{3,}", "\n\n", lines) + "\n"


@dataclass
class _Branch:
    """An open #if: whether it is decided here, whether its present branch stays, or one did."""

    decided: bool
    stays: bool
    taken: bool

    def turn(self, value: bool | None) -> None:
        """Go on to the next branch, whose condition has a value."""
        if self.decided:
            self.stays = not self.taken and value is not False
            self.taken |= self.stays


def _kept(lines: list[str], known: Mapping[str, bool]) -> Iterator[str]:
    """Yield the lines that stay."""
    branches: list[_Branch] = []
    for line in lines:
        found = re.match(r"#(if|ifdef|ifndef|elif|else|endif)\b\s*(.*?)\s*(/\*.*)?$", line)
        here = True
        if found and found[1].startswith("if"):
            value = _value(found[1], found[2], known)
            branches.append(_Branch(value is not None, value is not False, value is True))
            here = value is None
        elif found and found[1] == "endif":
            here = not branches.pop().decided
        elif found:
            branches[-1].turn(_value("if", found[2] or "1", known))
            here = not branches[-1].decided
        outer = branches[:-1] if found and found[1] != "endif" else branches
        if here and all(branch.stays for branch in outer):
            yield _shortened(line, known) if found else line


def _shortened(line: str, known: Mapping[str, bool]) -> str:
    """Return an #if or #elif without what is known to say nothing: 0 in A || 0, 1 in A && 1."""
    for sign, empty in (("||", False), ("&&", True)):
        if sign in line:
            word, condition = line.split(maxsplit=1)
            parts = [part.strip() for part in condition.split(sign)]
            kept = [part for part in parts if _value("if", part, known) is not empty]
            return f"{word} {f' {sign} '.join(kept)}"
    return line


def _value(word: str, condition: str, known: Mapping[str, bool]) -> bool | None:
    """Return what a condition is, None where it hangs on what is not known."""
    if word == "ifdef":
        return known.get(f"defined({condition})")
    if word == "ifndef":
        value = known.get(f"defined({condition})")
        return None if value is None else not value
    if "||" in condition:
        parts = [_value("if", part, known) for part in condition.split("||")]
        return True if True in parts else (None if None in parts else False)
    if "&&" in condition:
        parts = [_value("if", part, known) for part in condition.split("&&")]
        return False if False in parts else (None if None in parts else True)
    name = condition.strip()
    if name.startswith("!"):
        value = _value("if", name[1:], known)
        return None if value is None else not value
    return {"0": False, "1": True}.get(name, known.get(name))


def main() -> int:
    """Write the two files; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m dcformat.firmware", description=(__doc__ or "").split("\n", maxsplit=1)[0]
    )
    parser.add_argument("-o", "--output", type=Path, default=Path(), metavar="DIR")
    parser.add_argument("--with", dest="on", nargs="+", default=[], choices=features())
    parser.add_argument("--without", dest="off", nargs="+", default=[], choices=features())
    options = parser.parse_args()
    chosen = dict.fromkeys(options.on, True) | dict.fromkeys(options.off, False)
    options.output.mkdir(parents=True, exist_ok=True)
    for name, text in sources(chosen).items():
        with atomic_output(options.output / name) as out:
            out.write(text.encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
