"""Exact optimal k-means of weighted points on a line, in plain Python.

C: dcformat/_native/kmeans.c does the same operations in the same order and gives the same bits;
callers use `kernels.optimal_kmeans`, which picks.

The cost of a cluster of sorted points satisfies the quadrangle inequality, so that

- the cost of the best clustering is convex in the number of clusters: a price per cluster finds
  any number of them (Aggarwal, Schieber and Tokuyama 1994), in memory O(n);
- for a given price, the best last cluster is found for all prefixes with one queue of candidates
  (Galil and Park 1990), in time O(n log n);
- where the price of exactly k clusters is that of several counts, two of these paths can be
  spliced into one of k clusters that is no worse.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
EndsOf = Callable[[F64, F64, F64, int], I64]

#: Steps by which the price is guessed from the law D ~ 1 / k**2; then secants, which end.
GUESSES = 40


@dataclass(frozen=True)
class Sums:
    """Sums of weights, of w * x and of w * x * x over the first i points, i = 0 … n."""

    w: list[float]
    x: list[float]
    xx: list[float]

    def cost(self, i: int, j: int) -> float:
        """Return the squared error of points i … j - 1 around their mean."""
        x = self.x[j] - self.x[i]
        cost = (self.xx[j] - self.xx[i]) - x * x / (self.w[j] - self.w[i])
        return cost if cost > 0.0 else 0.0


@dataclass(frozen=True)
class Path:
    """A clustering found for a price: its ends (ends[-1] is n) and its squared error."""

    price: float
    error: float
    ends: list[int]


def solve(values: F64, weights: F64, k: int, ends_of: EndsOf) -> tuple[F64, I64]:
    """Return (levels, starts) of the optimal clustering; see `kernels.optimal_kmeans`.

    `ends_of(w, x, xx, k)` is the search: `best_ends`, or the same in C. It sees the points
    around their median and scaled by a power of two, so that no square overflows.
    """
    n = values.size
    if n <= k:
        return values.copy(), np.arange(n)
    exponent = int(np.frexp(np.abs(values[[0, -1]]).max())[1])
    scaled = np.ldexp(values, -exponent)
    centre = scaled[n // 2]
    w, x, xx = prefix_sums(scaled - centre, weights)
    ends = ends_of(w, x, xx, k)
    starts = np.concatenate([[0], ends[:-1]])
    levels = centre + (x[ends] - x[starts]) / (w[ends] - w[starts])
    return np.ldexp(levels, exponent), starts


def prefix_sums(values: F64, weights: F64) -> tuple[F64, F64, F64]:
    """Return the sums of w, w * x and w * x * x over the first 0 … n points, left to right."""
    wx = weights * values
    columns = (weights, wx, wx * values)
    w, x, xx = (np.concatenate([[0.0], np.cumsum(column)]) for column in columns)
    return w, x, xx


def best_ends(w: F64, x: F64, xx: F64, k: int) -> I64:
    """Return the end of each of the best k clusters of n > k points, given their running sums."""
    sums = Sums(w.tolist(), x.tolist(), xx.tolist())
    return np.array(_ends_of(sums, w.size - 1, k), np.int64)


def _ends_of(sums: Sums, n: int, k: int) -> list[int]:
    """Return the ends of the optimal k clusters, 1 <= k < n.

    `few` and `many` are optimal for their prices and have fewer and more clusters than k.
    """
    few = Path(0.0, sums.cost(0, n), [n])
    many = Path(0.0, 0.0, list(range(1, n + 1)))
    if k == 1:
        return few.ends
    step = 0
    while True:
        secant = (few.error - many.error) / (len(many.ends) - len(few.ends))
        price = _guess(few, many, k, secant) if step < GUESSES else secant
        path = cheapest(sums, n, price)
        count = len(path.ends)
        if count == k:
            return path.ends
        inside = len(few.ends) < count < len(many.ends)
        if price == secant and not inside:
            return splice(many.ends, few.ends, k)
        if count < k:
            few = path
        else:
            many = path
        step += 1


def _guess(few: Path, many: Path, k: int, secant: float) -> float:
    """Return the price to try next: by the law price ~ 1 / k**3 through a known path.

    Until both sides have a price of their own, the law runs through the one that has; a guess
    outside what is known falls back to the secant, which makes progress or proves the end.
    """
    known = few if few.price > 0.0 else many
    if known.price <= 0.0:
        return 2.0 * few.error / (float(k) * float(k) * float(k))
    ratio = len(known.ends) / k
    price = known.price * (ratio * ratio * ratio)
    below = few.price if few.price > 0.0 else float("inf")
    return price if many.price < price < below else secant


def cheapest(sums: Sums, n: int, price: float) -> Path:
    """Return the clustering with the least error + price * clusters; ties to the smallest split.

    The queue holds candidates for the start of the last cluster, each with the prefix length
    from which it beats the one before it.
    """
    best = [0.0] * (n + 1)
    last = [0] * (n + 1)
    who, since = [0] * (n + 1), [1] * (n + 1)
    head, tail = 0, 1
    for j in range(1, n + 1):
        while head + 1 < tail and since[head + 1] <= j:
            head += 1
        last[j] = who[head]
        best[j] = best[who[head]] + sums.cost(who[head], j) + price
        if j == n:
            break
        while since[tail - 1] > j and _beats(sums, best, j, who[tail - 1], since[tail - 1]):
            tail -= 1
        start = _takeover(sums, best, j, who[tail - 1], max(since[tail - 1], j + 1))
        if start <= n:
            who[tail], since[tail] = j, start
            tail += 1
    return trace(sums, last, n, price)


def _beats(sums: Sums, best: list[float], new: int, old: int, j: int) -> bool:
    """Tell whether a last cluster from `new` is cheaper for prefix j than one from `old`."""
    return best[new] + sums.cost(new, j) < best[old] + sums.cost(old, j)


def _takeover(sums: Sums, best: list[float], new: int, old: int, low: int) -> int:
    """Return the first prefix from `low` on for which `new` beats `old`, n + 1 for none.

    Steps double from `low` before the search halves, because most take over soon.
    """
    n, step, high = len(best) - 1, 1, low
    while high <= n and not _beats(sums, best, new, old, high):
        low = high + 1
        high += step
        step *= 2
    high = min(high, n + 1)
    while low < high:
        middle = (low + high) // 2
        if _beats(sums, best, new, old, middle):
            high = middle
        else:
            low = middle + 1
    return low


def trace(sums: Sums, last: list[int], n: int, price: float) -> Path:
    """Return the path that `last` describes, its error added up from the last cluster on."""
    ends, error, j = [], 0.0, n
    while j > 0:
        ends.append(j)
        error += sums.cost(last[j], j)
        j = last[j]
    return Path(price, error, ends[::-1])


def splice(many: list[int], few: list[int], k: int) -> list[int]:
    """Return a path of k clusters: the first of `many`, then the last of `few`.

    Both are optimal for one price. Somewhere a cluster of `many` lies inside one of `few` with
    the counts that make k; exchanging their tails there costs nothing (quadrangle inequality).
    """
    a, b = [0, *many], [0, *few]
    skip = k - len(few)
    at = skip
    while b[at + 1 - skip] <= a[at + 1]:
        at += 1
    return a[1 : at + 1] + b[at + 1 - skip :]
