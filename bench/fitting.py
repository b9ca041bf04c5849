"""What searches find on networks with data, next to presets and to others: bytes and accuracy.

Steps are chosen by the outputs on calibration data (training pictures, no labels), accuracy is that
of the test pictures; nothing is retrained. `changed` are test pictures that are answered otherwise
than by the float model, `lost` points of top-1 with the half width of its 95 % interval, from
paired differences. --max-drop is held on the calibration data too, as agreement with the float
model. Bytes are those of the whole .dcf; of "int8 + zstd -19" of its numbers and float biases in
one blob.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from files import numbers_of
from peers import COMPRESSORS
from show import Cell, Table
from weights import ROOT, data_folder

import dcformat
from dcformat.coded import CodedModel, expand_tensor
from dcformat.compress import compress, preset_recipe, uses_of
from dcformat.encode import Settings, encode_model
from dcformat.tools._search import Search
from dcformat.tools._search_goal import Compared, Goal, Judge, State
from dcformat.tools._trials import Trials

sys.path.append(str(ROOT / "tests"))
import evaluation  # type: ignore[import-not-found]  # networks with data, as tests make them

MNIST_CNN, MNIST_MLP = "mnist_cnn_bn_burn", "mnist_mlp_bn_pytorch"
#: Bytes of the float numbers over those of the file.
RATIOS: Mapping[str, tuple[float, ...]] = {
    MNIST_CNN: (8, 12, 16, 24, 32),
    MNIST_MLP: (8, 10, 12, 16),
    "resnet20": (8, 9.5, 12, 16),
    "resnet32": (8, 9.3, 11, 12, 16),
    evaluation.LITE: (8, 12, 16),
}
QUICK = (MNIST_MLP,)
DROP = 0.005
PRESETS: Mapping[str, Mapping[str, Any]] = {
    "int8": {"preset": "int8"},
    "deep": {"preset": "deep"},
    "k-means 16 + Huffman": {"preset": "deep", "bits": 4, "quantizer": "kmeans"},
}


@dataclass(frozen=True)
class Bench:
    """One network on its data, in trials."""

    name: str
    model: dcformat.Model
    trials: Trials  # on the test pictures
    held: Trials  # on the training pictures
    judge: Judge
    state: State

    @property
    def floats(self) -> int:
        return sum(tensor.size * 4 for tensor in self.model.tensors)

    def rows(self) -> Iterator[list[Cell]]:
        yield [self.name, "float", self.floats, 1.0, "", "", 100 * self.judge.before.value]
        for title, settings in PRESETS.items():
            recipe = preset_recipe(**settings)
            coded = compress(self.model, recipe)
            yield self.row(title, len(encode_model(coded, Settings())), coded)
            if title == "int8":
                blob = len(COMPRESSORS["zstd -19"](numbers_of(coded)))
                yield self.row("int8 + zstd -19", blob, coded)
        yield self.found("--max-drop 0.5%", Goal(drop=DROP), self.held)
        for ratio in RATIOS[self.name]:
            goal = Goal(size=int(self.floats / ratio))
            yield self.found(f"--fit 1/{ratio:g}", goal, self.trials)

    def found(self, title: str, goal: Goal, trials: Trials) -> list[Cell]:
        """Return the row of a search; its file is that of the recipe it came to."""
        search = Search(self.model, preset_recipe(), Settings(), goal, trials, "", lambda *_: None)
        found = search.run(self.state)
        coded = compress(self.model, found.recipe, grams=found.grams)
        return self.row(title, found.measured.size, coded)

    def row(self, title: str, size: int, coded: CodedModel) -> list[Cell]:
        changed = {t.name: expand_tensor(t) for t in coded.tensors if not t.exact}
        return self.line(title, size, self.judge.compare(changed))

    def line(self, title: str, size: int, compared: Compared) -> list[Cell]:
        low, high = compared.interval or (0.0, 0.0)
        lost, half = 100 * compared.loss, 50 * (high - low)
        shown = f"{lost:+.2f} +-{half:.2f}"
        return ["", title, size, self.floats / size, compared.after.changed, shown,
                100 * compared.after.value]  # fmt: skip


def bench(name: str, data: Path, folder: Path, stack: ExitStack) -> Bench:
    if name == evaluation.LITE:
        make = evaluation.lite_task
    else:
        make = evaluation.mnist_task if name.startswith("mnist") else evaluation.cifar_task
    task = make(data, folder, name)
    model = dcformat.read(task.model)
    weights = [n for n, use in uses_of(model).items() if use.role == "weight"]
    trials = stack.enter_context(Trials(task.model, weights, task.calib, task.test))
    held = stack.enter_context(Trials(task.model, weights, task.calib))
    return Bench(name, model, trials, held, Judge(trials), State(None, ""))


def tables(quick: bool) -> list[Table]:
    data = data_folder()
    if data is None:
        return [Table("fitting", "no folder of real models: set DCFORMAT_DATA", [], [])]
    rows: list[list[Cell]] = []
    here = [name for name in RATIOS if name != evaluation.LITE or find_spec("ai_edge_litert")]
    for name in QUICK if quick else here:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            rows += bench(name, data, folder, stack).rows()
    columns = ["network", "how", "bytes", "ratio", "changed", "lost", "top-1"]
    return [Table("bytes and accuracy", (__doc__ or "").split("\n\n", 1)[1], columns, rows, 2)]
