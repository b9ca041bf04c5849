"""Fixed point for a whole network: fraction lengths of weights, biases, inputs and outputs.

Sister files: dcformat/compress/fixed_point.py (the numbers), converters/onnx_fixed.py (the layers),
tools/_trials.py (what a choice does to the outputs), tools/_chosen.py (which makes files of it).

Each place gets the longest fraction length at which nothing overflows on the calibration data.
Then layer by layer longer ones are tried, which clip the largest numbers and round the others
finer, and what leaves the outputs nearest to the float model's is kept. With what meets
each weight (`grams`) weights are rounded with error feedback.
"""

from __future__ import annotations

import glob
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dcformat.compress import Gram, Recipe, Rule
from dcformat.compress.bias import corrected_bias
from dcformat.compress.fixed import MOST
from dcformat.compress.fixed_point import fixed_tensor, longest_fraction, storable
from dcformat.compress.quantized import Quantized
from dcformat.compress.reals import F64, as_type
from dcformat.compress.recipe import MAX_RULES
from dcformat.converters.onnx_fixed import FixedLayer, Graph, Knobs, graph_of, trial_model
from dcformat.errors import ConvertError
from dcformat.ids import DType, Rounding
from dcformat.model import LayerFormat

from ._search_goal import FixedGoal, Judge, Measured
from ._terminal import Tick
from ._trials import Divergence, Trials

REFINED_ON = 256  #: samples
NEAR = 1e-6  #: noise of outputs at which nothing is refined
ADDS_UP = 1.5  #: noise of all sources over the sum of each, up to which they are taken for apart
SUMS = 32  #: bits of a sum, which the last layers give as it is
Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Choice:
    """Fraction lengths of places, by value, and of weights and biases, by name."""

    bits: int
    places: Mapping[str, int]
    weights: Mapping[str, int]
    biases: Mapping[str, int]

    def others(self, kind: str, key: str, more: Sequence[int], least: Choice) -> list[Choice]:
        """Return choices with so much `more` fraction for one of the "places" or "weights".

        None is shorter than that of `least`, or longer than a file can hold.
        """
        table, low = getattr(self, kind), getattr(least, kind)[key]
        found = [{**table, key: table[key] + one} for one in more]
        found = [one for one in found if low <= one[key] <= MOST]
        if kind == "places":
            return [replace(self, places=one) for one in found]
        return [replace(self, weights=one) for one in found]

    def formats(self, graph: Graph) -> tuple[LayerFormat, ...]:
        """Return the layers' formats, as a file has them."""
        return tuple(self._format(layer) for layer in graph.layers)

    def _format(self, layer: FixedLayer) -> LayerFormat:
        sums = self.places[layer.source] + self.weights[layer.weight]
        bits, fraction = self.bits, storable(sums)
        bias = min(self.biases[layer.bias], fraction) if layer.bias else fraction
        return LayerFormat(
            layer.name,
            layer.weight,
            layer.bias or None,
            self.places[layer.source],
            bits,
            self.weights[layer.weight],
            bits,
            bias,
            bits if layer.bias else 0,
            fraction if layer.last else self.places[layer.output],
            SUMS if layer.last else bits,
            Rounding.HALF_EVEN,
        )


@dataclass(frozen=True, eq=False)
class FixedPoint:
    """A network in fixed point: formats of its layers, and integers of weights and biases.

    `recipe` makes the same of the model, with `grams`.
    """

    graph: Graph
    layers: tuple[LayerFormat, ...]
    tensors: Mapping[str, Quantized]
    recipe: Recipe
    grams: Mapping[str, Gram] = field(default_factory=dict)

    @property
    def numbers(self) -> dict[str, npt.NDArray[Any]]:
        """Return the integers by tensor."""
        return {name: np.asarray(found.symbols) for name, found in self.tensors.items()}


