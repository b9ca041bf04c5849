"""What is kept of a value while samples go by: counts, range, channels, a histogram.

Sisters: tools/_activations_run.py (feeds it), tools/_activations.py (what the numbers mean).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import frexp, ldexp
from typing import Any

import numpy as np
import numpy.typing as npt

BINS = 48
_FINE = 4096  # bins from -2^k to 2^k while the range is not known yet
_MAX_SHIFT = 1100  # more than any exponent of a double


@dataclass(eq=False)
class Stats:
    """Statistics of one value; `shape` is that of one sample."""

    epsilon: float
    channel_axis: int
    shape: tuple[int, ...] = ()
    elements: int = 0
    zeros: int = 0
    near_zeros: int = 0
    not_finite: int = 0
    low: float = np.inf
    high: float = -np.inf
    fired: npt.NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))
    _exponent: int = -_MAX_SHIFT
    _fine: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(_FINE, np.int64))

    def add(self, array: npt.NDArray[Any]) -> None:
        """Take the values of some samples, the samples along the first axis."""
        self.shape = tuple(array.shape[1:])
        self.elements += array.size
        self._note_channels(array)
        flat = array.reshape(-1).astype(np.float64)
        finite = flat[np.isfinite(flat)]
        self.not_finite += flat.size - finite.size
        self.zeros += int(np.count_nonzero(flat == 0))
        self.near_zeros += int(np.count_nonzero(np.abs(finite) <= self.epsilon))
        if finite.size:
            self.low = min(self.low, float(finite.min()))
            self.high = max(self.high, float(finite.max()))
            self._note_values(finite)

    def _note_channels(self, array: npt.NDArray[Any]) -> None:
        if array.ndim < 2:
            return
        axis = self.channel_axis % array.ndim
        others = tuple(a for a in range(array.ndim) if a != axis)
        fired = np.any(array != 0, axis=others)
        grown = np.zeros(max(fired.size, self.fired.size), np.bool_)
        for each in (fired, self.fired):
            grown[: each.size] |= each
        self.fired = grown

    def _note_values(self, values: npt.NDArray[np.float64]) -> None:
        most = max(float(np.abs(values).max()), 0.0)
        while self._exponent < _MAX_SHIFT and most > ldexp(1, min(self._exponent, 1023)):
            self._widen(frexp(most)[1])
        # the exponent is that of the largest magnitude: scaled values are within -1 to 1
        scaled = np.ldexp(values, -self._exponent) if most else values
        places = np.floor((scaled + 1) * (_FINE // 2)).astype(np.int64)
        self._fine += np.bincount(np.clip(places, 0, _FINE - 1), minlength=_FINE)

    def _widen(self, exponent: int) -> None:
        """Let the bins reach to -2^exponent and 2^exponent; old bins fall together in pairs."""
        for _ in range(min(exponent - self._exponent, _FINE.bit_length())):
            pairs = self._fine.reshape(-1, 2).sum(axis=1)
            self._fine = np.zeros(_FINE, np.int64)
            self._fine[_FINE // 4 : 3 * _FINE // 4] = pairs
        self._exponent = exponent

    def histogram(self) -> list[int] | None:
        """Return counts of BINS equal bins from low to high, right to a bin of the fine ones."""
        if not self._fine.any() or self.high <= self.low:
            return None
        middles = np.ldexp((np.arange(_FINE) + 0.5) / (_FINE // 2) - 1, self._exponent)
        places = np.floor((middles - self.low) / (self.high - self.low) * BINS)
        inside = np.clip(places, 0, BINS - 1).astype(np.int64)
        return [int(n) for n in np.bincount(inside, self._fine, minlength=BINS)]

    def fraction(self, bits: int) -> int | None:
        """Return the largest n so that numbers of `bits` bits with n fraction bits hold the range.

        None where there is no range, or nothing but zeros.
        """
        return fraction_bits(self.low, self.high, bits)

    def as_dict(self) -> dict[str, Any]:
        known = self.low <= self.high
        share = 1 / self.elements if self.elements else 0.0
        return {
            "shape": list(self.shape),
            "elements": self.elements,
            "zeros": self.zeros,
            "zero_share": self.zeros * share,
            "near_zeros": self.near_zeros,
            "near_zero_share": self.near_zeros * share,
            "low": self.low if known else None,
            "high": self.high if known else None,
            "not_finite": self.not_finite,
            "fraction8": self.fraction(8),
            "fraction16": self.fraction(16),
            "channels": self.fired.size,
            "dead_channels": [int(n) for n in np.flatnonzero(~self.fired)],
            "histogram": self.histogram(),
        }


def fraction_bits(low: float, high: float, bits: int) -> int | None:
    """Return the largest n with -2^(bits-1) <= low * 2^n and high * 2^n <= 2^(bits-1) - 1."""
    if not low <= high or not (low or high):
        return None
    most = 2 ** (bits - 1)
    n = bits + 1 - frexp(max(-low, high))[1]
    while ldexp(max(high, 0.0), n) > most - 1 or ldexp(max(-low, 0.0), n) > most:
        n -= 1
    return n
