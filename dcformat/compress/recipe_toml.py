"""Writing a recipe as the TOML file that `read_recipe` reads."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from .recipe import Recipe, stated_settings


def recipe_toml(recipe: Recipe) -> str:
    """Return the text of a recipe file: what differs from the preset, then each rule."""
    defaults, rules = stated_settings(recipe)
    said = {"evidence": recipe.evidence, "evidence_of": recipe.evidence_of}
    parts = [_table("", {"version": 1, **{k: v for k, v in said.items() if v}})]
    parts.append(_table("[defaults]", defaults))
    parts += [_table("[[layer]]", rule) for rule in rules]
    return "\n".join(parts)


def _table(head: str, settings: Mapping[str, Any]) -> str:
    lines = [head] if head else []
    lines += [f"{key} = {_value(value)}" for key, value in settings.items()]
    return "\n".join(lines) + "\n"


def _value(value: Any) -> str:
    """Return a number, truth or text as TOML has it."""
    if not isinstance(value, str):
        return json.dumps(value)
    text = json.dumps(value, ensure_ascii=False)  # TOML knows no surrogate pairs
    return re.sub("\x7f", r"\\u007f", text)
