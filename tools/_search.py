"""The search for a size or a bound: sensitivities measured, steps tried, the real file weighed.

Sisters: dcformat/compress/allocate.py (which steps), tools/_trials.py (what they do to the outputs)

Every size is that of the file as it would be written. What is slow, the sensitivity of each layer,
can be kept in a file and is not measured twice.
"""

from __future__ import annotations

import glob
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from dcformat.coded import CodedModel, expand_tensor
from dcformat.compress import Gram, Recipe, Rule, compress, uses_of
from dcformat.compress.allocate import (
    LEANS,
    Part,
    Shape,
    coarsest_that_holds,
    finest_that_fits,
    shape_of,
)
from dcformat.compress.feedback import round_to_grid
from dcformat.compress.names import use_of
from dcformat.compress.prune import prune
from dcformat.compress.reals import reals_of
from dcformat.compress.roles import decide
from dcformat.converters.c_facts import firmware_file
from dcformat.encode import Settings, encode_model
from dcformat.errors import ConvertError
from dcformat.ids import Meta
from dcformat.model import Model, Tensor
from dcformat.prints import content_id
from dcformat.scaled import with_scales
from dcformat.tools._search_goal import Goal, Judge, Measured, State, draft_of
from dcformat.tools._search_plot import AROUND, PARTS, RATIOS, Curves, Point
from dcformat.tools._terminal import Tick, human_size
from dcformat.tools._trials import Trials

Array = npt.NDArray[Any]

#: Samples on which a layer's sensitivity is measured, at these parts of its spread.
SAMPLES = 256
PROBES = (0.5, 1.0)
#: A file this much below the size that was asked for is near enough.
SLACK = 0.004
#: Without a size the leans are compared at this share of the tensors' bytes.
TYPICAL = 1 / 9
_HALVINGS = 8
_ATTEMPTS = 4


@dataclass(frozen=True, eq=False)
class Found:
    """What the search found: a recipe, what it needs to be followed, and what was measured."""

    recipe: Recipe
    grams: Mapping[str, Gram]
    measured: Measured
    curves: Curves | None = None


