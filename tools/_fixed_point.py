"""Fixed point for a whole network: fraction lengths of weights, biases, inputs and outputs.

Sister files: dcformat/compress/fixed_point.py (the numbers), converters/onnx_fixed.py (the layers),
tools/_trials.py (what a choice does to the outputs).

Each place gets the longest fraction length at which nothing overflows on the calibration data.
Then layer by layer longer ones are tried, which clip the largest numbers and round the others
finer, and the one is kept that leaves the outputs nearest to the float model's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import dcformat
from dcformat.coded import CodedModel, CodedTensor
from dcformat.compress.fixed_point import fixed_tensor, from_fixed, longest_fraction, to_fixed
from dcformat.compress.quantized import Quantized
from dcformat.converters.onnx_fixed import FixedLayer, Graph, Knobs, graph_of, trial_model
from dcformat.errors import ConvertError
from dcformat.ids import Meta, Rounding
from dcformat.model import LayerFormat, Model

from ._trials import Divergence, Trials

REFINED_ON = 256  #: samples
_SWEEPS = 2
SUMS = 32  #: bits of a sum, which the last layers give as it is
_LONGER = (1, 2)
Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Choice:
    """Fraction lengths of places, by value, and of weights and biases, by name."""

    bits: int
    places: Mapping[str, int]
    weights: Mapping[str, int]
    biases: Mapping[str, int]

    def longer(self, kind: str, key: str, more: int) -> Choice:
        """Return the choice with `more` bits of fraction for one of its "places" or "weights"."""
        table = {**getattr(self, kind)}
        table[key] += more
        if kind == "places":
            return replace(self, places=table)
        return replace(self, weights=table)

    def formats(self, graph: Graph) -> tuple[LayerFormat, ...]:
        """Return the layers' formats, as a file has them."""
        return tuple(self._format(layer) for layer in graph.layers)

    def _format(self, layer: FixedLayer) -> LayerFormat:
        bits, fraction = self.bits, self.places[layer.source] + self.weights[layer.weight]
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
    """A network in fixed point: formats of its layers, and integers of weights and biases."""

    graph: Graph
    layers: tuple[LayerFormat, ...]
    tensors: Mapping[str, Quantized]

    @property
    def numbers(self) -> dict[str, npt.NDArray[Any]]:
        """Return the integers by tensor."""
        return {name: np.asarray(found.symbols) for name, found in self.tensors.items()}


class Search:
    """A model and its data, in trials of fraction lengths."""

    def __init__(self, model: Path, calib: Path, evaluation: Path | None, bits: int) -> None:
        self.graph, self.bits = graph_of(model), bits
        made, self._knobs = trial_model(self.graph)
        turned = [n for knobs in self._knobs.values() for n in knobs.still()]
        names = [*self.graph.weights, *turned]
        self.trials = Trials(made, names, calib, evaluation, batch=64)

    def __enter__(self) -> Search:
        return self

    def __exit__(self, *_: object) -> None:
        self.trials.close()

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
        """Try longer fraction lengths, layer by layer; keep what leaves the outputs nearest."""
        best = self.divergence(choice, most).noise
        for kind, key in self._steps(choice) * _SWEEPS:
            start = choice
            for longer in _LONGER:
                tried = start.longer(kind, key, longer)
                noise = self.divergence(tried, most).noise
                if noise < best:
                    best, choice = noise, tried
        return choice

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
        changed: Arrays = {}
        for layer in choice.formats(self.graph):
            for name, fraction in ((layer.weight, layer.weight_fraction),
                                   (layer.bias, layer.bias_fraction)):  # fmt: skip
                if name:
                    exact = to_fixed(self.graph.weights[name], fraction, choice.bits)
                    changed[name] = from_fixed(exact, fraction).astype(np.float32)
        for place, knobs in self._knobs.items():
            changed.update(Knobs.turned(knobs, choice.places[place], choice.bits))
        return changed

    def done(self, choice: Choice) -> FixedPoint:
        """Return the network with the numbers of a choice."""
        layers, tensors = choice.formats(self.graph), {}
        for layer in layers:
            for name, fraction in ((layer.weight, layer.weight_fraction),
                                   (layer.bias, layer.bias_fraction)):  # fmt: skip
                if name:
                    weights = self.graph.weights[name].astype(np.float64)
                    tensors[name] = fixed_tensor(weights, fraction, choice.bits)
        return FixedPoint(self.graph, layers, tensors)


def _same(choice: Choice, fraction: int) -> Choice:
    tables = (choice.places, choice.weights, choice.biases)
    return Choice(choice.bits, *(dict.fromkeys(table, fraction) for table in tables))


def fixed_point(model: Path, calib: Path, bits: int = 8, *, refine: bool = True) -> FixedPoint:
    """Return a network with `bits` bits for all numbers, calibrated. Raises ConvertError."""
    with Search(model, calib, None, bits) as search:
        choice = search.start()
        return search.done(search.refined(choice) if refine else choice)


def coded(model: Model, fixed: FixedPoint) -> CodedModel:
    """Return the model to be saved: tensors of layers in fixed point, the layers' formats.

    No recipe gives these numbers: they depend on data, so none is noted.
    """
    whole = dcformat.compress(model, "lossless")
    tensors = tuple(_coded(tensor, fixed.tensors.get(tensor.name)) for tensor in whole.tensors)
    if missing := set(fixed.tensors) - {tensor.name for tensor in tensors}:
        raise ConvertError(f"{sorted(missing)[0]!r} is no tensor of the model")
    noted = dict(whole.metadata)
    noted.pop(Meta.RECIPE, None)
    return replace(whole, tensors=tensors, layers=fixed.layers, metadata=noted)


def _coded(tensor: CodedTensor, fixed: Quantized | None) -> CodedTensor:
    if fixed is None:
        return tensor
    values, symbols = fixed.values, fixed.symbols
    return CodedTensor(tensor.name, tensor.dtype, symbols, values, tensor.order, exact=False)
