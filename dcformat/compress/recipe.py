"""What to do to a network's numbers, and to which: presets, settings, TOML files, JSON.

README shows a recipe file; the JSON form travels in section META (spec/DCF.md, key RECIPE), so
that a verifier can do the same again.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from dcformat.errors import ConvertError

from .settings import (
    CHECKS,
    CHECKS_OF_LAYERS,
    OF_A_METHOD,
    PRESETS,
    Settings,
    asks_to_prune,
    check,
    check_settings,
    check_stated,
)

_VERSION = 1
_MAX_FILE = 1 << 20


@dataclass(frozen=True)
class Rule:
    """Settings for the tensors whose name matches the glob `match`."""

    match: str
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Recipe(Settings):
    """Settings for a whole network, and rules for some of its tensors.

    `method` and `target` follow from `preset` where they are not given: "lossless" is for
    hosts, the others for microcontrollers. Of the rules that match a tensor, the last that
    states a setting wins. `equalize`: first make the ranges of channels between layers equal, as
    equalize.py does; `bias_correction`: at last correct biases, as bias.py does; `shrink`:
    afterwards take filters of zeros out of the graph, which api.py and the commands do
    (formats.shrink), not this folder.
    `origin` is the file that errors name; it is not part of the value, nor is `evidence`, what was
    measured (JSON) of the numbers whose content id is `evidence_of`.
    `calibration` is the SHA-256 of the data that feedback and biases are made from, or
    "synthetic".
    Raises ConvertError if a setting is unknown, out of range or contradicts another.
    """

    method: str = ""
    preset: str = "int8"
    target: str = ""
    equalize: bool = False
    bias_correction: bool = False
    shrink: bool = False
    calibration: str = ""
    rules: tuple[Rule, ...] = ()
    origin: str = field(default="", compare=False)
    evidence: str = field(default="", compare=False)
    evidence_of: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        check(self.preset, "preset", self.origin)
        derived = {
            "method": self.method or PRESETS[self.preset],
            "target": self.target or ("host" if self.preset == "lossless" else "mcu"),
        }
        for key, value in derived.items():
            object.__setattr__(self, key, value)
        for key in CHECKS:
            check(getattr(self, key), key, self.origin)
        object.__setattr__(self, "prune", float(self.prune))
        _check_together(self)

    def settings_for(self, name: str) -> Settings:
        """Return what the recipe says about the tensor `name`.

        A rule that states another method starts without what was said of the one before. Raises
        ConvertError where what comes together does not go together.
        """
        stated = {f.name: getattr(self, f.name) for f in fields(Settings)}
        for rule in self.rules:
            if fnmatchcase(name, rule.match):
                if rule.settings.get("method", stated["method"]) != stated["method"]:
                    stated.update(OF_A_METHOD)
                stated.update(rule.settings)
                if "prune" in rule.settings:
                    stated.update(prune_scope="layer")  # a share of its own
        if stated["method"] == "int8" and stated["bits"] not in (None, 8):
            stated["method"] = "codebook"
        if stated["levels"] == "auto" and self.target == "host":
            stated["levels"] = "float"
        settings = Settings(**stated)
        if settings.method != "exact":
            check_settings(settings, _place(self.origin or "recipe", f"tensor {name!r}"))
        return settings

    def check_matches(self, names: Iterable[str]) -> None:
        """Raise ConvertError if a rule's pattern matches none of `names`."""
        known = tuple(names)
        for at, rule in enumerate(self.rules):
            if not any(fnmatchcase(name, rule.match) for name in known):
                problem = f"match = {rule.match!r} matches no tensor of the model"
                raise ConvertError(problem, place=_place(self.origin, f"layer {at + 1}"))


def preset_recipe(preset: str = "int8", **settings: Any) -> Recipe:
    """Return the recipe of a preset with settings changed; ConvertError says what is allowed."""
    return _recipe({"preset": preset} | settings, "")


