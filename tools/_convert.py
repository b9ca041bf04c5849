"""One conversion: read, compress or expand, write; and what there is to say of it.

Spec: spec/DCF.md.    Sisters: tools/dcconvert.py (the command), tools/_summary.py (its words)
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from dcformat import api, formats
from dcformat.coded import CodedModel
from dcformat.compress import Line, Recipe, assumptions, report, uses_of
from dcformat.encode import Settings, encode_to
from dcformat.errors import ConvertError
from dcformat.file import File, load, model_of
from dcformat.files import atomic_output, scratch_folder
from dcformat.formats import Made, Shrunk
from dcformat.ids import BITS, GraphFormat, Section
from dcformat.model import Model
from dcformat.scaled import real, with_integers
from dcformat.tools._chosen import Choice, Data
from dcformat.tools._plan import DCF, STANDARD, Job, opened, output_folder
from dcformat.tools._ranges import ranges_of
from dcformat.tools._search_goal import FixedGoal, Goal, Measured
from dcformat.tools._search_plot import Curves
from dcformat.tools._terminal import Tick


@dataclass(frozen=True)
class Wishes:
    """What the command line asks for, beside the files.

    `target` is None where the recipe (or, for a .dcf, the one noted in it) decides. `writing` are
    options of the output's writer, `reading` of the input's reader; `goal` is what to search for,
    with `data`, or `fixed`.
    """

    recipe: Recipe
    goal: Goal | None = None
    fixed: FixedGoal | None = None
    data: Data = field(default_factory=Data)
    target: str | None = None
    prefer: str = "size"
    row_access: bool = False
    names: bool = True
    graph: bool = True
    jobs: int = 1
    writing: Mapping[str, Any] = field(default_factory=dict)
    integer: bool = False
    reading: Mapping[str, Any] = field(default_factory=dict)

    def settings(self, target: str) -> Settings:
        """Return the encoder's settings for `target`."""
        return Settings(
            target=self.target or target,
            prefer=self.prefer,
            row_access=self.row_access,
            jobs=self.jobs,
            names=self.names,
            graph=self.graph,
        )


@dataclass(frozen=True)
class Outcome:
    """What was made of one input; sizes in bytes, `source` that of the input.

    `weights` is what the tensors take as the source's types pack them. `lines` say what was done
    to each tensor, `notes` what the source or the output does not tell. `sections` are the stored
    sizes of a .dcf. `assumed` counts tensors by what was assumed of them, where no graph told.
    `made` is what a writer of several files says; `stored` is then what they take in flash.
    `files` are those beside the input in which some of its numbers are; `measured` is what a
    search found, `curves` what it drew. `row_cost` are the bytes that it takes to make every row
    decodable alone, None where that was not asked for. `shrunk` is what left the graph.
    """

    job: Job
    tensors: int
    layers: int | None
    weights: int
    source: int
    stored: int
    sections: dict[str, int] = field(default_factory=dict)
    lines: tuple[Line, ...] = ()
    notes: tuple[str, ...] = ()
    assumed: dict[str, int] = field(default_factory=dict)
    made: Made | None = None
    files: tuple[Path, ...] = ()
    measured: Measured | None = None
    curves: Curves | None = None
    row_cost: int | None = None
    shrunk: Shrunk | None = None

    @property
    def worst(self) -> Line | None:
        """The tensor with the largest error, None where nothing was compressed."""
        return max(self.lines, key=lambda line: line.error, default=None)


def convert(job: Job, wishes: Wishes, tick: Tick) -> Outcome:
    """Do one job. Raises DcfError; then there is no output, and an older one is unchanged."""
    _expect_large_blocks()
    with opened(job, sys.stdin.buffer) as path:
        if job.source_format == DCF:
            return _from_dcf(job, load(path), wishes, tick)
        model = api.read(path, job.source_format, **wishes.reading)
        api.check_apart(model.files, job.outputs)
        if job.chooses:  # the numbers are still in the file
            return _compress(job, path, model, wishes, tick)
        return _write_foreign(job, model, model.source.file_bytes, wishes)


def _expect_large_blocks() -> None:
    """Let glibc's malloc see that blocks of megabytes come and go, so that it keeps them.

    It learns from the first that is given back; else each piece of a tensor is new, zeroed pages
    from the system, which takes half of the time. Nothing is touched; elsewhere nothing happens.
    """
    np.empty(31 << 20, np.uint8)


def _compress(job: Job, path: Path, model: Model, wishes: Wishes, tick: Tick) -> Outcome:
    settings = wishes.settings(wishes.recipe.target)
    choice = Choice(path, model, wishes.recipe, settings, wishes.data, wishes.goal, wishes.fixed)
    chosen = choice.make(tick)
    coded = chosen.coded
    shrunk = formats.shrink(coded) if chosen.recipe.shrink else None
    outcome = _store(job, shrunk.coded if shrunk else coded, wishes, wishes.recipe.target, tick)
    return replace(
        outcome,
        layers=_layers(model),
        weights=_weights(model),
        source=model.source.file_bytes,
        lines=report(model, coded, wishes.jobs),
        notes=model.notes,
        assumed=assumptions(model, wishes.recipe),
        files=model.files,
        measured=chosen.measured,
        curves=chosen.curves,
        shrunk=shrunk,
    )


