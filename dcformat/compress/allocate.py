"""Steps for all layers at once: the coarsest that a bound allows, or the finest that fit.

For fine steps the bits of a weight fall by one where its step doubles, and the noise of the outputs
is a sum over layers, each in proportion to its squared step (Zamir and Feder 1996; Zhou et al.
2018, "Adaptive Quantization for Deep Neural Networks"). The Lagrangian of noise and bits then wants
the same noise of every weight: its step in inverse proportion to the square root of how much noise
a unit of its error makes. That was measured; coarse steps bend it, and so `lean` goes between it
and steps in proportion to a layer's spread. Which lean is best is measured too (tools/_fit.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from .feedback import LARGEST
from .settings import LARGEST_STEP, SMALLEST_STEP

#: How far a step goes from what was measured to what the spread says: 1 is all measured.
LEANS = (1.0, 0.75, 0.5)
#: A layer with less than this share of the greatest sensitivity has this share.
_LEAST_NOISE = 1e-6
#: A step of so many times the largest weight leaves zeros only.
_ALL_ZERO = 2.1
_ROUNDS = 40


@dataclass(frozen=True)
class Part:
    """A weight whose step is sought.

    `spread` is its standard deviation, `largest` its largest magnitude; `noise` that of the outputs
    by a change of this weight alone, with the mean square 1 for each of its elements.
    """

    name: str
    elements: int
    spread: float
    largest: float
    noise: float


@dataclass(frozen=True)
class Shape:
    """Steps but for one factor, the coarseness; `low` makes all finest, `high` leaves zeros."""

    base: Mapping[str, float]
    finest: Mapping[str, float]
    coarsest: Mapping[str, float]

    @property
    def low(self) -> float:
        return min(self.finest[name] / self.base[name] for name in self.base)

    @property
    def high(self) -> float:
        return max(self.coarsest[name] / self.base[name] for name in self.base)

    def steps(self, coarseness: float) -> dict[str, float]:
        """Return each weight's step: none so fine that its largest weight would be cut off."""
        return {
            name: min(max(coarseness * base, self.finest[name]), self.coarsest[name])
            for name, base in self.base.items()
        }


def shape_of(parts: Sequence[Part], lean: float) -> Shape:
    """Return the shape of the steps that the sensitivities of `parts` want."""
    most = max((part.noise / part.elements for part in parts), default=0.0)
    base = {}
    for part in parts:
        noise = max(part.noise / part.elements, most * _LEAST_NOISE) or 1.0
        base[part.name] = noise ** (-lean / 2) * part.spread ** (1 - lean)
    finest = {p.name: _bounded(p.largest / LARGEST) for p in parts}
    coarsest = {p.name: _bounded(p.largest * _ALL_ZERO) for p in parts}
    return Shape(base, finest, coarsest)


def _bounded(step: float) -> float:
    return min(max(step, SMALLEST_STEP), LARGEST_STEP)


def finest_that_fits(
    shape: Shape, size_of: Callable[[float], int], budget: int, slack: float
) -> float | None:
    """Return a coarseness whose size is at most `budget`, None if there is none.

    It is the first found that is within `slack` of it, or what halving comes to.
    """
    low, high = shape.low, shape.high
    if size_of(low) <= budget:
        return low
    if size_of(high) > budget:
        return None
    for _ in range(_ROUNDS):
        middle = math.sqrt(low * high)
        size = size_of(middle)
        low, high = (low, middle) if size <= budget else (middle, high)
        if budget * (1 - slack) <= size <= budget or high / low < 1.0005:
            break
    return high


def coarsest_that_holds(
    low: float, high: float, holds: Callable[[float], bool], rounds: int
) -> float:
    """Return the greatest coarseness found from `low`, which holds, to `high` that holds."""
    if holds(high):
        return high
    for _ in range(rounds):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low
