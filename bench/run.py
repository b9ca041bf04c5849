"""What dcformat is worth, next to others: `python bench/run.py [SECTION ...] [MODEL.onnx ...]`.

sizes     the same integers by us and by others; targets
quantizers  the default quantizer next to exact k-means, at equal error
fitting   what searches for a size or a bound find, bytes and accuracy
files     whole .dcf files of real models; of the given MODEL.onnx
fixed     networks in fixed point: right answers by bits (ten minutes)
encoding  speed of writing
decoding  speed of reading
peers     sizes and speeds next to the coders of others, which it installs, and bytes at equal
          decisions (ten minutes; --quick installs nothing)
context   the smallest files next to others (NNCodec where it is installed), and their speed
starting  start-up of the commands
memory    memory of converting a large model

Without a section all of them, or, with models, only `files`. Sizes are the same on every
machine; of speeds and memory only ratios say something about another one. Real models are found
in the folder that DCFORMAT_DATA names, brotli in the extra `bench`; `peers` installs into that of
DCFORMAT_PEERS, or ~/.cache/dcformat-peers.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import against
import context
import decoding
import encoding
import equal
import files
import fitting
import fixed_point
import memory
import quantizers
import sizes
import starting
from show import Table, json_of, text_of


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="*", metavar="SECTION or MODEL.onnx")
    parser.add_argument("--quick", action="store_true", help="a small part, in a minute")
    parser.add_argument("--json", action="store_true", help="for programs")
    wishes = parser.parse_args()
    models = [Path(word) for word in wishes.what if word.endswith(".onnx")]
    sections: dict[str, Callable[[bool], list[Table]]] = {
        "sizes": sizes.tables,
        "quantizers": quantizers.tables,
        "fitting": fitting.tables,
        "files": lambda quick: files.tables(models, quick),
        "fixed": fixed_point.tables,
        "encoding": encoding.tables,
        "decoding": decoding.tables,
        "peers": lambda quick: [*against.tables(quick), *equal.tables(quick)],
        "context": context.tables,
        "starting": starting.tables,
        "memory": memory.tables,
    }
    chosen = [word for word in wishes.what if not word.endswith(".onnx")]
    if unknown := set(chosen) - set(sections):
        parser.error(f"neither a section nor a .onnx: {', '.join(sorted(unknown))}")
    chosen = chosen or (["files"] if models else list(sections))
    measured = []
    for section in chosen:
        found = sections[section](wishes.quick)
        measured += found
        if not wishes.json:
            print("\n\n".join(text_of(table) for table in found), end="\n\n", flush=True)
    if wishes.json:
        print(json_of(measured))


if __name__ == "__main__":
    main()
