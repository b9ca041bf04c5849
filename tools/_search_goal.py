"""What a search is for, what it measured, and what it need not measure twice.

Sisters: tools/_search.py, tools/_trials.py
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dcformat.compress import Recipe
from dcformat.compress.allocate import Part
from dcformat.compress.recipe import stated_settings
from dcformat.errors import ConvertError
from dcformat.files import atomic_output
from dcformat.tools._terminal import human_size
from dcformat.tools._trials import Divergence, Evaluation, Trials

Changed = Mapping[str, npt.NDArray[Any]]

_VERSION = 1
_MAX_FILE = 1 << 24


@dataclass(frozen=True)
class Compared:
    """The metric of the float model and of the changed one, on the same samples.

    `interval` holds the change of the mean with 95 % certainty, from the paired differences.
    """

    before: Evaluation
    after: Evaluation

    @property
    def loss(self) -> float:
        """How much worse it is; below zero where it is better."""
        change = self.after.value - self.before.value
        return change if self.after.smaller else -change

    @property
    def interval(self) -> tuple[float, float] | None:
        one, other = self.before.scores, self.after.scores
        if one is None or other is None or one.size < 2:
            return None
        paired = other - one
        half = 1.96 * float(paired.std(ddof=1)) / math.sqrt(paired.size)
        return float(paired.mean()) - half, float(paired.mean()) + half


@dataclass(frozen=True)
class Goal:
    """At most `size` bytes of `purpose` ("dcf", "c"), at most `drop` lost of the metric.

    `drop` is in the metric's own unit: 0.005 is half a point of top1. `quality` is the least
    signal-to-noise ratio of the outputs, in dB. What is None is not asked for.
    """

    size: int | None = None
    purpose: str = "dcf"
    drop: float | None = None
    quality: float | None = None
    metric: str = "top1"

    @property
    def bounded(self) -> bool:
        return self.drop is not None or self.quality is not None

    @property
    def described(self) -> str:
        most = "" if self.size is None else f"{human_size(self.size)} at most"
        return " and ".join(words for words in (most, self.bound) if words)

    @property
    def bound(self) -> str:
        asked = [] if self.drop is None else [f"a loss of {self.drop:.4g} of {self.metric} at most"]
        asked += [] if self.quality is None else [f"{self.quality:.4g} dB at least"]
        return " and ".join(asked)

    def holds(self, judge: Judge, changed: Changed) -> bool:
        if self.drop is not None and not judge.compare(changed).loss <= self.drop:
            return False
        return self.quality is None or decibels(judge.diverge(changed)) >= self.quality

    def miss(self, judge: Judge, changed: Changed) -> str:
        """Say how far the bound is missed."""
        found = [] if self.drop is None else [f"{judge.compare(changed).loss:.4g} is lost"]
        if self.quality is not None:
            found.append(f"{decibels(judge.diverge(changed)):.1f} dB are left")
        return " and ".join(found)


@dataclass(frozen=True)
class FixedGoal:
    """Fixed point of `bits` bits throughout; `refine`: longer fractions and error feedback, too."""

    bits: int
    refine: bool = True
    metric: str = "top1"

    @property
    def described(self) -> str:
        return f"fixed point of {self.bits} bits, with a fraction length for each layer"

    @property
    def feeds_back(self) -> bool:
        """Tell whether rounding is to look at data; 16 bits leave it nothing to make good."""
        return self.refine and self.bits < 16

    def check(self, recipe: Recipe) -> None:
        """Refuse a recipe that says more than what goes before fixed point."""
        stated, rules = stated_settings(recipe)
        more = [key for key in stated if key not in BEFORE] + ["layer"] * bool(rules)
        if more:
            problem = f"states {more[0]}: fixed point leaves a recipe {', '.join(BEFORE)}"
            raise ConvertError(problem, place=recipe.origin or "recipe")


#: What a recipe can still say where all numbers become fixed point.
BEFORE = ("preset", "target", "equalize", "bias_correction", "calibration")


class Judge:
    """What changed weights do, in trials; the float model is evaluated once."""

    def __init__(self, trials: Trials) -> None:
        self.trials = trials

    @cached_property
    def before(self) -> Evaluation:
        return self.trials.evaluate({})

    def compare(self, changed: Changed) -> Compared:
        return Compared(self.before, self.trials.evaluate(changed))

    def diverge(self, changed: Changed, most: int | None = None) -> Divergence:
        return self.trials.divergence(changed, most)


def decibels(divergence: Divergence) -> float:
    """Return the signal-to-noise ratio of the outputs in dB, infinite where nothing changed."""
    return -10 * math.log10(divergence.noise) if divergence.noise > 0 else math.inf


@dataclass(frozen=True)
class Measured:
    """What was measured of the outcome. `layers`: the outputs' noise by a step of 1 in a weight,
    for each of its elements. `more` goes into the facts as it is.
    """

    size: int
    divergence: Divergence
    compared: Compared
    layers: Mapping[str, float]
    synthetic: bool
    metric: str
    more: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> str:
        """Return what goes into the file's metadata (spec/registry.md, EVIDENCE)."""
        return json.dumps(self.facts(), separators=(",", ":"))

    def facts(self) -> dict[str, Any]:
        before, after = self.compared.before, self.compared.after
        interval = self.compared.interval
        return {
            "metric": self.metric,
            "before": _short(before.value),
            "after": _short(after.value),
            "interval": None if interval is None else [_short(end) for end in interval],
            "samples": after.samples,
            "changed": after.changed,
            "calibration": "synthetic" if self.synthetic else "data",
            "calibration_samples": self.divergence.samples,
            "noise": _short(self.divergence.noise),
            "sensitivity": {name: _short(noise, 3) for name, noise in self.layers.items()},
            **self.more,
        }


