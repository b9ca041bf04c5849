"""Real networks in fixed point: right answers, and onnxruntime against integers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from evaluation import MNIST, RESNETS, cifar_task, mnist_task

from dcformat.converters.onnx_qdq import to_qdq
from dcformat.converters.onnx_simulate import simulate
from dcformat.converters.onnx_trial import watched
from dcformat.tools._fixed_point import Search, fixed_point, met_by
from dcformat.tools._search_goal import FixedGoal

ort = pytest.importorskip("onnxruntime")

pytestmark = pytest.mark.realdata


@pytest.mark.parametrize(("bits", "points"), [(8, 0.5), (16, 0.05)])
@pytest.mark.parametrize("name", MNIST)
def test_digits_are_seen_as_before(
    name: str, bits: int, points: float, data_dir: Path, tmp_path: Path
) -> None:
    task = mnist_task(data_dir, tmp_path, name)
    grams = met_by(task.model, task.calib) if bits == 8 else {}
    with Search(task.model, task.calib, task.test, FixedGoal(bits), grams=grams) as search:
        before = search.trials.evaluate({})
        after = search.trials.evaluate(search.changed(search.found()))
    assert after.samples == 10_000
    assert 100 * (before.value - after.value) <= points


def test_a_residual_network_is_the_same_in_integers(data_dir: Path, tmp_path: Path) -> None:
    task = cifar_task(data_dir, tmp_path)
    fixed = fixed_point(task.model, task.calib, 8, refine=False)
    model = to_qdq(fixed.graph, fixed.layers, fixed.numbers)
    with np.load(task.test) as arrays:
        x = arrays["input"][:4]
    names = [layer.output for layer in fixed.graph.layers]
    session = ort.InferenceSession(watched(model, names), providers=["CPUExecutionProvider"])
    _, wanted = simulate(fixed.graph, fixed.layers, fixed.numbers, {"input": x})
    for layer, value in zip(fixed.layers, session.run(names, {"input": x}), strict=True):
        numbers = np.ldexp(np.asarray(value, np.float64), layer.output_fraction)
        np.testing.assert_array_equal(numbers, wanted[layer.name])


@pytest.mark.slow
@pytest.mark.parametrize(("bits", "most"), [(8, 8), (16, 1)])
@pytest.mark.parametrize("name", RESNETS)
def test_pictures_are_seen_as_before(
    name: str, bits: int, most: int, data_dir: Path, tmp_path: Path
) -> None:
    task = cifar_task(data_dir, tmp_path, name)
    grams = met_by(task.model, task.calib) if bits == 8 else {}
    with Search(task.model, task.calib, task.test, FixedGoal(bits), grams=grams) as search:
        found = search.trials.evaluate(search.changed(search.found()))
    assert found.samples == 761
    assert found.changed <= most
