"""What dcconvert says the decoder takes in flash: `python bench/decoder_sizes.py [--write]`.

For every combination of rooms and features that a model may need, the decoder in one file is
compiled with -Os and linked with nothing but libgcc and the functions that open a model, check it
and decode tensors piece by piece. With --write the result replaces converters/decoder_sizes.json,
which is installed with the package; without, it is printed. `soft_float` is what multiplying,
adding and converting floats takes of libgcc, `structures` the size of the decoder's structures.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import tempfile
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

from firmware_build import FLAGS, TARGETS, MissingToolError, Target

from dcformat import firmware
from dcformat.converters.c_cost import ENTRIES, FOLDER, VARIED, key_of

MACHINES = {"Cortex-M0+": "M0+", "Cortex-M4": "M4"}
STRUCTURES = ("dcf_model", "dcf_tensor", "dcf_cursor")
FLOATS = """\
float use(float a, float b, int c);
float use(float a, float b, int c) { return a * b + (float)c; }
"""


def call(*command: str | Path) -> str:
    """Run a program and return what it printed."""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True)
    return done.stdout


def linked(target: Target, texts: dict[str, str], entries: tuple[str, ...], folder: Path) -> int:
    """Return the bytes of flash of some sources and of what they take from libgcc."""
    for name, text in texts.items():
        (folder / name).write_text(text)
    elf = folder / "program.elf"
    roots = [f"-Wl,-u,{entry}" for entry in entries]
    sources = [folder / name for name in texts if name.endswith(".c")]
    call(
        target.tool("gcc"), *target.flags, *FLAGS, "-Os", "-nostdlib", "-Wl,--gc-sections",
        f"-Wl,-e,{entries[0]}", *roots, f"-I{folder}", *sources, "-lgcc", "-o", elf,
    )  # fmt: skip
    listing = call(target.tool("size"), "-A", elf)
    return sum(int(n) for n in re.findall(r"^\.(?:text|rodata)\S*\s+(\d+)", listing, re.MULTILINE))


def combinations() -> Iterator[dict[str, bool]]:
    """Yield every choice of the features that are varied."""
    for choice in product((False, True), repeat=len(VARIED)):
        chosen = dict(zip(VARIED, choice, strict=True))
        if chosen["PACKED"] or chosen["HUFFMAN"]:
            yield chosen


def decoder_size(target: Target, chosen: dict[str, bool], folder: Path) -> int:
    """Return what the decoder with these features takes."""
    return linked(target, firmware.sources({**chosen, "NAMES": False}), ENTRIES, folder)


def structures(target: Target, folder: Path) -> int:
    """Return the bytes of the three structures together."""
    arrays = "\n".join(f"char array_{name}[sizeof({name})];" for name in STRUCTURES)
    (folder / "sizes.c").write_text(f'#include "dcf.h"\n{arrays}\n')
    made = folder / "sizes.o"
    call(target.tool("gcc"), *target.flags, f"-I{folder}", "-c", folder / "sizes.c", "-o", made)
    lines = call(target.tool("nm"), "-S", made).splitlines()
    return sum(int(line.split()[1], 16) for line in lines if " array_" in line)


def measured(folder: Path) -> dict[str, Any]:
    """Return all that converters/decoder_sizes.json holds."""
    machines = {}
    for name, short in MACHINES.items():
        target = TARGETS[short]
        sizes = {key_of(one): decoder_size(target, one, folder) for one in combinations()}
        machines[name] = {
            "soft_float": linked(target, {"floats.c": FLOATS}, ("use",), folder),
            "structures": structures(target, folder),
            "flash": sizes,
        }
    return {"compiler": version(), "machines": machines}


def version() -> str:
    """Return which compiler measures."""
    return call(TARGETS["M4"].tool("gcc"), "--version").splitlines()[0]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", action="store_true", help="replace what is installed")
    wishes = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as folder:
            text = json.dumps(measured(Path(folder)), indent=1, sort_keys=True) + "\n"
    except MissingToolError as missing:
        raise SystemExit(f"not measured: {missing}") from None
    if wishes.write:
        (FOLDER / "decoder_sizes.json").write_text(text)
    else:
        print(text, end="")


if __name__ == "__main__":
    main()
