"""A model whose weights can be changed from run to run, in onnxruntime, on samples.

Sister files: converters/onnx_trial.py (the model), tools/_trials_run.py (the child process).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from dcformat.converters import read_onnx
from dcformat.converters.onnx_trial import Meeting, Trial, Varied, opened, trial_of, watched
from dcformat.errors import ConvertError

from . import _trials_gram as gram
from ._run import CannotRunError, find_inputs, flat, session_of
from ._trials_data import Samples
from ._trials_metrics import Distance, Metric, joined

Arrays = dict[str, npt.NDArray[Any]]
Look = Callable[[Arrays], Arrays]

_REFERENCE_BYTES = 512 << 20  # of float outputs that are kept
_MOMENTS_BYTES = 1 << 30
_WATCHED_BYTES = 256 << 20  # of inner values that one run may give
_BATCH_ROWS = 20_000  # that a batch adds to second moments
_ALL_ROWS = 1 << 17
_ALIKE = 1e-4  # of the largest output: sums in another order differ by less


class TrialModel:
    """The model in a session, and its own weights."""

    def __init__(self, path: Path, weights: Sequence[str]) -> None:
        self.folder = path.parent
        own = {tensor.name: tensor for tensor in read_onnx.read(path).tensors}
        self.trial: Trial = trial_of(path, weights)
        self.varied: dict[str, Varied] = {v.name: v for v in self.trial.varied}
        for name, varied in self.varied.items():
            if varied.small is None and name not in own:
                raise ConvertError(f"the numbers of weight {name!r} cannot be read")
        self.own = {n: own[n].data if v.small is None else v.small for n, v in self.varied.items()}
        self.bytes = self.trial.model
        self._start()
        self._open_batch()

    def _start(self) -> None:
        self.session = session_of(self.bytes, self.folder)
        feeds = {v.feed for v in self.trial.varied}
        self.inputs = [one for one in self.session.get_inputs() if one.name not in feeds]
        self.outputs = [one.name for one in self.session.get_outputs()]

    def _open_batch(self) -> None:
        """Let a model of one sample at a time take more, if each then gets what it got before."""
        if not self.inputs or any(one.shape[:1] != [1] for one in self.inputs):
            return
        before = self.bytes, self.session, self.inputs
        try:
            singles = [self.seeded_inputs(seed) for seed in (1, 2)]
            wanted = [self._answers(given) for given in singles]
            self.bytes = opened(self.bytes, [one.name for one in self.inputs])
            self._start()
            got = self._answers([np.concatenate(both) for both in zip(*singles, strict=True)])
        except Exception:  # whatever onnxruntime raises: the model is one for single samples
            same = False
        else:
            same = _are_joined(wanted, got)
        if not same:
            self.bytes, self.session, self.inputs = before

    def _answers(self, given: list[npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
        feed = {one.name: array for one, array in zip(self.inputs, given, strict=True)}
        return list(self.run(feed, self.feed_of({})).values())

    @property
    def fixed(self) -> Mapping[str, str]:
        """Weights that cannot be varied, with the reason."""
        return self.trial.fixed

    def meetings(self, name: str) -> tuple[Meeting, ...]:
        """Return where a weight meets plain products."""
        return self.varied[name].meetings

    def watch(self, names: Sequence[str]) -> Look:
        """Return what gives these inner values, and what is fed, of what is fed."""
        inner = [v for v in names if v not in {one.name for one in self.inputs}]
        session = session_of(watched(self.bytes, inner), self.folder, plain=True)
        weights = self.feed_of({})
        return lambda feed: {**feed, **_inner_values(session, inner, {**feed, **weights})}

    def feed_of(self, changed: Mapping[str, npt.NDArray[Any]]) -> Arrays:
        """Return all weights by the names of inputs, `changed` in place of the model's own."""
        for name, array in changed.items():
            self._check(name, array)
        return {v.feed: changed.get(n, self.own[n]) for n, v in self.varied.items()}

    def _check(self, name: str, array: npt.NDArray[Any]) -> None:
        if name in self.trial.fixed:
            raise ConvertError(f"weight {name!r} {self.trial.fixed[name]}: it cannot be varied")
        if name not in self.varied:
            raise ConvertError(f"{name!r} is none of the weights of these trials")
        own = self.own[name]
        if (array.dtype, array.shape) != (own.dtype, own.shape):
            raise ConvertError(
                f"weight {name!r} is {own.dtype} {own.shape}, not {array.dtype} {array.shape}"
            )

    def run(self, feed: Arrays, weights: Arrays) -> Arrays:
        """Return the outputs by name; those of sequences and maps are numbered."""
        results = self.session.run(self.outputs, {**feed, **weights})
        return {
            name if k == 0 else f"{name}/{k}": array
            for name, value in zip(self.outputs, results, strict=True)
            for k, array in enumerate(flat(value))
        }

    def seeded_inputs(self, seed: int) -> list[npt.NDArray[Any]]:
        """Return inputs on which the model runs."""
        stand_in = _WithWeights(self)
        try:
            inputs, _ = find_inputs(stand_in, 1, seed)
        except CannotRunError as error:
            raise ConvertError(str(error)) from error
        return [inputs[f"i0_{k}"] for k in range(len(self.inputs))]


