"""The compressors on real networks: errors, and copies that are compressed already."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import dcformat
from dcformat import kernels
from dcformat.coded import CodedModel, expand_tensor, same_bits
from dcformat.compress import Recipe, compress, preset_recipe, report
from dcformat.compress.estimate import estimate
from dcformat.compress.prune import prune
from dcformat.model import Model, Tensor

pytestmark = pytest.mark.realdata

NETWORKS = ("fastestdet", "yunet_n_320", "super_resolution", "mnist_cntk", "micro_kws_m_fp32")
PRESETS = ("lossless", "int8", "deep")


def load(data_dir: Path, name: str) -> Model:
    return dcformat.read(data_dir / "onnx" / f"{name}.onnx")


def clustered(tensor: Tensor, levels: int) -> Tensor:
    """Return `tensor` with each element moved to one of the best levels."""
    values, counts = np.unique(tensor.data.astype(np.float64), return_counts=True)
    book, starts = kernels.optimal_kmeans(values, counts, levels)
    cell = np.searchsorted(starts, np.searchsorted(values, tensor.data), side="right") - 1
    return replace(tensor, data=book.astype(np.float32)[cell])


def pruned(tensor: Tensor) -> Tensor:
    return replace(tensor, data=prune(tensor.data.astype(np.float64), 0.5).astype(np.float32))


def with_weights(model: Model, tensors: dict[str, Tensor]) -> Model:
    return replace(model, tensors=tuple(tensors.get(t.name, t) for t in model.tensors))


def weights_of(model: Model) -> list[Tensor]:
    return [
        t for t in model.tensors if t.name in model.uses and model.uses[t.name].role == "weight"
    ]


def changed(model: Model, coded: CodedModel) -> list[str]:
    pairs = zip(model.tensors, coded.tensors, strict=True)
    return [t.name for t, c in pairs if not same_bits(t.data, expand_tensor(c))]


def size(coded: CodedModel) -> int:
    return sum(estimate(tensor) for tensor in coded.tensors)


@pytest.mark.parametrize("name", NETWORKS)
def test_int8_has_the_error_of_plain_rounding_per_channel(data_dir: Path, name: str) -> None:
    model = load(data_dir, name)
    coded = {t.name: t for t in compress(model, preset_recipe("int8")).tensors}
    for tensor in weights_of(model):
        axis = model.uses[tensor.name].out_axis
        exact = tensor.data.astype(np.float64)
        others = tuple(i for i in range(exact.ndim) if i != axis)
        scale = np.abs(exact).max(axis=others, keepdims=True) / 127
        scale = np.where(scale > 0, scale, 1)
        plain = exact - np.rint(exact / scale) * scale
        wrong = exact - expand_tensor(coded[tensor.name]).astype(np.float64)
        assert (wrong * wrong).sum() <= 1.0001 * (plain * plain).sum()


@pytest.mark.parametrize("name", NETWORKS)
def test_deep_is_smaller_than_int8_and_int8_than_lossless(data_dir: Path, name: str) -> None:
    model = load(data_dir, name)
    sizes = [size(compress(model, preset_recipe(p))) for p in ("deep", "int8", "lossless")]
    assert sizes == sorted(sizes)
    assert sizes[1] < 0.45 * sizes[2]


@pytest.mark.parametrize("name", ["yunet_n_320", "mnist_cntk"])
@pytest.mark.parametrize("preset", PRESETS)
def test_clustered_and_pruned_copies_come_back(data_dir: Path, name: str, preset: str) -> None:
    model = load(data_dir, name)
    recipe = preset_recipe(preset)
    for levels in (16, 256):
        copy = with_weights(model, {t.name: clustered(t, levels) for t in weights_of(model)})
        assert changed(copy, compress(copy, recipe)) == []
    copy = with_weights(model, {t.name: pruned(t) for t in weights_of(model)})
    assert changed(copy, compress(copy, recipe)) == []


@pytest.mark.parametrize("preset", PRESETS)
def test_a_quantized_network_comes_back(data_dir: Path, preset: str) -> None:
    model = load(data_dir, "micro_kws_m_qdq")
    assert changed(model, compress(model, preset_recipe(preset))) == []


def test_what_the_report_says_of_a_real_network(data_dir: Path) -> None:
    model = load(data_dir, "yunet_n_320")
    recipe: Recipe = preset_recipe("int8")
    lines = report(model, compress(model, recipe))
    assert len(lines) == len(model.tensors)
    quantized = [line for line in lines if line.done.startswith("int8")]
    assert quantized
    assert all(line.role == "weight" and line.error > 0 for line in quantized)
    assert all(line.reason and line.error == 0 for line in lines if line not in quantized)