@dataclass
class Search:
    """One search; `recipe` says which weights may change, `settings` how the file is written."""

    model: Model
    recipe: Recipe
    settings: Settings
    goal: Goal
    trials: Trials
    calibration: str
    tick: Tick
    draws: bool = False
    judge: Judge = field(init=False)
    grams: dict[str, Gram] = field(default_factory=dict)
    sought: list[Part] = field(default_factory=list)
    tried: int = 0
    last: tuple[Recipe, int, CodedModel] | None = None  # which is asked for again, others are not

    def __post_init__(self) -> None:
        self.judge = Judge(self.trials)

    def run(self, state: State) -> Found:
        """Raises ConvertError where nothing fits, with what stands in the way."""
        self.sought = self.parts(state)
        if not self.sought:
            raise ConvertError("has no weight that may change: there is nothing to choose")
        shapes, reserve = [shape_of(self.sought, lean) for lean in LEANS], 0
        for _ in range(_ATTEMPTS):
            shape, coarseness = self.choose(shapes, reserve)
            found = self.finish(shape.steps(coarseness))
            over = found.measured.size - (self.goal.size or found.measured.size)
            if over <= 0:
                curves = self.curves(shape, coarseness, state) if self.draws else None
                self.tick("", 1, 1)
                return replace(found, curves=curves)
            shapes, reserve = [shape], reserve + over  # what was measured took more than drafted
        raise ConvertError(f"nothing fits {human_size(self.goal.size or 0)} to the byte")

    def finish(self, steps: Mapping[str, float]) -> Found:
        """Measure what `steps` make, and weigh the file with that in it."""
        coded = self.weigh(steps)[1]
        measured = self.measure(steps, coded)
        said, of = measured.as_json(), content_id(coded.tensors).hex()
        recipe = replace(self.recipe_of(steps), evidence=said, evidence_of=of)
        return Found(recipe, self.grams, replace(measured, size=self.bytes_of(coded, said)))

    def parts(self, state: State) -> list[Part]:
        """Return the weights that may change, with their sensitivities."""
        found = []
        tensors = self.candidates()
        for done, tensor in enumerate(tensors):
            self.tick(f"sensitivity of {tensor.name}", done, len(tensors))
            found.append(self.part(tensor, state))
        return found

    def part(self, tensor: Tensor, state: State) -> Part:
        weights = reals_of(tensor.data, tensor.dtype)
        gram = self.trials.gram(tensor.name)
        if gram is not None:
            self.grams[tensor.name] = gram
        noise = state.of(tensor.name, lambda: self.sensitivity(tensor, gram))
        spread, largest = float(weights.std()), float(np.abs(weights).max())
        return Part(tensor.name, tensor.size, spread, largest, noise)

    def curves(self, shape: Shape, coarseness: float, state: State) -> Curves:
        """Measure around what was found, and what pruning does to each layer."""
        layers: dict[str, tuple[float, ...]] = {}
        pruned: dict[str, tuple[float, ...]] = {}
        for tensor in self.candidates():
            self.tick(f"curve of {tensor.name}", len(layers), len(self.sought))
            layers[tensor.name] = tuple(self.noises(tensor, PARTS, self.grams.get(tensor.name)))
            pruned[tensor.name] = state.curve_of(tensor.name, RATIOS, partial(self.bears, tensor))
        front = [self.point(shape.steps(coarseness * times)) for times in AROUND]
        return Curves(PARTS, layers, tuple(front), RATIOS, pruned)

    def bears(self, tensor: Tensor, ratio: float) -> float:
        """Return the outputs' noise once this share of a tensor is zero, the smallest first."""
        kept = prune(reals_of(tensor.data, tensor.dtype), ratio).astype(tensor.data.dtype)
        return min(self.judge.diverge({tensor.name: kept}, SAMPLES).noise, 1e12)

    def point(self, steps: Mapping[str, float]) -> Point:
        size, coded = self.weigh(steps)
        found = self.judge.diverge(self.changed(coded))
        return Point(size, found.noise, found.changed)

    def candidates(self) -> list[Tensor]:
        """Return weights that the recipe leaves open and the trials can vary."""
        uses, found = uses_of(self.model), []
        for tensor in self.model.tensors:
            settings = self.recipe.settings_for(tensor.name)
            decision = decide(tensor, use_of(tensor, settings, uses), settings)
            if decision.method != "exact" and tensor.name not in self.trials.fixed:
                found.append(tensor)
        return found

    def sensitivity(self, tensor: Tensor, gram: Gram | None) -> float:
        """Return the outputs' noise by a step of 1: the mean of what some steps make of it."""
        spread = float(reals_of(tensor.data, tensor.dtype).std()) or 1.0
        found = self.noises(tensor, PROBES, gram)
        return float(np.mean([n / (p * spread) ** 2 for n, p in zip(found, PROBES, strict=True)]))

    def noises(self, tensor: Tensor, parts: Sequence[float], gram: Gram | None) -> list[float]:
        """Return the outputs' noise at steps that are these parts of the tensor's spread."""
        weights = reals_of(tensor.data, tensor.dtype)
        found = []
        for part in parts:
            step = part * (float(weights.std()) or 1.0)
            changed = (round_to_grid(weights, step, gram) * step).astype(tensor.data.dtype)
            found.append(min(self.judge.diverge({tensor.name: changed}, SAMPLES).noise, 1e12))
        return found

    def choose(self, shapes: Sequence[Shape], reserve: int) -> tuple[Shape, float]:
        """Return the shape with the least noise at one size, and how coarse it is in the end."""
        whole = sum(t.size * 4 for t in self.model.tensors)
        budget = round(whole * TYPICAL) if self.goal.size is None else self.goal.size - reserve
        fits = [(shape, self.fit(shape, budget)) for shape in shapes]
        there = [(shape, m) for shape, m in fits if m is not None]
        if not there and self.goal.size is not None:
            raise ConvertError(self.too_large(shapes[0]))
        if not there:
            there = [(shapes[0], shapes[0].high)]
        best = min(there, key=lambda pair: self.noise(pair[0].steps(pair[1])))
        if not self.goal.bounded:
            return best
        return best[0], self.hold(*best)

    def fit(self, shape: Shape, budget: int) -> float | None:
        return finest_that_fits(shape, lambda m: self.weigh(shape.steps(m))[0], budget, SLACK)

    def hold(self, shape: Shape, fitting: float) -> float:
        """Return how coarse `shape` may be. Raises ConvertError if that does not fit."""
        if not self.holds(shape, shape.low):
            raise ConvertError(f"{self.goal.bound} cannot be held: {self.shortfall(shape)}")
        high = max(shape.low, fitting)
        while high < shape.high and self.holds(shape, high):
            high = min(high * 2, shape.high)
        found = coarsest_that_holds(shape.low, high, lambda m: self.holds(shape, m), _HALVINGS)
        size = self.weigh(shape.steps(found))[0]
        if self.goal.size is not None and size > self.goal.size:
            over = f"{self.goal.bound} takes {human_size(size)}, {human_size(self.goal.size)} asked"
            raise ConvertError(f"nothing fits: {over}{self.largest(shape.steps(found))}")
        return found

    def holds(self, shape: Shape, coarseness: float) -> bool:
        changed = self.changed(self.weigh(shape.steps(coarseness))[1])
        return self.goal.holds(self.judge, changed)

    def shortfall(self, shape: Shape) -> str:
        changed = self.changed(self.weigh(shape.steps(shape.low))[1])
        return f"with the finest steps of 8 bits {self.goal.miss(self.judge, changed)}"

    def noise(self, steps: Mapping[str, float]) -> float:
        return self.judge.diverge(self.changed(self.weigh(steps)[1])).noise

    def weigh(self, steps: Mapping[str, float]) -> tuple[int, CodedModel]:
        """Return the size of the file, and what would be in it."""
        recipe = self.recipe_of(steps)
        if self.last is None or self.last[0] != recipe:
            self.tried += 1
            self.tick(f"trying: {self.tried}", 0, 0)
            coded = compress(self.model, recipe, jobs=self.settings.jobs, grams=self.grams)
            coded = with_scales(coded, self.model.scales)
            draft = draft_of(self.sought, self.goal.metric, self.trials.samples)
            self.last = recipe, self.bytes_of(coded, draft.as_json()), coded
        return self.last[1:]

    def bytes_of(self, coded: CodedModel, evidence: str) -> int:
        if self.goal.purpose == "c":
            return len(firmware_file(coded, self.settings))
        return len(encode_model(with_evidence(coded, evidence), self.settings))

    def recipe_of(self, steps: Mapping[str, float]) -> Recipe:
        """Return the recipe that takes these steps, and leaves everything else exact."""
        rules = []
        for name, step in steps.items():
            fed = {"feedback": True} if name in self.grams else {}
            settings = {"method": "grid", "step": float(f"{step:.5g}"), **fed}
            rules.append(Rule(glob.escape(name), settings))
        target = self.recipe.target
        return Recipe(
            preset="int8",
            method="exact",
            target=target,
            shrink=self.recipe.shrink,
            calibration=self.calibration if self.grams else "",
            rules=tuple(rules),
        )

    def changed(self, coded: CodedModel) -> dict[str, Array]:
        """Return the numbers of the tensors that are not exact."""
        return {t.name: expand_tensor(t) for t in coded.tensors if not t.exact}

    def too_large(self, shape: Shape) -> str:
        steps = shape.steps(shape.high)
        size, asked = self.weigh(steps)[0], self.goal.size or 0
        over = f"{human_size(asked)} asked, {human_size(size)} with no weight but zero"
        return f"nothing fits: {over}, {size - asked:,} B too many{self.largest(steps)}"

    def largest(self, steps: Mapping[str, float]) -> str:
        """Say which tensors stand in the way: the largest of those that stay exact."""
        exact = [t for t in self.weigh(steps)[1].tensors if t.exact]
        rows = sorted(exact, key=lambda t: -t.size)[:3]
        return "; the largest that stay exact: " + ", ".join(t.name for t in rows) if rows else ""

    def measure(self, steps: Mapping[str, float], coded: CodedModel) -> Measured:
        changed = self.changed(coded)
        divergence, compared = self.judge.diverge(changed), self.judge.compare(changed)
        layers = {part.name: part.noise / part.elements for part in self.sought}
        synthetic, metric = self.trials.synthetic, self.goal.metric
        return Measured(0, divergence, compared, layers, synthetic, metric)


def with_evidence(coded: CodedModel, evidence: str) -> CodedModel:
    """Return `coded` with what was measured of it in its metadata."""
    return replace(coded, metadata={**coded.metadata, Meta.EVIDENCE: evidence.encode()})