def _are_joined(singles: list[list[npt.NDArray[Any]]], both: list[npt.NDArray[Any]]) -> bool:
    """Tell whether outputs of two samples at once are those of one and of the other."""
    if len(both) != len(singles[0]):
        return False
    for first, second, got in zip(*singles, both, strict=True):
        if first.ndim == 0 or first.dtype.kind not in "fiub" or len(first) != 1:
            return False
        wanted = np.concatenate([first, second])
        size = float(np.max(np.abs(wanted), initial=0.0))
        if got.shape != wanted.shape or not np.allclose(got, wanted, rtol=0, atol=_ALIKE * size):
            return False
    return True


class _WithWeights:
    """The session as one without weights among its inputs."""

    def __init__(self, model: TrialModel) -> None:
        self._model = model
        self._weights = model.feed_of({})

    def get_inputs(self) -> list[Any]:
        return self._model.inputs

    def run(self, names: None, feed: Arrays) -> list[Any]:
        return list(self._model.session.run(names, {**feed, **self._weights}))


def ranges(model: TrialModel, samples: Samples, names: Sequence[str]) -> npt.NDArray[np.float64]:
    """Return the least and the largest number of inner values, over all samples: (names, 2)."""
    given = {one.name for one in model.inputs}
    inner = [name for name in names if name not in given]
    session = session_of(watched(model.bytes, inner), model.folder, plain=True)
    weights, found = model.feed_of({}), np.array([[np.inf, -np.inf]] * len(names))
    for _, feed in samples.batches():
        values = {**feed, **_inner_values(session, inner, {**feed, **weights})}
        for at, name in enumerate(names):
            low, high = found[at]
            found[at] = min(low, values[name].min()), max(high, values[name].max())
    return found


class AnyModel(Protocol):
    """What runs: of whatever format, with weights as `feed_of` gives them."""

    @property
    def own(self) -> Mapping[str, npt.NDArray[Any]]: ...

    def meetings(self, name: str) -> tuple[Meeting, ...]: ...

    def watch(self, names: Sequence[str]) -> Look: ...

    def feed_of(self, changed: Mapping[str, npt.NDArray[Any]]) -> Any: ...

    def run(self, feed: Arrays, weights: Any) -> Arrays: ...


