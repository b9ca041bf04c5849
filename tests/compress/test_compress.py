"""compress(): roles decide, what is compressed stays, and the report says why."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from nets import CONV, DENSE, bfloat16, model, tensor, weights

from dcformat.coded import Affine, Codebook, expand_tensor, same_bits
from dcformat.compress import (
    Recipe,
    Rule,
    compress,
    preset_recipe,
    recipe_from_json,
    report,
)
from dcformat.compress.prune import prune
from dcformat.errors import ConvertError
from dcformat.ids import DType, Meta
from dcformat.model import Model, Source, Tensor, Use

PRESETS = ("lossless", "int8", "deep")


def unchanged(given: Model, recipe: Recipe) -> list[str]:
    """Names of the tensors whose bits came through."""
    coded = compress(given, recipe)
    pairs = zip(given.tensors, coded.tensors, strict=True)
    return [t.name for t, c in pairs if same_bits(t.data, expand_tensor(c))]


def one(data: Tensor, use: Use = DENSE) -> Model:
    return Model((data,), None, {data.name: use}, Source())


def test_lossless_changes_no_bit() -> None:
    given = model()
    coded = compress(given, preset_recipe("lossless"))
    assert unchanged(given, preset_recipe("lossless")) == [t.name for t in given.tensors]
    assert all(t.exact for t in coded.tensors)


@pytest.mark.parametrize("preset", ["int8", "deep"])
def test_only_weights_are_quantized(preset: str) -> None:
    kept = ["conv.bias", "bn.scale", "shape", "labels"]
    assert unchanged(model(), preset_recipe(preset)) == kept


def test_presets_give_the_values_they_promise() -> None:
    found = {
        preset: [type(t.values) for t in compress(model(), preset_recipe(preset)).tensors]
        for preset in ("int8", "deep")
    }
    assert found["int8"][0] is found["int8"][3] is Affine
    assert found["deep"][3] is Codebook


def test_names_order_types_and_shapes_are_the_models() -> None:
    given = model()
    coded = compress(given, preset_recipe("deep"))
    for source, made in zip(given.tensors, coded.tensors, strict=True):
        assert (made.name, made.dtype, made.shape) == (source.name, source.dtype, source.shape)
    assert coded.graph == given.graph
    assert coded.tensors[0].order == (0, 2, 3, 1)


def test_the_recipe_and_the_sources_digest_travel_along() -> None:
    recipe = preset_recipe("deep", prune=0.25)
    coded = compress(model(), recipe)
    assert recipe_from_json(coded.metadata[Meta.RECIPE].decode()) == recipe
    assert coded.metadata[Meta.SOURCE_SHA256] == model().source.sha256
    assert coded.metadata[Meta.LICENCE] == b"MIT"
    assert Meta.SOURCE_SHA256 not in compress(Model(), recipe).metadata


def test_the_same_recipe_gives_the_same_numbers() -> None:
    recipe = preset_recipe("deep", prune=0.4)
    assert compress(model(), recipe) == compress(model(), recipe)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("levels", [3, 16, 256])
def test_a_clustered_copy_stays_as_it_is(preset: str, levels: int) -> None:
    book = np.sort(weights(1, levels, seed=9)[0])
    picks = np.random.default_rng(3).integers(0, levels, (64, 100))
    assert unchanged(one(tensor(book[picks])), preset_recipe(preset)) == ["w"]


@pytest.mark.parametrize("preset", PRESETS)
def test_a_pruned_copy_stays_as_it_is(preset: str) -> None:
    data = prune(weights(64, 100).astype(np.float64), 0.3)
    assert unchanged(one(tensor(data)), preset_recipe(preset)) == ["w"]
    signed = np.where(data == 0, -0.0, data)
    assert unchanged(one(tensor(signed)), preset_recipe(preset)) == ["w"]
    half = tensor(bfloat16(signed), dtype=DType.BFLOAT16)
    assert unchanged(one(half), preset_recipe(preset)) == ["w"]


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("dtype", [DType.INT8, DType.UINT8, DType.INT4, DType.FLOAT8E4M3FN])
def test_quantized_weights_stay_as_they_are(preset: str, dtype: DType) -> None:
    data = np.random.default_rng(4).integers(0, 8, (64, 50))
    assert unchanged(one(tensor(data, dtype=dtype), CONV), preset_recipe(preset)) == ["w"]


def test_requantize_quantizes_them_all_the_same() -> None:
    data = prune(weights(64, 100).astype(np.float64), 0.5)
    recipe = preset_recipe("int8", requantize=True)
    assert unchanged(one(tensor(data)), recipe) == []


@pytest.mark.parametrize(
    ("data", "use", "reason"),
    [
        (tensor(weights(8, 7)), DENSE, "fewer than 64 elements"),
        (tensor(weights(16, 16)), DENSE, "small: 256 elements"),
        (tensor(np.round(weights(64, 64) * 40)), DENSE, "distinct values already"),
        (tensor(prune(weights(64, 64) * 1.0, 0.4)), DENSE, "pruned already: 40% zeros"),
        (tensor(weights(64, 64)), replace(DENSE, role="bias"), "bias"),
        (tensor(weights(64, 64)), replace(DENSE, role="other"), "not a weight"),
        (tensor(np.arange(900), dtype=DType.INT32), DENSE, "INT32"),
        (tensor(np.arange(900) % 99, dtype=DType.INT8), DENSE, "INT8 already"),
        (tensor(np.append(weights(1, 900), np.nan)), DENSE, "holds NaN or infinity"),
        (tensor(np.append(weights(1, 900), 1e300), dtype=DType.DOUBLE), DENSE, "beyond float32"),
    ],
)
def test_what_is_left_alone_is_reported_with_its_reason(
    data: Tensor, use: Use, reason: str
) -> None:
    given = one(data, use)
    (line,) = report(given, compress(given, preset_recipe("deep", prune=0.2)))
    assert reason in line.reason
    assert line.left_alone
    assert line.error == 0


def test_the_report_tells_what_was_done_and_the_largest_error() -> None:
    given = model()
    coded = compress(given, preset_recipe("int8"))
    lines = report(given, coded)
    assert [line.name for line in lines] == [t.name for t in given.tensors]
    first = lines[0]
    assert (first.op, first.role, first.parameters) == ("Conv", "weight", 24 * 8 * 9)
    assert (first.done, first.reason) == ("int8 per channel", "")
    back = expand_tensor(coded.tensors[0]).astype(np.float64)
    wrong = np.abs(given.tensors[0].data.astype(np.float64) - back)
    assert first.error == float(wrong.max())
    assert lines[1].done == "exact"


def test_a_tensor_without_a_use_is_not_a_weight() -> None:
    given = Model((tensor(weights(64, 64), "table"),))
    assert unchanged(given, preset_recipe("int8")) == ["table"]
    (line,) = report(given, compress(given, preset_recipe("int8")))
    assert (line.op, line.role, line.reason) == ("", "other", "not a weight")


def test_rules_change_single_layers() -> None:
    rules = (Rule("conv.*", {"method": "exact"}), Rule("fc.*", {"bits": 2}))
    coded = compress(model(), Recipe(rules=rules))
    conv, dense = coded.tensors[0], coded.tensors[3]
    assert conv.exact
    assert isinstance(dense.values, Codebook)
    lines = report(model(), coded)
    assert lines[0].reason == "the recipe says exact"
    assert lines[3].done.startswith("codebook of ")


def test_a_pattern_that_matches_no_tensor_is_an_error() -> None:
    with pytest.raises(ConvertError, match=r"'nope\*' matches no tensor"):
        compress(model(), Recipe(rules=(Rule("nope*", {"bits": 4}),)))


def test_progress_names_each_tensor_and_the_end() -> None:
    seen: list[tuple[str, int, int]] = []
    compress(model(), preset_recipe("int8"), progress=lambda *step: seen.append(step))
    assert seen[0] == ("conv.weight", 1, 6)
    assert seen[-1] == ("", 6, 6)
    assert [done for _, done, _ in seen] == [1, 2, 3, 4, 5, 6, 6]


def test_empty_and_scalar_tensors_pass() -> None:
    for data in (np.zeros((0, 3)), np.float32(3)):
        assert unchanged(one(tensor(data)), preset_recipe("int8")) == ["w"]
