"""What a trial feeds: samples of an .npz file, or seeded ones; batch by batch, within memory.

Sister files: tools/_feed.py (which array is for which input), tools/_trials_run.py (the child).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dcformat.errors import ConvertError

from ._feed import Arrays, Plan, feeds, plan_of
from ._npz_rows import Rows, open_arrays

LABELS = "labels"
SYNTHETIC_SAMPLES = 64
_CACHE_BYTES = 512 << 20


class Held(Rows):
    """An array in memory that is read like one of a file."""

    def __init__(self, name: str, array: npt.NDArray[Any]) -> None:
        self.name, self._array = name, array
        self.shape, self.dtype = array.shape, array.dtype

    def whole(self) -> npt.NDArray[Any]:
        return self._array

    def pieces(self, rows: int) -> Iterator[npt.NDArray[Any]]:
        for start in range(0, self.shape[0], rows):
            yield self._array[start : start + rows]


@dataclass
class Samples:
    """Samples in batches of `rows`; those of a model with a fixed batch all have that size."""

    plan: Plan
    rows: int
    labels: npt.NDArray[np.int64] | None = None
    cache: list[Arrays] = field(default_factory=list)
    complete: bool = False

    def batches(self, most: int | None = None) -> Iterator[tuple[int, Arrays]]:
        """Yield how many samples, and what to feed; whole batches until `most` is reached."""
        done = 0
        for feed in self._cached() if self.complete else self._read():
            count = self.plan.count(feed)
            if done and most is not None and done >= most:
                return
            if self.plan.fixed and count < self.plan.fixed:
                return
            yield count, {**self.plan.whole, **feed}
            done += count

    def _cached(self) -> Iterator[Arrays]:
        yield from self.cache

    def _read(self) -> Iterator[Arrays]:
        """Read from the file; keep what is read if all of it has room."""
        size, kept = 0, list[Arrays]()
        for at, feed in enumerate(feeds(self.plan, self.rows)):
            check_finite(feed, at * self.rows, self.plan.apart)
            size += sum(array.nbytes for array in feed.values())
            if size <= _CACHE_BYTES:
                kept.append(feed)
            else:
                kept.clear()
            yield feed
        if size <= _CACHE_BYTES:
            self.cache, self.complete = kept, True


def check_finite(feed: Mapping[str, npt.NDArray[Any]], first: int, apart: bool = False) -> None:
    """Raise ConvertError where an array holds NaN or an infinity; `first` numbers the samples.

    With `apart` the arrays are of one sample.
    """
    for name, array in feed.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            samples = ~np.isfinite(array).reshape(1 if apart else len(array), -1).all(axis=1)
            bad = int(np.argwhere(samples)[0, 0])
            raise ConvertError(f"array {name!r} holds NaN or infinity in sample {first + bad}")


def samples_of(path: Path, wanted: Sequence[Any], batch: int, *, labelled: bool) -> Samples:
    """Return the samples of an .npz file for a session's inputs; of `labelled` ones labels too."""
    arrays = open_arrays(path)
    try:
        labels = None
        if labelled and LABELS in arrays and LABELS not in {one.name for one in wanted}:
            labels = _labels(arrays.pop(LABELS))
        plan = plan_of(wanted, arrays)
        if labels is not None and len(labels) != plan.samples:
            raise ConvertError(f"there are {len(labels)} labels for {plan.samples} samples")
    except ConvertError as error:
        raise error.at(str(path)) from None
    return Samples(plan, plan.rows(batch), labels)


def _labels(rows: Rows) -> npt.NDArray[np.int64]:
    if len(rows.shape) != 1 or rows.dtype.kind not in "iu":
        shown = f"{rows.dtype} of shape {rows.shape}"
        raise ConvertError(f"array 'labels' is {shown}: one whole number a sample is expected")
    return rows.whole().astype(np.int64)


def synthetic_samples(
    wanted: Sequence[Any], found: Sequence[npt.NDArray[Any]], seed: int, batch: int
) -> Samples:
    """Return seeded samples of the shapes and types `found`, on which the model runs.

    Where the first axes of inputs cannot all count samples each sample is a run.
    """
    random = np.random.default_rng(seed)
    counted = [bool(a.ndim) and (a.shape[0] == 1 or _is_open(one))
               for one, a in zip(wanted, found, strict=True)]  # fmt: skip
    apart = not any(counted) and len({a.shape[:1] for a in found}) > 1
    arrays: dict[str, Rows] = {}
    for one, array, counts in zip(wanted, found, counted, strict=True):
        shape = (SYNTHETIC_SAMPLES, *array.shape[1:]) if counts else array.shape
        shape = (SYNTHETIC_SAMPLES, *array.shape) if apart else shape
        arrays[one.name] = Held(one.name, _random(random, array.dtype, shape))
    plan = plan_of(wanted, arrays)
    return Samples(plan, plan.rows(batch))


def _is_open(wanted: Any) -> bool:
    return not isinstance(wanted.shape[0], int)


def _random(
    random: np.random.Generator, dtype: np.dtype[Any], shape: tuple[int, ...]
) -> npt.NDArray[Any]:
    if dtype.kind == "f":
        return random.standard_normal(shape).astype(dtype)
    high = 128 if dtype.itemsize == 1 and dtype.kind in "iu" else 2
    return random.integers(0, high, shape).astype(dtype)
