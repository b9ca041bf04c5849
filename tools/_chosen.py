"""How a model's numbers come to be chosen: by a recipe, or by a search for one.

Sisters: tools/_convert.py, tools/_search.py (the search), dcformat/compress (what a recipe does)
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from dcformat.coded import CodedModel
from dcformat.compress import Gram, Recipe, calibrated, compress, prepared, recipe_toml, uses_of
from dcformat.encode import Settings
from dcformat.errors import ConvertError
from dcformat.files import atomic_output, scratch_folder
from dcformat.formats import writer_for
from dcformat.ids import GraphFormat
from dcformat.model import Model
from dcformat.prints import content_id
from dcformat.scaled import with_scales
from dcformat.tools._search import Search, with_evidence
from dcformat.tools._search_goal import FixedGoal, Goal, Measured, State
from dcformat.tools._search_plot import Curves, draw, need_plotting
from dcformat.tools._terminal import Tick
from dcformat.tools._trials import Trials

SYNTHETIC = "synthetic"
_NAMES = {GraphFormat.ONNX: "ONNX", GraphFormat.TFLITE: "TFLite"}


@dataclass(frozen=True)
class Data:
    """Files that the command line names, for choosing numbers and for judging them."""

    calib: Path | None = None
    evaluation: Path | None = None
    state: Path | None = None
    save_recipe: Path | None = None
    plot: Path | None = None


@dataclass(frozen=True, eq=False)
class Chosen:
    """A model with its numbers chosen, the recipe that does it, and what a search measured."""

    coded: CodedModel
    recipe: Recipe
    measured: Measured | None = None
    curves: Curves | None = None


@dataclass(frozen=True)
class Choice:
    """What is to be chosen: `source` is the file that `model` was read from."""

    source: Path
    model: Model
    recipe: Recipe
    settings: Settings
    data: Data = field(default_factory=Data)
    goal: Goal | None = None
    fixed: FixedGoal | None = None

    def make(self, tick: Tick) -> Chosen:
        """Raises ConvertError where the goal cannot be met, or the data do not serve."""
        if self.goal is not None:
            return self._search(self.goal, tick)
        if self.fixed is not None:
            return self._fixed_point(self.fixed, tick)
        recipe = self._dated(self.recipe)
        coded = self._follow(recipe, self._grams(recipe, tick), tick)
        return Chosen(_with_its_evidence(coded, recipe), recipe)

    def _search(self, goal: Goal, tick: Tick) -> Chosen:
        _check_searched(self.recipe)
        if self.data.plot is not None:
            need_plotting()
        tick("running the model on the data", 0, 0)
        with self._trials(goal.metric) as trials:
            calibration = self._calibration()
            key = f"{self.model.source.sha256.hex()}:{calibration}"
            state = State(self.data.state, key)
            draws = self.data.plot is not None
            given = self.model, self.recipe, self.settings, goal, trials, calibration, tick
            found = Search(*given, draws=draws).run(state)
        if self.data.plot is not None and found.curves is not None:
            draw(found.curves, self.data.plot)
        coded = self._follow(found.recipe, found.grams, tick)
        self._save(found.recipe)
        chosen = _with_its_evidence(coded, found.recipe)
        return Chosen(chosen, found.recipe, found.measured, found.curves)

    def _fixed_point(self, goal: FixedGoal, tick: Tick) -> Chosen:
        from dcformat.tools import _fixed_point  # noqa: PLC0415 - it imports onnx

        goal.check(self.recipe)
        with scratch_folder() as folder:
            plain = self._file(replace(self.recipe, equalize=False), folder / "plain.onnx")
            draft = self._dated(_fixed_point.draft(plain, self.recipe, goal))
            grams = self._grams(draft, tick)
            tick("running the model on the data", 0, 0)
            path, data = self._file(draft, folder / "equal.onnx"), self.data
            given = path, data.calib, data.evaluation, goal, draft, grams, tick
            with _fixed_point.Search(*given) as search:
                choice = search.found()
                recipe, measured = search.recipe_of(choice), search.measured(choice)
        coded = self._follow(recipe, grams, tick)
        said, of = measured.as_json(), content_id(coded.tensors).hex()
        self._save(recipe := replace(recipe, evidence=said, evidence_of=of))
        return Chosen(_with_its_evidence(coded, recipe), recipe, measured)

    def _file(self, recipe: Recipe, made: Path) -> Path:
        """Return an ONNX file of the model as `recipe` prepares it; `made` if it is a new one."""
        if not recipe.equalize and self.source.suffix == ".onnx":
            return self.source
        self._check_graph(GraphFormat.ONNX)
        writer_for(made).write(prepared(self.model, recipe), made)
        return made

    def _follow(self, recipe: Recipe, grams: Mapping[str, Gram], tick: Tick) -> CodedModel:
        jobs = self.settings.jobs
        coded = compress(self.model, recipe, progress=tick, jobs=jobs, grams=grams)
        return with_scales(coded, self.model.scales)

    def _dated(self, recipe: Recipe) -> Recipe:
        """Return `recipe` with the digest of the calibration data, where it needs such."""
        if recipe.calibration or not calibrated(self.model, recipe):
            return recipe
        return replace(recipe, calibration=self._calibration())

    def _grams(self, recipe: Recipe, tick: Tick) -> dict[str, Gram]:
        """Return what the recipe needs to round with feedback or to correct biases."""
        names = calibrated(self.model, recipe)
        if not names:
            return {}
        self._check_calibration(recipe)
        tick("running the model on the calibration data", 0, 0)
        with self._trials("top1", recipe) as trials:
            found = {name: trials.gram(name) for name in names}
        return {name: gram for name, gram in found.items() if gram is not None}

    def _check_calibration(self, recipe: Recipe) -> None:
        wanted = recipe.calibration
        if wanted == self._calibration():
            return
        if wanted == SYNTHETIC:
            problem = "was made without calibration data: leave --calib out"
        elif self.data.calib is None:
            problem = "rounds with calibration data: give --calib"
        else:
            problem = "was made with other calibration data (SHA-256 differs)"
        raise ConvertError(problem, place=self.recipe.origin or "recipe")

    def _trials(self, metric: str, recipe: Recipe | None = None) -> Trials:
        """Return trials of the model, as `recipe` prepares it."""
        self._check_graph(GraphFormat.ONNX, GraphFormat.TFLITE)
        weights = [n for n, use in uses_of(self.model).items() if use.role == "weight"]
        plain = self.source.suffix in (".onnx", ".tflite")
        model: Path | Model = self.source if plain else self.model
        if recipe is not None and recipe.equalize:
            model = prepared(self.model, recipe)
        return Trials(model, weights, self.data.calib, self.data.evaluation, metric)

    def _check_graph(self, *formats: GraphFormat) -> None:
        graph = self.model.graph
        if graph is None or graph.format not in formats:
            names = " or ".join(_NAMES[one] for one in formats)
            problem = f"has no {names} graph to run, which calibration and searches need"
            raise ConvertError(problem, place=str(self.source))

    def _calibration(self) -> str:
        if self.data.calib is None:
            return SYNTHETIC
        digest = hashlib.sha256()
        with self.data.calib.open("rb") as stream:
            while piece := stream.read(1 << 20):
                digest.update(piece)
        return digest.hexdigest()

    def _save(self, recipe: Recipe) -> None:
        if self.data.save_recipe is not None:
            with atomic_output(self.data.save_recipe) as stream:
                stream.write(recipe_toml(recipe).encode())


def _check_searched(recipe: Recipe) -> None:
    """Raise ConvertError where a recipe states what a search would leave out."""
    for key in ("equalize", "bias_correction"):
        if getattr(recipe, key):
            problem = f"states {key}, which goes with --fixed-point, but with no other search"
            raise ConvertError(problem, place=recipe.origin or "recipe")


def _with_its_evidence(coded: CodedModel, recipe: Recipe) -> CodedModel:
    """Return `coded` with the recipe's evidence, if that is of these very numbers."""
    if not recipe.evidence or content_id(coded.tensors).hex() != recipe.evidence_of:
        return coded
    return with_evidence(coded, recipe.evidence)