@dataclass
class Search:
    """A model and its data, in trials of fraction lengths. Raises ConvertError.

    `base` is the recipe that goes before, `grams` what meets weights that are rounded with
    feedback or whose biases are corrected.
    """

    model: Path
    calib: Path | None
    evaluation: Path | None
    goal: FixedGoal
    base: Recipe = field(default_factory=Recipe)
    grams: Mapping[str, Gram] = field(default_factory=dict)
    tick: Tick = lambda what, done, total: None

    def __post_init__(self) -> None:
        self.graph, self.bits = graph_of(self.model), self.goal.bits
        made, self._knobs = trial_model(self.graph)
        turned = [n for knobs in self._knobs.values() for n in knobs.still()]
        names = [*self.graph.weights, *turned]
        data = self.calib, self.evaluation, self.goal.metric
        self.trials = Trials(made, names, *data, batch=64)
        self._rounded: dict[tuple[str, int], Quantized] = {}

    def __enter__(self) -> Search:
        return self

    def __exit__(self, *_: object) -> None:
        self.trials.close()

    def found(self) -> Choice:
        """Return what the goal asks for."""
        return self.refined(self.start()) if self.goal.refine else self.start()

    def start(self) -> Choice:
        """Return the longest fraction lengths without overflow."""
        measured = self.trials.ranges(list(self.graph.places.values()))
        places = {
            place: longest_fraction(*measured[value], self.bits)
            for place, value in self.graph.places.items()
        }
        own = {n: longest_fraction(float(a.min()), float(a.max()), self.bits)
               for n, a in self.graph.weights.items()}  # fmt: skip
        biases = {layer.bias for layer in self.graph.layers}
        weights = {name: f for name, f in own.items() if name not in biases}
        return Choice(self.bits, places, weights, {n: f for n, f in own.items() if n in biases})

    def refined(self, choice: Choice, most: int = REFINED_ON) -> Choice:
        """Try other fraction lengths, layer by layer; keep what leaves the outputs nearest.

        First each is tried alone, all else being float. Where noise of many sources adds up that is
        all: what would cancel out by chance is not taken for better. Where there is so much that it
        does not, each is tried once more with everything rounded. What fits without overflow is
        never shortened.
        """
        steps, noise = self._steps(choice), self.divergence(choice, most).noise
        if noise <= NEAR:
            return choice
        apart, added = choice, 0.0
        for done, (kind, key) in enumerate(steps):
            self.tick(f"refining {key}", done, len(steps))
            alone, apart = self._best_alone(apart, kind, key, most)
            added += alone
        tried = self.divergence(apart, most).noise
        if tried <= min(noise, ADDS_UP * added):
            return apart
        best = (tried, apart) if tried < noise else (noise, choice)
        return self._together(best, choice, most)

    def _together(self, best: tuple[float, Choice], least: Choice, most: int) -> Choice:
        """Try fractions of one bit more and less where all else is rounded as it will be."""
        steps = self._steps(least)
        for done, (kind, key) in enumerate(steps):
            self.tick(f"refining {key} again", done, len(steps))
            for other in best[1].others(kind, key, (1, -1), least=least):
                noise = self.divergence(other, most).noise
                best = (noise, other) if noise < best[0] else best
        return best[1]

    def _best_alone(self, choice: Choice, kind: str, key: str, most: int) -> tuple[float, Choice]:
        """Return the best fraction for one place or weight, all else being float, and its noise.

        Where one bit more clips so much that it costs twice the noise two are not tried.
        """
        best, found = self._alone(choice, kind, key, most), choice
        for other in choice.others(kind, key, (1, 2), least=choice):
            noise = self._alone(other, kind, key, most)
            if noise > 2 * best:
                break
            best, found = (noise, other) if noise < best else (best, found)
        return best, found

    def _alone(self, choice: Choice, kind: str, key: str, most: int) -> float:
        """Return the outputs' noise by the rounding of one place or weight."""
        if kind == "places":
            changed = self._knobs[key].turned(choice.places[key], choice.bits)
        else:
            weight = self._weight(key, choice.weights[key])
            changed = {key: weight.reals().astype(np.float32)}
        return self.trials.divergence(changed, most).noise

    def _steps(self, choice: Choice) -> list[tuple[str, str]]:
        """Return what can be chosen, each once, in the order of the layers."""
        found: dict[tuple[str, str], None] = {}
        for layer in self.graph.layers:
            found["places", layer.source] = found["weights", layer.weight] = None
            if layer.output in choice.places:
                found["places", layer.output] = None
        return list(found)

    def static(self, choice: Choice, most: int = REFINED_ON) -> Choice:
        """Return the best choice of one fraction length for all."""
        every = {*choice.places.values(), *choice.weights.values(), *choice.biases.values()}
        tried = [_same(choice, n) for n in range(min(every), max(every) + 1)]
        return min(tried, key=lambda one: self.divergence(one, most).noise)

    def divergence(self, choice: Choice, most: int | None = None) -> Divergence:
        return self.trials.divergence(self.changed(choice), most)

    def changed(self, choice: Choice) -> Arrays:
        """Return what a trial is to change."""
        return {**self._tensors_changed(choice), **self._places_changed(choice)}

    def _tensors_changed(self, choice: Choice) -> Arrays:
        return {
            name: tensor.reals().astype(np.float32) for name, tensor in self.tensors(choice).items()
        }

    def _places_changed(self, choice: Choice) -> Arrays:
        changed: Arrays = {}
        for place, knobs in self._knobs.items():
            changed.update(Knobs.turned(knobs, choice.places[place], choice.bits))
        return changed

    def tensors(self, choice: Choice) -> dict[str, Quantized]:
        """Return weights and biases with the numbers of a choice."""
        found: dict[str, Quantized] = {}
        for layer, own in zip(self.graph.layers, choice.formats(self.graph), strict=True):
            weight = found[layer.weight] = self._weight(layer.weight, own.weight_fraction)
            if layer.bias:
                bias = self._bias(layer, weight)
                found[layer.bias] = fixed_tensor(bias, own.bias_fraction, self.bits)
        return found

    def _weight(self, name: str, fraction: int) -> Quantized:
        key = name, fraction
        if key not in self._rounded:
            own = self.graph.weights[name].astype(np.float64)
            gram = self.grams.get(name) if self.goal.feeds_back else None
            self._rounded[key] = fixed_tensor(own, fraction, self.bits, gram)
        return self._rounded[key]

    def _bias(self, layer: FixedLayer, weight: Quantized) -> F64:
        """Return a layer's bias before it is rounded."""
        bias = self.graph.weights[layer.bias].astype(np.float64)
        gram = self.grams.get(layer.weight)
        if not self.base.bias_correction or gram is None:
            return bias
        before = self.graph.weights[layer.weight].astype(np.float64)
        moved = corrected_bias(bias, before, weight.reals(), gram)
        return as_type(moved, DType.FLOAT).astype(np.float64)

    def recipe_of(self, choice: Choice) -> Recipe:
        """Return the recipe that does to the model what `choice` does."""
        fed = {*self.grams} if self.goal.feeds_back else set()
        return recipe_of(self.graph, choice, self.base, fed)

    def done(self, choice: Choice) -> FixedPoint:
        """Return the network with the numbers of a choice."""
        formats = choice.formats(self.graph)
        found = self.graph, formats, self.tensors(choice), self.recipe_of(choice)
        return FixedPoint(*found, self.grams)

    def measured(self, choice: Choice) -> Measured:
        """Return what the numbers of a choice do, and what each layer's do alone."""
        judge, changed = Judge(self.trials), self.changed(choice)
        alone = {layer.name: self._of_layer(layer, choice) for layer in self.graph.layers}
        said = {
            "bits": choice.bits,
            "refined": self.goal.refine,
            "noise": {name: float(f"{noise:.3g}") for name, noise in alone.items()},
        }
        found = judge.diverge(changed), judge.compare(changed)
        synthetic = self.trials.synthetic
        return Measured(0, *found, {}, synthetic, self.goal.metric, {"fixed_point": said})

    def _of_layer(self, layer: FixedLayer, choice: Choice) -> float:
        """Return the outputs' noise by the rounding of one layer's weight, bias and input."""
        changed = self._tensors_changed(choice)
        own = {name: changed[name] for name in (layer.weight, layer.bias) if name}
        knobs = self._knobs[layer.source].turned(choice.places[layer.source], choice.bits)
        return self.trials.divergence({**own, **knobs}, REFINED_ON).noise


