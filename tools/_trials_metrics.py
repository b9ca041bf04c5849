"""How far changed outputs are from the float model's, and how good they are.

Sister files: tools/_trials.py (what a caller gets), tools/_trials_run.py (runs).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dcformat.errors import ConvertError

Array = npt.NDArray[Any]
F64 = npt.NDArray[np.float64]
Outputs = Mapping[str, Array]

#: function(outputs, float model's outputs, labels or None, samples) -> a number a sample, or one
Metric = Callable[[Outputs, Outputs, "Array | None", int], F64]
SMALLER_IS_BETTER = frozenset({"mse"})


@dataclass
class Distance:
    """Sums of a divergence, batch by batch in order."""

    error: float = 0.0
    power: float = 0.0
    changed: int = 0
    samples: int = 0

    def add(self, wanted: Outputs, got: Outputs, count: int) -> None:
        for a, b in _numbers(wanted, got):
            power, error = _squares(a, b)
            self.power += power
            self.error += error
        self.changed += int(changed(wanted, got, count).sum())
        self.samples += count

    @property
    def noise(self) -> float:
        if self.error == 0:
            return 0.0
        return self.error / self.power if self.power else float("inf")


def _numbers(wanted: Outputs, got: Outputs) -> list[tuple[Array, Array]]:
    """Return the pairs of float outputs; of all numbers where no output is a float."""
    floats = [name for name, array in wanted.items() if array.dtype.kind == "f"]
    names = floats or [name for name, array in wanted.items() if array.dtype.kind in "iu"]
    return [(wanted[name], got[name]) for name in names if name in got]


def _squares(wanted: Array, got: Array) -> tuple[float, float]:
    """Return the sum of squares of what is wanted, and of the error; by NumPy, pairwise.

    Where the float model gives no number nothing is compared; an output of another shape is wrong
    all over.
    """
    a = wanted.astype(np.float64)
    here = np.isfinite(a)
    power = float(np.sum(np.where(here, a, 0.0) ** 2))
    b = got.astype(np.float64)
    if a.shape != b.shape:
        return power, power + float(np.sum(np.where(np.isfinite(b), b, 0.0) ** 2))
    with np.errstate(invalid="ignore", over="ignore"):
        error = float(np.sum(np.where(here, b - a, 0.0) ** 2))
    return power, error if np.isfinite(error) else float("inf")


def changed(wanted: Outputs, got: Outputs, count: int) -> npt.NDArray[np.bool_]:
    """Tell for each of `count` samples whether the first output's arg-max is another one."""
    a, b = next(iter(wanted.values())), next(iter(got.values()))
    if a.shape != b.shape:
        return np.ones(count, np.bool_)
    if a.dtype.kind == "f" and a.ndim:
        classes = _classes(a, count).shape[-1]
        a, b = (np.argmax(_classes(x, count).reshape(-1, classes), axis=1) for x in (a, b))
    if a.size == 0 or a.size % count:
        return np.full(count, bool(np.any(a != b)))
    return np.asarray((a != b).reshape(count, -1).any(axis=1))


def _classes(output: Array, count: int) -> Array:
    """Return an output without axes of one element after the samples': classes are last."""
    if output.ndim < 2 or output.shape[0] != count:
        return output
    kept = [n for n in output.shape[1:] if n > 1]
    return output.reshape(count, *kept) if kept else output.reshape(count, 1)


def metric_of(name: str) -> Metric:
    """Return the metric called `name`, or the function of `path.py:function`."""
    if name in _METRICS:
        return _METRICS[name]
    path, _, function = name.rpartition(":")
    if not path.endswith(".py") or not function:
        known = ", ".join(sorted(_METRICS))
        raise ConvertError(f"unknown metric {name!r}: {known}, or path.py:function")
    return _own_metric(name, _function(Path(path), function))


def _function(path: Path, function: str) -> Callable[..., Any]:
    spec = importlib.util.spec_from_file_location("metric", path)
    if spec is None or spec.loader is None:
        raise ConvertError("cannot be loaded", place=str(path))
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        found = getattr(module, function)
    except Exception as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        raise ConvertError(reason, place=str(path)) from error
    if not callable(found):
        raise ConvertError(f"{function} is no function", place=str(path))
    return found  # type: ignore[no-any-return]


def _own_metric(name: str, function: Callable[..., Any]) -> Metric:
    def metric(got: Outputs, _: Outputs, labels: Array | None, count: int) -> F64:
        try:
            value = np.asarray(function(dict(got), labels), np.float64)
        except Exception as error:
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            raise ConvertError(f"metric {name} failed: {reason}") from error
        if value.shape not in ((), (count,)) or not np.isfinite(value).all():
            shown = f"it gave shape {value.shape}" if value.shape else f"it gave {value}"
            raise ConvertError(f"metric {name}: a number, or one a sample, is expected; {shown}")
        return value

    return metric


def _top1(got: Outputs, wanted: Outputs, labels: Array | None, count: int) -> F64:
    if labels is None:
        return (~changed(wanted, got, count)).astype(np.float64)
    first = next(iter(got.values()))
    scores = _classes(first, count)
    if scores.ndim != 2 or len(scores) != count:
        raise ConvertError(
            f"top1 with labels is for an output of samples x classes, not {first.shape}"
        )
    if labels.size and not 0 <= labels.min() <= labels.max() < scores.shape[1]:
        raise ConvertError(f"labels are not those of {scores.shape[1]} classes")
    return np.asarray(np.argmax(scores, axis=1) == labels, np.float64)


def _by_sample(got: Outputs, wanted: Outputs, count: int) -> tuple[F64, F64]:
    """Return both sides' numbers in a row for each sample."""
    pairs = _numbers(wanted, got)
    if any(a.shape != b.shape or a.size % count for a, b in pairs) or not pairs:
        raise ConvertError("the outputs cannot be compared sample by sample")
    flat = [[np.asarray(x, np.float64).reshape(count, -1) for x in pair] for pair in pairs]
    a, b = (np.concatenate([pair[side] for pair in flat], axis=1) for side in (0, 1))
    return a, b


def _mse(got: Outputs, wanted: Outputs, _: Array | None, count: int) -> F64:
    a, b = _by_sample(got, wanted, count)
    return np.asarray(np.mean((b - a) ** 2, axis=1))


def _cosine(got: Outputs, wanted: Outputs, _: Array | None, count: int) -> F64:
    """Return the cosine of the angle between both outputs; 1 of two that are all zeros."""
    a, b = _by_sample(got, wanted, count)
    sizes = np.sqrt(np.sum(a * a, axis=1) * np.sum(b * b, axis=1))
    same = (a == b).all(axis=1)
    return np.where(same, 1.0, np.sum(a * b, axis=1) / np.where(sizes > 0, sizes, 1.0))


_METRICS: Mapping[str, Metric] = {"top1": _top1, "mse": _mse, "cosine": _cosine}


def joined(scores: Sequence[tuple[F64, int]]) -> tuple[float, F64 | None]:
    """Return the mean over all samples, and the scores of each where every batch has them."""
    total = sum(count for _, count in scores)
    if all(values.shape for values, _ in scores):
        each = np.concatenate([values for values, _ in scores])
        return float(np.sum(each) / max(1, total)), each
    return sum(float(np.mean(v)) * count for v, count in scores) / max(1, total), None