def _from_dcf(job: Job, file: File, wishes: Wishes, tick: Tick) -> Outcome:
    if not job.chooses:
        return _write_foreign(job, _dense(job, file), file.size, wishes)
    if job.output_format == DCF:
        _check_rewritable(job, file)
    coded = file.coded_model()
    outcome = _store(job, coded, wishes, api.recipe_target(coded), tick)
    return replace(outcome, source=file.size)


def _dense(job: Job, file: File) -> Model:
    """Return the model; its integers as such where they can be written so."""
    graph = file.graph
    if job.writer and job.writer.scaled and graph and graph.format == GraphFormat.ONNX:
        return with_integers(file.coded_model())
    return model_of(file)


def _check_rewritable(job: Job, file: File) -> None:
    file.check_rewritable()
    if not file.opened.container.has(Section.NAMES) and file.names:
        reason = "its names were left out, and with them what a new file needs"
        raise ConvertError(f"cannot be written again: {reason}", place=job.source)


def _store(job: Job, coded: CodedModel, wishes: Wishes, target: str, tick: Tick) -> Outcome:
    """Write a coded model, as a .dcf or as what the output's writer makes of it."""
    outcome = Outcome(
        job, tensors=len(coded.tensors), layers=None, weights=_weights(coded), source=0, stored=0
    )
    settings = wishes.settings(target)
    if settings.row_access:
        outcome = replace(outcome, row_cost=_row_cost(coded, settings))
    if job.output_format == DCF:
        stored, sections = _encode(job, coded, settings, tick)
        return replace(outcome, stored=stored, sections=sections)
    with output_folder(job):
        made = api.write(
            coded, job.output, job.output_format, settings=settings, progress=tick, **wishes.writing
        )
    return replace(outcome, stored=made.stored, made=made)


def _write_foreign(job: Job, model: Model, source: int, wishes: Wishes) -> Outcome:
    with scratch_folder() as folder, output_folder(job):
        plain = job.output != STANDARD and not is_special(job.output)
        path = Path(job.output) if plain else folder / f"output.{job.output_format}"
        options: dict[str, Any] = {"external": True} if job.external else {}
        if wishes.integer and wishes.data.calib is not None:
            options["ranges"] = ranges_of(model, wishes.data.calib)
        made = api.write(model, path, job.output_format, **options, **wishes.writing)
        stored = sum(Path(one).stat().st_size for one in (job.outputs if plain else [path]))
        if not plain:
            _pour(path, job.output)
    return Outcome(
        job,
        tensors=len(model.tensors),
        layers=_layers(model) if model.uses else None,
        weights=_weights(real(model)),
        source=source,
        stored=stored,
        notes=model.notes + formats.writer_for(path, job.output_format).remarks(model),
        made=made if made.rows else None,
        files=model.files,
    )


def is_special(path: str) -> bool:
    """Tell whether `path` is there and is no ordinary file: a pipe or a device."""
    return Path(path).exists() and not Path(path).is_file()


def _pour(path: Path, output: str) -> None:
    with path.open("rb") as source, atomic_output(output) as sink:
        shutil.copyfileobj(source, sink)


def _encode(
    job: Job, coded: CodedModel, settings: Settings, tick: Tick
) -> tuple[int, dict[str, int]]:
    """Write a .dcf; return its size, and the sizes of its sections and of what is left of it."""
    with output_folder(job), atomic_output(job.output) as stream:
        found = encode_to(stream, coded, settings, tick)
        size = stream.seek(0, os.SEEK_END)
    sizes = {section.name.lower(): stored for section, stored in found.items()}
    return size, {**sizes, "frame": size - sum(sizes.values())}


def _row_cost(coded: CodedModel, settings: Settings) -> int:
    """Return by how many bytes a file grows if every row is a block."""
    sizes = []
    with scratch_folder() as folder:
        for row_access in (False, True):
            with (folder / "size.dcf").open("w+b") as stream:
                encode_to(stream, coded, replace(settings, row_access=row_access))
                sizes.append(stream.seek(0, os.SEEK_END))
    plain, by_rows = sizes
    return by_rows - plain


def _layers(model: Model) -> int:
    """Return how many nodes of the graph have weights."""
    return len({use.node for use in uses_of(model).values() if use.role == "weight"})


def _weights(model: Model | CodedModel) -> int:
    """Return the bytes of all tensors, each packed as its type is in a foreign file."""
    return sum(-(-tensor.size * BITS[tensor.dtype] // 8) for tensor in model.tensors)