def _same(choice: Choice, fraction: int) -> Choice:
    tables = (choice.places, choice.weights, choice.biases)
    return Choice(choice.bits, *(dict.fromkeys(table, fraction) for table in tables))


def recipe_of(graph: Graph, choice: Choice, base: Recipe, fed: Collection[str]) -> Recipe:
    """Return the recipe that makes of a model what `choice` says, and leaves the rest exact.

    `fed` are the weights that are rounded with feedback.
    """
    rules = [rule for layer in choice.formats(graph) for rule in _rules(layer, fed)]
    if len(rules) > MAX_RULES:
        raise ConvertError(f"{len(graph.layers)} layers are more than a recipe can state")
    return Recipe(
        preset="int8",
        method="exact",
        target=base.target,
        equalize=base.equalize,
        bias_correction=base.bias_correction,
        calibration=base.calibration,
        rules=tuple(rules),
    )


def _rules(layer: LayerFormat, fed: Collection[str]) -> list[Rule]:
    """Return the rules of a layer's weight and of its bias."""
    weight: dict[str, Any] = _numbers(layer.weight_bits, layer.weight_fraction)
    weight["input"] = [layer.input_fraction, layer.input_bits]
    weight["output"] = [layer.output_fraction, layer.output_bits]
    if layer.weight in fed:
        weight["feedback"] = True
    if layer.bias is None:
        return [Rule(glob.escape(layer.weight or ""), weight)]
    weight["bias"] = layer.bias
    bias = _numbers(layer.bias_bits, layer.bias_fraction)
    return [Rule(glob.escape(layer.weight or ""), weight), Rule(glob.escape(layer.bias), bias)]