def with_settings(recipe: Recipe, **settings: Any) -> Recipe:
    """Return `recipe` with settings changed; what follows from the preset follows the new one."""
    stated = _minimal(recipe) | settings
    changed = _recipe(stated, recipe.origin)
    said, of = recipe.evidence, recipe.evidence_of
    return replace(changed, rules=recipe.rules, evidence=said, evidence_of=of)


def without_feedback(recipe: Recipe) -> Recipe:
    """Return `recipe` as it is followed without calibration data: every weight for itself."""
    plain = {"feedback": False, "prune_by": "magnitude"}
    rules = [
        Rule(r.match, {key: plain.get(key, value) for key, value in r.settings.items()})
        for r in recipe.rules
    ]
    return replace(recipe, rules=tuple(rules), prune_by="magnitude", bias_correction=False)


def read_recipe(path: str | Path) -> Recipe:
    """Read a TOML recipe: `version = 1`, `[defaults]` and any number of `[[layer]]`.

    Raises ConvertError, naming the file and the key, if it cannot be read or used.
    """
    origin = str(path)
    table = parse_toml(Path(path), origin, "recipe")
    _check_keys(table, ("version", "evidence", "evidence_of", "defaults", "layer"), origin)
    if table.get("version") != _VERSION or isinstance(table["version"], bool):
        raise ConvertError(f"expected version = {_VERSION}", place=origin)
    defaults, layers = table.get("defaults", {}), table.get("layer", [])
    if not isinstance(defaults, dict) or not isinstance(layers, list):
        raise ConvertError("defaults is written [defaults], layer [[layer]]", place=origin)
    said = {key: table.get(key, "") for key in ("evidence", "evidence_of")}
    if not all(isinstance(text, str) for text in said.values()):
        raise ConvertError("evidence and evidence_of are texts", place=origin)
    return replace(_recipe(defaults, origin, "defaults", layers), **said)


def recipe_json(recipe: Recipe) -> str:
    """Return the shortest canonical JSON of a recipe: what differs from its preset, ASCII."""
    stated, layers = stated_settings(recipe)
    if layers:
        stated["layers"] = layers
    return json.dumps(stated, separators=(",", ":"))


def stated_settings(recipe: Recipe) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the settings that differ from the preset's, and those of each rule."""
    rules = [{"match": r.match} | _ordered(r.settings) for r in recipe.rules]
    return _minimal(recipe), rules


def recipe_from_json(text: str) -> Recipe:
    """Return the recipe that `recipe_json` wrote; ConvertError if it is none."""
    try:
        stated = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConvertError("not JSON", place="recipe") from error
    if not isinstance(stated, dict) or not isinstance(stated.get("layers", []), list):
        raise ConvertError("not a recipe", place="recipe")
    layers = stated.pop("layers", [])
    return _recipe(stated, "recipe", layers=layers)


def _recipe(stated: Mapping[str, Any], origin: str, part: str = "", layers: Any = ()) -> Recipe:
    """Return the recipe of checked tables."""
    _check_keys(stated, _DEFAULTS, _place(origin, part))
    check_stated(stated, _place(origin, part))
    if len(layers) > MAX_RULES:
        raise ConvertError(f"{len(layers)} layers, at most {MAX_RULES}", place=_place(origin, part))
    rules = tuple(_rule(layer, _place(origin, f"layer {i + 1}")) for i, layer in enumerate(layers))
    return Recipe(**stated, rules=rules, origin=origin)


def _rule(layer: Any, place: str) -> Rule:
    if not isinstance(layer, dict) or not isinstance(layer.get("match"), str):
        raise ConvertError("a layer needs match = a pattern of tensor names", place=place)
    settings = {key: value for key, value in layer.items() if key != "match"}
    _check_keys(layer, ("match", *_PER_LAYER), place)
    check_stated(settings, place)
    if settings.get("method") == "exact" and _is_lossy(settings):
        raise ConvertError('method = "exact" leaves nothing to prune or bits', place=place)
    if (settings.get("method") == "grid") != ("step" in settings):
        raise ConvertError('method = "grid" and step = a number go together', place=place)
    if settings.get("feedback") and not {"step", "fraction"} & set(settings):
        raise ConvertError("feedback is for a step or a fraction", place=place)
    return Rule(layer["match"], settings)


