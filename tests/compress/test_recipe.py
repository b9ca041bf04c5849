"""Recipes: presets, TOML files, JSON, and errors of one line that say what is allowed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcformat.compress import recipe as recipes
from dcformat.compress import settings
from dcformat.compress.recipe import Recipe, Rule, preset_recipe, read_recipe
from dcformat.errors import ConvertError

RULES = st.builds(
    Rule,
    st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    st.fixed_dictionaries(
        {},
        optional={
            "bits": st.integers(2, 8),
            "prune": st.floats(0, 0.99),
            "method": st.sampled_from(["codebook", "affine"]),
            "requantize": st.booleans(),
        },
    ),
)


def write(folder: Path, text: str) -> Path:
    path = folder / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_presets_say_method_and_target() -> None:
    found = {p: (r.method, r.target) for p in settings.PRESETS for r in [preset_recipe(p)]}
    assert found == {
        "lossless": ("exact", "host"),
        "int8": ("int8", "mcu"),
        "deep": ("codebook", "mcu"),
    }


@pytest.mark.parametrize(
    ("recipe", "text"),
    [
        (preset_recipe("int8"), '{"preset":"int8"}'),
        (preset_recipe("lossless", target="host"), '{"preset":"lossless"}'),
        (preset_recipe("deep", prune=0.5, bits=4), '{"preset":"deep","bits":4,"prune":0.5}'),
        (
            Recipe(preset="deep", rules=(Rule("fc*", {"prune": 0.9, "bits": 4}),)),
            '{"preset":"deep","layers":[{"match":"fc*","bits":4,"prune":0.9}]}',
        ),
    ],
)
def test_json_holds_what_differs_from_the_preset(recipe: Recipe, text: str) -> None:
    assert recipes.recipe_json(recipe) == text
    assert recipes.recipe_from_json(text) == recipe


@given(
    st.lists(RULES, max_size=3).map(tuple),
    st.floats(0, 0.99),
    st.sampled_from(["", *settings.QUANTIZERS["codebook"]]),
    st.sampled_from(settings.TARGETS),
)
def test_json_brings_every_recipe_back(
    rules: tuple[Rule, ...], prune: float, quantizer: str, target: str
) -> None:
    recipe = Recipe(preset="deep", rules=rules, prune=prune, quantizer=quantizer, target=target)
    text = recipes.recipe_json(recipe)
    assert text.isascii()
    assert recipes.recipe_from_json(text) == recipe
    assert recipes.recipe_json(recipes.recipe_from_json(text)) == text


def test_the_last_match_that_states_a_setting_wins(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """
        version = 1
        [defaults]
        preset = "deep"
        prune = 0.5
        [[layer]]
        match = "*.weight"
        bits = 6
        quantizer = "kmeans"
        [[layer]]
        match = "fc?.weight"
        bits = 4
        """,
    )
    recipe = read_recipe(path)
    dense, conv = recipe.settings_for("fc1.weight"), recipe.settings_for("conv.weight")
    assert (dense.bits, dense.quantizer, dense.prune) == (4, "kmeans", 0.5)
    assert (conv.bits, conv.quantizer, conv.prune) == (6, "kmeans", 0.5)
    assert recipe.settings_for("fc1.bias").bits is None


def test_a_rule_with_fewer_bits_than_8_asks_for_a_codebook() -> None:
    recipe = Recipe(rules=(Rule("fc*", {"bits": 4}), Rule("fc2", {"bits": 8})))
    found = [recipe.settings_for(name).method for name in ("fc1", "fc2", "conv")]
    assert found == ["codebook", "int8", "int8"]


def test_hosts_have_levels_of_the_tensors_type() -> None:
    assert preset_recipe("deep").settings_for("w").levels == "auto"
    assert preset_recipe("deep", target="host").settings_for("w").levels == "float"


def test_with_settings_follows_a_new_preset() -> None:
    changed = recipes.with_settings(preset_recipe("lossless"), preset="deep", prune=0.3)
    assert changed == preset_recipe("deep", prune=0.3)
    assert changed.target == "mcu"


def test_with_settings_keeps_what_was_stated() -> None:
    given_recipe = Recipe(preset="deep", bits=3, target="host", rules=(Rule("a", {"prune": 0.1}),))
    changed = recipes.with_settings(given_recipe, prune=0.2)
    assert (changed.bits, changed.target, changed.prune) == (3, "host", 0.2)
    assert changed.rules == given_recipe.rules


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("version = 2", ["expected version = 1"]),
        ("version = true", ["expected version = 1"]),
        ("[defaults]", ["expected version = 1"]),
        ("version = 1\nlayers = []", ["unknown key 'layers'", "evidence_of, defaults, layer"]),
        ("version = 1\n[defaults]\nbit = 3", ["defaults", "unknown key 'bit'", "bits, prune"]),
        ("version = 1\n[defaults]\nbits = 9", ["defaults", "bits = 9", "from 1 to 8, or 16"]),
        ("version = 1\n[defaults]\nbits = true", ["bits = true", "from 1 to 8, or 16"]),
        ("version = 1\n[defaults]\nbits = 4", ["bits is for codebooks", "preset deep"]),
        ("version = 1\n[defaults]\npreset = 'dep'", ['"dep"', "lossless, int8, deep"]),
        ("version = 1\n[defaults]\nprune = 1.0", ["prune = 1.0", "below 1"]),
        ("version = 1\n[defaults]\nprune = nan", ["prune = NaN", "below 1"]),
        ("version = 1\n[defaults]\npreset = ['int8']", ['["int8"]', "one of"]),
        ("version = 1\n[defaults]\nrequantize = 1", ["requantize = 1", "true or false"]),
        ("version = 1\n[[layer]]\nbits = 4", ["layer 1", "needs match"]),
        ("version = 1\n[[layer]]\nmatch = 3", ["layer 1", "needs match"]),
        ("version = 1\n[[layer]]\nmatch = 'a'\ntarget = 'mcu'", ["layer 1", "key 'target'"]),
        ("version = 1\n[layer]\nmatch = 'a'", ["[[layer]]"]),
        ("version = 1\n[[layer]]\nmatch = 'a'\nmethod = 'exact'\nprune = 0.5", ["leaves nothing"]),
        (
            "version = 1\n[[layer]]\nmatch = 'a'\nmethod = 'int8'\nbits = 4",
            ["bits = 4 for method = 'int8': expected 8"],
        ),
        (
            "version = 1\n[defaults]\npreset = 'lossless'\n[[layer]]\nmatch = 'a'\nbits = 4",
            ["lossless changes no number", "'a'"],
        ),
        ("version = 1\n[defaults]\npreset = 'lossless'\nprune = 0.5", ["prune and bits"]),
        (
            "version = 1\n[[layer]]\nmatch = 'a'\nmethod = 'fixed'\nbits = 5",
            ["layer 1", "bits = 5 for method = 'fixed'", "expected 4, 8, 16"],
        ),
        (
            "version = 1\n[[layer]]\nmatch = 'a'\nmethod = 'binary'\nbits = 1",
            ["layer 1", "bits = 1 for method = 'binary'", "it has none"],
        ),
        (
            "version = 1\n[[layer]]\nmatch = 'a'\nmethod = 'ternary'\nquantizer = 'kmeans'",
            ["layer 1", "quantizer = 'kmeans' for method = 'ternary'", "threshold, fitted"],
        ),
        (
            "version = 1\n[[layer]]\nmatch = 'a'\nmethod = 'fixed'\nzero_point = true",
            ["layer 1", "zero_point for method = 'fixed'"],
        ),
        ("version = 1\n[defaults]\nmethod = 'affine'\nbits = 1", ["bits = 1", "2, 3, 4"]),
        ("version = 1\n[defaults]\nscales = 'row'", ['scales = "row"', "channel, tensor"]),
        ("version = \n", ["not a TOML recipe"]),
        ("version = 1\n" + "x = " + "[" * 5000, ["not a TOML recipe"]),
    ],
)
def test_a_bad_recipe_is_one_line_that_names_file_and_reason(
    tmp_path: Path, text: str, words: list[str]
) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConvertError) as caught:
        read_recipe(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    assert [word for word in words if word not in message] == []


def test_a_recipe_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.toml", tmp_path):
        with pytest.raises(ConvertError, match=r"No such file|Is a directory"):
            read_recipe(path)
    (tmp_path / "latin.toml").write_bytes(b'version = 1 # \xe9"')
    with pytest.raises(ConvertError, match="not a TOML recipe"):
        read_recipe(tmp_path / "latin.toml")


def test_a_pattern_that_matches_nothing_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, 'version = 1\n[[layer]]\nmatch = "fc*"\n[[layer]]\nmatch = "cnv*"\n')
    with pytest.raises(ConvertError, match=r"layer 2: match = 'cnv\*' matches no tensor"):
        read_recipe(path).check_matches(["fc1", "conv1"])


@pytest.mark.parametrize("text", ["", "[]", "3", '{"preset":4}', '{"layers":[3]}', '{"a":1}'])
def test_json_that_is_no_recipe_is_refused(text: str) -> None:
    with pytest.raises(ConvertError):
        recipes.recipe_from_json(text)


def test_settings_from_python_are_checked_too() -> None:
    bad: list[dict[str, Any]] = [{"bit": 3}, {"prune": -0.1}, {"target": "cloud"}]
    for stated in bad:
        with pytest.raises(ConvertError):
            preset_recipe("deep", **stated)


def test_json_is_json() -> None:
    rules = (Rule('we"ird\n\u2603', {"bits": 2}),)
    stated = json.loads(recipes.recipe_json(Recipe(preset="deep", rules=rules)))
    assert stated["layers"][0]["match"] == 'we"ird\n\u2603'


def test_a_rule_with_another_method_starts_from_its_own_settings() -> None:
    recipe = preset_recipe("deep", bits=6, quantizer="kmeans", prune=0.5)
    rules = (Rule("a", {"method": "ternary"}), Rule("b", {"method": "affine", "zero_point": True}))
    found = {name: replace(recipe, rules=rules).settings_for(name) for name in "abc"}
    assert (found["a"].bits, found["a"].quantizer, found["a"].prune) == (None, "", 0.5)
    assert (found["b"].bits, found["b"].zero_point) == (None, True)
    assert (found["c"].bits, found["c"].quantizer) == (6, "kmeans")


def test_settings_that_only_together_make_no_sense_name_the_tensor() -> None:
    rules = (Rule("a*", {"method": "ternary"}), Rule("*b", {"bits": 4}))
    recipe = Recipe(rules=rules, origin="r.toml")
    with pytest.raises(ConvertError, match=r"r\.toml / tensor 'ab'.*bits = 4.*'ternary'"):
        recipe.settings_for("ab")
    assert recipe.settings_for("a").method == "ternary"
