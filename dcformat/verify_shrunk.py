"""Does a file whose graph was shrunk hold what its source and its recipe say?

Its tensors are fewer and smaller than the source's, so the recipe is followed again, and filters
are taken out again: that gives the same file. Sister: dcformat/verify_source.py
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from . import formats
from .checks import Check, failed, skipped, verdict
from .coded import CodedModel, expand
from .compress import Recipe, compress
from .errors import DcfError
from .file import File
from .files import scratch_folder
from .model import Model
from .scaled import real, with_scales
from .verify_run import check_outputs


def check_shrunk(
    file: File, path: Path, model: Model, recipe: Recipe, outputs: tuple[int, int] | None
) -> list[Check]:
    """Compare a file with the model at `path`; `outputs` is (runs, seed) where both shall run."""
    checks = [_check_again(file, model, recipe)]
    if outputs is None:
        reason = "the graph was shrunk: running both (--run) compares what it answers"
        return [*checks, skipped("outputs", reason)]
    if file.graph is None:
        return [*checks, skipped("outputs", "the graph was left out")]
    with scratch_folder() as folder:
        source, rebuilt = folder / "source.onnx", folder / "rebuilt.onnx"
        try:
            formats.writer_for(source).write(real(model), source)
            formats.writer_for(rebuilt).write(expand(file.coded_model()), rebuilt)
        except DcfError as error:
            return [*checks, failed("rebuilt", f"cannot be built back: {error.message}")]
        given = path if path.suffix == ".onnx" else source
        runs, seed = outputs
        return [*checks, check_outputs(given, rebuilt, folder, exact=False, runs=runs, seed=seed)]


def _check_again(file: File, model: Model, recipe: Recipe) -> Check:
    """Follow the recipe, and shrink: the same tensors and the same graph come out."""
    calibrated = [recipe.settings_for(tensor.name).calibrated for tensor in model.tensors]
    if recipe.bias_correction or any(calibrated):
        reason = "the graph was shrunk by a recipe that needs calibration data to be followed again"
        return skipped("tensors", reason)
    try:
        made = formats.shrink(with_scales(compress(model, recipe), model.scales))
    except DcfError as error:
        return failed("tensors", f"the recipe cannot be followed: {error.message}")
    what = f"{len(made.coded.tensors)} tensors, shrunk by {made.filters} filters and "
    detail = f"{what}{made.channels} channels: followed again, the same"
    return verdict("tensors", list(_faults(file.coded_model(), made.coded, file)), detail)


def _faults(coded: CodedModel, wanted: CodedModel, file: File) -> list[str]:
    if len(coded.tensors) != len(wanted.tensors):
        return [f"{len(coded.tensors)} in the file, {len(wanted.tensors)} once it is shrunk"]
    faults = [
        f"{mine.name}: not what the recipe gives for the source"
        for mine, got in zip(wanted.tensors, coded.tensors, strict=True)
        if mine != replace(got, name=mine.name)
    ]
    if file.graph is not None and file.graph != wanted.graph:
        faults.append("the graph is not the source's once it is shrunk")
    return faults