def parse_toml(path: Path, origin: str, kind: str) -> dict[str, Any]:
    """Return the TOML file `path`; messages call it `origin`, and a `kind`."""
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_FILE + 1)
        if len(data) > _MAX_FILE:
            raise ConvertError(f"a {kind} has at most {_MAX_FILE} bytes", place=origin)
        return _loads(data.decode())
    except OSError as error:
        raise ConvertError(error.strerror or "cannot be read", place=origin) from error
    except (ValueError, RecursionError) as error:  # not UTF-8, or not TOML
        reason = " ".join(str(error).split())
        raise ConvertError(f"not a TOML {kind}: {reason}", place=origin) from error


def _minimal(recipe: Recipe) -> dict[str, Any]:
    """Return the settings that differ from those of the preset, and the preset."""
    plain = Recipe(preset=recipe.preset)
    differ = {k: getattr(recipe, k) for k in _DEFAULTS if getattr(recipe, k) != getattr(plain, k)}
    return {"preset": recipe.preset} | differ


def _ordered(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: settings[key] for key in _PER_LAYER if key in settings}


def _check_together(recipe: Recipe) -> None:
    """Refuse settings that contradict each other."""
    place = recipe.origin
    if recipe.preset == "lossless":
        lossy = [r.match for r in recipe.rules if _is_lossy(r.settings)]
        for key in ("equalize", "bias_correction", "shrink"):
            if getattr(recipe, key):
                raise ConvertError(f"{key} changes numbers, preset lossless none", place=place)
        if recipe.method != "exact" or lossy:
            where = f" (layer {lossy[0]!r})" if lossy else ""
            problem = f"preset lossless changes no number, but the recipe asks for it{where}"
            raise ConvertError(problem, place=place)
    if recipe.method == "exact" and (recipe.prunes or recipe.bits is not None):
        raise ConvertError("prune and bits are for weights that are not exact", place=place)
    if recipe.method == "grid":
        raise ConvertError('method = "grid" is for single layers, each has a step', place=place)
    if recipe.method == "int8" and recipe.bits not in (None, 8):
        raise ConvertError("bits is for codebooks (preset deep): int8 has 8", place=place)
    if recipe.method != "exact":
        check_settings(recipe, place)


def _is_lossy(settings: Mapping[str, Any]) -> bool:
    asked = asks_to_prune(settings) or settings.get("bits") is not None
    return bool(asked) or settings.get("method", "exact") != "exact"


def _loads(text: str) -> dict[str, Any]:
    """Parse TOML: by the standard library, on Python 3.10 by tomli, imported when needed only."""
    if sys.version_info >= (3, 11):
        import tomllib  # noqa: PLC0415
    else:
        import tomli as tomllib  # noqa: PLC0415
    return tomllib.loads(text)


def _check_keys(stated: Iterable[str], allowed: tuple[str, ...], place: str) -> None:
    for key in stated:
        if key not in allowed:
            raise ConvertError(f"unknown key {key!r}; allowed: {', '.join(allowed)}", place=place)


def _place(origin: str, part: str) -> str:
    return " / ".join(p for p in (origin, part) if p)


_DEFAULTS = tuple(CHECKS)
MAX_RULES = 1000  #: layers of a recipe: work is rules times tensors
#: Not of single layers.
_OF_ALL = (
    "preset",
    "target",
    "calibration",
    "prune_scope",
    "equalize",
    "bias_correction",
    "shrink",
)
_PER_LAYER = tuple(key for key in CHECKS_OF_LAYERS if key not in _OF_ALL)
