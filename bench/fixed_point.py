"""Whole networks in fixed point: right answers, and pictures that are seen otherwise than before.

Weights, biases and what goes from layer to layer have the bits that are said; the last layer gives
its sums. "dynamic" has a fraction length for each of them, without overflow on the calibration
data; "refined" also longer ones where that brings the outputs nearer to the float model's, and
weights rounded with error feedback, as dcconvert --fixed-point does it; "static" one for all, the
best one. Calibrated on training pictures, counted on test pictures.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from show import Cell, Table
from weights import ROOT, data_folder

sys.path.insert(0, str(ROOT / "tests"))

from evaluation import (  # type: ignore[import-not-found]
    MNIST,
    RESNETS,
    Task,
    cifar_task,
    mnist_task,
)

from dcformat.tools._fixed_point import Choice, Search, met_by
from dcformat.tools._search_goal import FixedGoal

Way = Callable[[Search], Choice]
WAYS: dict[str, Way] = {
    "static": lambda search: search.static(search.start()),
    "dynamic": lambda search: search.start(),
    "refined": lambda search: search.found(),
}
#: Bits and ways that are shown.
SHOWN = ((16, ("dynamic",)), (8, tuple(WAYS)), (6, tuple(WAYS)))
_COLUMNS = ("network", "bits", "way", "right", "of", "right %", "float %", "points", "changed")


def tables(quick: bool) -> list[Table]:
    """Return the table; quickly of the two small networks alone."""
    data = data_folder()
    if data is None:
        raise SystemExit("bench/fixed_point.py needs the folder of real models: DCFORMAT_DATA")
    networks = [*MNIST] if quick else [*MNIST, *RESNETS]
    with tempfile.TemporaryDirectory() as folder:
        rows = [row for name in networks for row in _rows(name, data, Path(folder))]
    return [Table("Fixed point", __doc__.split("\n\n")[1], _COLUMNS, rows, digits=2)]


def _rows(name: str, data: Path, folder: Path) -> Iterator[list[Cell]]:
    make = cifar_task if name in RESNETS else mnist_task
    task: Task = make(data, folder, name)
    grams = met_by(task.model, task.calib)
    for bits, ways in SHOWN:
        for way in ways:
            goal = FixedGoal(bits, refine=way == "refined")
            with Search(task.model, task.calib, task.test, goal, grams=grams) as search:
                before = search.trials.evaluate({}).value
                found = search.trials.evaluate(search.changed(WAYS[way](search)))
            right = [100 * value for value in (found.value, before)]
            yield [name, bits, way, round(found.value * found.samples), found.samples,
                   *right, right[0] - right[1], found.changed]  # fmt: skip


if __name__ == "__main__":
    from show import text_of

    print("\n\n".join(text_of(table) for table in tables("--quick" in sys.argv)))
