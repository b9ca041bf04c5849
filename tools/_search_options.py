"""The options of dcconvert that ask for a search, and what they cannot be together.

Sisters: tools/dcconvert.py, tools/_search.py
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from dcformat.byte_sizes import size_of
from dcformat.tools._chosen import Data
from dcformat.tools._plan import Job
from dcformat.tools._search_goal import FixedGoal, Goal
from dcformat.tools._terminal import safe_name

SEARCH_OPTIONS = (
    *("fit", "fit_for", "max_drop", "quality", "calib", "evaluation", "metric"),
    *("save_recipe", "search_state", "plot", "fixed_point", "refine"),
)
#: Those that fixed point has, too, and those of presets that it has not.
_OF_FIXED_POINT = ("calib", "evaluation", "metric", "save_recipe", "fixed_point", "refine")
_OF_PRESETS = ("preset", "bits", "prune", "quantizer")
_PURPOSES = "--fit, --max-drop, --quality and --fixed-point"
_GOALS = ("fit", "max_drop", "quality")


def goal_of(options: Mapping[str, Any]) -> Goal | None:
    """Return what to search for, None where no option asks for it. Raises click.UsageError."""
    if all(options[name] is None for name in _GOALS):
        return None
    return Goal(
        size=None if options["fit"] is None else _size(options["fit"]),
        purpose=options["fit_for"] or "dcf",
        drop=None if options["max_drop"] is None else _drop(options["max_drop"]),
        quality=_quality(options["quality"]),
        metric=options["metric"] or "top1",
    )


def fixed_goal_of(options: Mapping[str, Any]) -> FixedGoal | None:
    if options["fixed_point"] is None:
        return None
    refine = options["refine"] is not False
    return FixedGoal(int(options["fixed_point"]), refine, options["metric"] or "top1")


def data_of(options: Mapping[str, Any]) -> Data:
    names = ("calib", "evaluation", "search_state", "save_recipe", "plot")
    return Data(*(None if options[name] is None else Path(options[name]) for name in names))


def check_search(ctx: click.Context, jobs: Sequence[Job]) -> None:
    """Refuse options of a search where there is none, and several models with one's data."""
    options = ctx.params
    given = [name for name in SEARCH_OPTIONS if options[name] is not None]
    if not given:
        return
    if len(jobs) > 1:
        raise click.UsageError(f"--{_shown(given[0])} is for one model")
    if options["fixed_point"] is not None:
        _check_fixed_point(options, given)
    elif options["refine"] is not None:
        raise click.UsageError("--refine is for --fixed-point")
    elif goal_of(options) is None:
        for name in given:
            if name != "calib":
                raise click.UsageError(f"--{_shown(name)} is for {_PURPOSES}")
    if options["fit_for"] is not None and options["fit"] is None:
        raise click.UsageError("--fit-for is for --fit")
    _check_outputs(options, jobs[0])


def _check_fixed_point(options: Mapping[str, Any], given: Sequence[str]) -> None:
    """Refuse what else would say what becomes of weights."""
    other = [name for name in _OF_PRESETS if options[name] is not None]
    other += [name for name in given if name not in _OF_FIXED_POINT]
    if other:
        raise click.UsageError(f"--{_shown(other[0])} and --fixed-point do not go together")


def _check_outputs(options: Mapping[str, Any], job: Job) -> None:
    """Refuse to write a recipe or a state in the place of another file of this run."""
    names = ("calib", "evaluation", "recipe", "save_recipe", "search_state", "plot")
    taken = [Path(one).resolve() for one in (job.source, *job.outputs)]
    for name in names:
        if options[name] is None:
            continue
        path = Path(options[name]).resolve()
        if path in taken:
            raise click.UsageError(f"--{_shown(name)} is a file that this run has already")
        taken.append(path)


def _shown(name: str) -> str:
    return "eval" if name == "evaluation" else name.replace("_", "-")


def _size(text: str) -> int:
    size = size_of(text)
    if size is None or size < 1:
        raise click.UsageError(f"--fit {safe_name(text)}: not a size like 200KiB or 80000")
    return size


def _drop(text: str) -> float:
    """Return 0.005 for "0.5%" and for "0.005"."""
    found = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)\s*(%?)", text.strip(), re.ASCII)
    if found is None:
        raise click.UsageError(f"--max-drop {safe_name(text)}: not a loss like 0.5% or 0.005")
    return float(found[1]) / (100 if found[2] else 1)


def _quality(value: float | None) -> float | None:
    if value is not None and not (math.isfinite(value) and value > 0):
        raise click.UsageError("--quality is a number of dB above 0")
    return value