class Runs:
    """A model on samples; the float model's outputs are kept where they have room."""

    def __init__(self, model: AnyModel, samples: Samples) -> None:
        self.model, self.samples = model, samples
        self._own = model.feed_of({})
        self._kept: list[Arrays] = []
        self._room = _REFERENCE_BYTES

    def pairs(
        self, changed: Mapping[str, npt.NDArray[Any]], most: int | None
    ) -> Iterator[tuple[int, int, Arrays, Arrays]]:
        """Yield first sample, how many, the float model's outputs, those of changed weights."""
        weights, done = self.model.feed_of(changed), 0
        for at, (count, feed) in enumerate(self.samples.batches(most)):
            wanted = self._reference(at, feed)
            got = self.model.run(feed, weights) if changed else wanted
            yield done, count, wanted, got
            done += count
        if not done:
            raise ConvertError("there are fewer samples than the model takes at once")

    def _reference(self, at: int, feed: Arrays) -> Arrays:
        if at < len(self._kept):
            return self._kept[at]
        found = self.model.run(feed, self._own)
        self._room -= sum(array.nbytes for array in found.values())
        if at == len(self._kept) and self._room >= 0:
            self._kept.append(found)
        return found

    def divergence(self, changed: Mapping[str, npt.NDArray[Any]], most: int | None) -> Distance:
        distance = Distance()
        for _, count, wanted, got in self.pairs(changed, most):
            distance.add(wanted, got, count)
        return distance

    def evaluate(
        self, changed: Mapping[str, npt.NDArray[Any]], metric: Metric
    ) -> tuple[float, npt.NDArray[np.float64] | None, Distance]:
        """Return the metric's mean, its value of each sample if it has one, and the distance."""
        scores, distance, labels = [], Distance(), self.samples.labels
        for first, count, wanted, got in self.pairs(changed, None):
            own = None if labels is None else labels[first : first + count]
            scores.append((metric(got, wanted, own, count), count))
            distance.add(wanted, got, count)
        return *joined(scores), distance


class Grams:
    """Second moments of what meets each weight; of as many weights in one pass as have room."""

    def __init__(self, model: AnyModel, samples: Samples, most: int | None) -> None:
        self.model, self.samples, self.most = model, samples, most
        self._found: dict[str, gram.Moments] = {}

    def of(self, name: str) -> gram.Moments | None:
        """Return the moments, None where a use is not a plain product or has too many columns."""
        if name not in self.model.own:
            self.model.feed_of({name: np.zeros(0)})  # says why
        if not self._has(name):
            return None
        if name not in self._found:
            self._found = self._pass(self._together(name))
        return self._found[name]

    def _has(self, name: str) -> bool:
        met = self.model.meetings(name)
        return bool(met) and met[0].columns <= gram.MOST_COLUMNS

    def _together(self, first: str) -> list[str]:
        """Return `first` and the weights after it whose moments have room beside it."""
        names: list[str] = []
        every, room = list(self.model.own), _MOMENTS_BYTES
        for name in every[every.index(first) :]:
            if self._has(name):
                met = self.model.meetings(name)[0]
                groups = met.window.groups if met.window else 1
                room -= groups * met.columns * min(met.columns, gram.BLOCK) * 8
                if names and room < 0:
                    break
                names.append(name)
        return names

    def _pass(self, names: list[str]) -> dict[str, gram.Moments]:
        met = {name: self.model.meetings(name) for name in names}
        look = self.model.watch(sorted({m.value for each in met.values() for m in each}))
        moments = {name: gram.moments_of(each[0]) for name, each in met.items()}
        samples = self._smaller(look)
        pickers = {(n, m): self._picker(samples) for n, each in met.items() for m in each}
        for _, feed in samples.batches(self.most):
            values = look(feed)
            for name, each in met.items():
                for meeting in each:
                    rows = gram.rows_of(meeting, values[meeting.value], pickers[name, meeting])
                    moments[name].add(rows)
        return moments

    def _smaller(self, look: Look) -> Samples:
        """Return the samples in batches whose inner values have room."""
        plan = self.samples.plan
        one = replace(self.samples, rows=plan.rows(1), cache=[], complete=False)
        _, feed = next(one.batches())
        size = sum(array.nbytes for name, array in look(feed).items() if name not in feed)
        rows = min(self.samples.rows, _WATCHED_BYTES // max(1, size))
        return replace(one, rows=plan.rows(max(1, rows)), cache=[])

    def _picker(self, samples: Samples) -> gram.Picker:
        count = min(samples.plan.samples, self.most or samples.plan.samples)
        return gram.Picker(min(_BATCH_ROWS / samples.rows, _ALL_ROWS / count))


def _inner_values(session: Any, names: list[str], feed: Arrays) -> Arrays:
    """Return inner values by name; to ask onnxruntime for none of them would give all outputs."""
    found = session.run(names, feed) if names else []
    return {name: np.asarray(array) for name, array in zip(names, found, strict=True)}
