"""Bytes at equal decisions: our searches for a size next to what NNCodec was measured to need.

NNCodec 2.1.3 at its own settings (trellis quantization, one quantization parameter for all
weights), whole files; `changed` are those of 761 test pictures of CIFAR-10 that are answered
otherwise than by the float model. Ours is the .dcf for target smallest, graph and all, that --fit
finds for 0.95 of those bytes, with training pictures to calibrate on.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

from fitting import Bench, bench
from show import Cell, Table
from weights import data_folder

from dcformat.coded import expand_tensor
from dcformat.compress import compress, preset_recipe
from dcformat.encode import Settings
from dcformat.tools._search import Search
from dcformat.tools._search_goal import Goal

SHARE = 0.95
#: Bytes of NNCodec's files and pictures changed, measured once: the whole of it takes PyTorch.
NNCODEC: Mapping[str, tuple[tuple[int, int], ...]] = {
    "resnet20": ((128_909, 14), (111_892, 22), (100_151, 39)),
    "resnet32": ((220_714, 17), (200_166, 16), (171_475, 27), (151_450, 37)),
}


def _row(one: Bench, size: int, changed: int) -> list[Cell]:
    goal = Goal(size=int(SHARE * size))
    settings = Settings("smallest")
    search = Search(one.model, preset_recipe(), settings, goal, one.trials, "", lambda *_: None)
    found = search.run(one.state)
    coded = compress(one.model, found.recipe, grams=found.grams)
    numbers = {t.name: expand_tensor(t) for t in coded.tensors if not t.exact}
    ours = one.judge.compare(numbers).after
    said = "pass" if ours.changed <= changed else "MISS"
    return [one.name, size, changed, found.measured.size, ours.changed, 100 * ours.value, said]


def _rows(name: str, data: Path) -> Iterator[list[Cell]]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        one = bench(name, data, folder, stack)
        for size, changed in NNCODEC[name]:
            yield _row(one, size, changed)


def tables(quick: bool) -> list[Table]:
    """Search for each size, minutes for a network; nothing if quick."""
    data = data_folder()
    if data is None or quick:
        return []
    rows = [row for name in NNCODEC for row in _rows(name, data)]
    columns = ["network", "NNCodec", "changed", "ours", "changed", "top-1", "at 0.95 of the bytes"]
    return [Table("bytes at equal decisions", (__doc__ or "").split("\n\n", 1)[1], columns, rows)]