def _numbers(bits: int, fraction: int) -> dict[str, Any]:
    return {"method": "fixed", "bits": bits, "fraction": fraction}


def draft(model: Path, base: Recipe, goal: FixedGoal) -> Recipe:
    """Return a recipe that changes what a choice would change, whatever its fraction lengths."""
    graph = graph_of(model)
    biases = dict.fromkeys((layer.bias for layer in graph.layers), 0)
    weights = dict.fromkeys((layer.weight for layer in graph.layers), 0)
    choice = Choice(goal.bits, dict.fromkeys(graph.places, 0), weights, biases)
    return recipe_of(graph, choice, base, weights if goal.feeds_back else ())


def met_by(model: Path, calib: Path | None) -> dict[str, Gram]:
    """Return what the layers' weights meet on the calibration data, where that can be said."""
    names = [layer.weight for layer in graph_of(model).layers]
    with Trials(model, names, calib) as trials:
        found = {name: trials.gram(name) for name in names}
    return {name: gram for name, gram in found.items() if gram is not None}


def fixed_point(model: Path, calib: Path, bits: int = 8, *, refine: bool = True) -> FixedPoint:
    """Return a network with `bits` bits for all numbers, calibrated. Raises ConvertError."""
    goal = FixedGoal(bits, refine)
    grams = met_by(model, calib) if goal.feeds_back else {}
    with Search(model, calib, None, goal, grams=grams) as search:
        return search.done(search.found())
