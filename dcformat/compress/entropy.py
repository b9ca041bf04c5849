"""Levels for an entropy coder: the fewest bits for an error, or the best of both for a price.

At high rates equal steps are the best for an entropy coder (Gish and Pierce 1968), and a bit is
worth 0.116 squared steps; at low rates less. Each of a few such worths, with symbols for all
elements or with gaps, is one way through the plane of bits and error; the best way wins.
Sister: refine.py, one point of one way.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from dcformat.ids import MAX_SYMBOLS

from .points import Cells, Points, cells_of
from .refine import Steps, refine

#: What a bit is worth, in squared steps.
WORTHS = (0.03, 0.06, 0.09, 0.12)
#: Where in a step zero is: a code of whole bits may suit levels that are not symmetric.
SHIFTS = (0.0, 0.25, 0.5, -0.25)
ROUNDS = 8
_HALVINGS = 26


@dataclass(frozen=True)
class Way:
    """What a bit is worth, where the steps lie, and whether zeros are written as gaps."""

    worth: float
    shift: float
    sparse: bool

    def at(self, points: Points, step: float, price: float) -> Cells | None:
        """Return the cells that steps of this width lead to."""
        return refine(points, Steps(step, self.shift), price, self.sparse, ROUNDS)


def ways_of(points: Points) -> list[Way]:
    """Return the ways that are tried."""
    shifts = SHIFTS[:1] if points.zeros else SHIFTS
    dense = [Way(worth, shift, False) for shift in shifts for worth in WORTHS]
    return dense + [Way(worth, 0.0, True) for worth in WORTHS]


def at_price(points: Points, price: float) -> Cells:
    """Return the cells with the least squared error + `price` * bits.

    `price` is at least 0 a bit, in the units of `Cells.error`. There are at most 256 levels, and
    zero is one of them where it is a weight.
    """
    ways = ways_of(points) if price > 0.0 else []
    found = [way.at(points, math.sqrt(price / way.worth), price) for way in ways]
    cells = [c for c in found if c is not None] or [finest(points)]
    return min(cells, key=lambda c: c.error + price * c.bits)


def at_error(points: Points, error: float) -> Cells:
    """Return the cells with the fewest bits and at most this squared error.

    `error` is in the units of `Cells.error`; `Points.scaled` brings others there. If 256 levels are
    too few for it, the cells with equal steps as fine as they allow.
    """
    found = [_along(points, error, way) for way in ways_of(points)]
    good = [cells for cells in found if cells is not None]
    return min(good, key=lambda c: c.bits) if good else finest(points)


def finest(points: Points) -> Cells:
    """Return the cells of the finest equal steps that 256 levels allow, or each value its own."""
    if points.values.size <= MAX_SYMBOLS - bool(points.zeros):
        return cells_of(points, np.arange(points.values.size))
    fine, coarse = 0.0, 4 * points.largest
    best = None
    for _ in range(2 * _HALVINGS):
        middle = (fine + coarse) / 2
        cells = refine(points, Steps(middle), 0.0, False, 0)
        if cells is None:
            fine = middle
        else:
            coarse, best = middle, cells
    if best is None:
        raise ValueError("steps wider than all values make more than 256 cells")
    return best


def _along(points: Points, error: float, way: Way) -> Cells | None:
    """Return the cells with the fewest bits and at most this error along one way.

    The step is found by halving its logarithm. None if no step gives this error.
    """
    coarse = 4 * points.largest
    fine = min(coarse, math.sqrt(error / float(points.sums[0][-1])) / 2) or coarse / (1 << 20)
    best = None
    for _ in range(_HALVINGS):
        step = math.sqrt(fine * coarse)
        cells = way.at(points, step, way.worth * step * step)
        if cells is None or cells.error <= error:
            fine = step
            if cells is not None and (best is None or cells.bits < best.bits):
                best = cells
        else:
            coarse = step
    return best