def draft_of(parts: Sequence[Part], metric: str, samples: int) -> Measured:
    """Return something as long as what will be measured, to weigh the file before it is."""
    scores = np.linspace(0.123456, 0.765432, 99)
    one = Evaluation(0.123456, scores, samples, samples, False)
    layers = {part.name: part.noise / part.elements for part in parts}
    compared = Compared(replace(one, scores=scores[::-1]), one)
    return Measured(0, Divergence(0.01234567, samples, samples), compared, layers, False, metric)


def _short(value: float, digits: int = 6) -> float | None:
    return float(f"{value:.{digits}g}") if math.isfinite(value) else None


@dataclass
class State:
    """Sensitivities by name, kept in a file from run to run; `key` says of what.

    `pruned` has the noise of each tensor by the share of it that is zero.

    Raises ConvertError where the file is of something else, or none of ours.
    """

    path: Path | None
    key: str
    known: dict[str, float] = field(default_factory=dict)
    pruned: dict[str, dict[str, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.path is None or not self.path.exists():
            return
        stated = _read(self.path)
        if stated.get("key") != self.key:
            raise ConvertError("is of another model or other data", place=str(self.path))
        self.known = {str(name): float(noise) for name, noise in stated["noise"].items()}
        self.pruned = {name: dict(curve) for name, curve in stated.get("pruned", {}).items()}

    def of(self, name: str, measure: Callable[[], float]) -> float:
        """Return what is known of `name`, measured and kept if nothing is."""
        if name not in self.known:
            self.known[name] = measure()
            self._keep()
        return self.known[name]

    def curve_of(
        self, name: str, ratios: Sequence[float], measure: Callable[[float], float]
    ) -> tuple[float, ...]:
        """Return the noise at each ratio, measured and kept where it is not known."""
        curve = self.pruned.setdefault(name, {})
        missing = [ratio for ratio in ratios if f"{ratio:g}" not in curve]
        curve.update({f"{ratio:g}": measure(ratio) for ratio in missing})
        if missing:
            self._keep()
        return tuple(curve[f"{ratio:g}"] for ratio in ratios)

    def _keep(self) -> None:
        if self.path is None:
            return
        curves = {"pruned": self.pruned} if self.pruned else {}
        stated = {"version": _VERSION, "key": self.key, "noise": self.known, **curves}
        text = json.dumps(stated, indent=1)
        with atomic_output(self.path) as stream:
            stream.write(text.encode() + b"\n")


def _read(path: Path) -> dict[str, Any]:
    """Return the object in a state file, its numbers checked."""
    try:
        with path.open("rb") as stream:
            stated = json.loads(stream.read(_MAX_FILE))
        curves = [list(curve.values()) for curve in stated.get("pruned", {}).values()]
        numbers = np.array(sum(curves, list(stated["noise"].values())), np.float64)
        if stated["version"] != _VERSION or not np.all(numbers >= 0):
            raise ValueError
    except OSError as error:
        raise ConvertError(error.strerror or "cannot be read", place=str(path)) from error
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ConvertError("holds no state of a search", place=str(path)) from error
    found: dict[str, Any] = stated
    return found
