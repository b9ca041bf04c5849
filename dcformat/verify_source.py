"""Does a file hold what its source says? Tensor by tensor, and everything that stayed in the graph.

Spec: spec/DCF.md ("META", "GRAPH").    Sister: dcformat/verify.py
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from . import formats
from .checks import Check, failed, passed, skipped, verdict
from .coded import Affine, CodedTensor, expand, expand_tensor, same_bits
from .compress import (
    Recipe,
    Settings,
    biases_of,
    compress,
    prepared,
    recipe_from_json,
    recipe_json,
    without_feedback,
)
from .errors import DcfError
from .file import File
from .files import scratch_folder
from .ids import WIDTH, DType, Meta, Section
from .model import Array, LayerFormat, Model, Tensor
from .scaled import real, with_scales
from .verify_run import check_outputs
from .verify_shrunk import check_shrunk

F64 = npt.NDArray[np.float64]

#: Rounding of a product in binary32, relative to the step.
_SLACK = 1e-4
#: Bytes of numbers above which nothing is built back: an ONNX file of one piece ends at 2 GiB.
MOST_REBUILT = 1 << 31


@dataclass(frozen=True)
class _Pair:
    """A tensor of the source and the same one of the file."""

    source: Tensor
    coded: CodedTensor
    back: Array

    @property
    def exact(self) -> bool:
        return same_bits(self.source.data, self.back)


def check_source(
    file: File, path: Path, outputs: tuple[int, int] | None
) -> tuple[list[Check], float | None]:
    """Compare `file` with the model at `path`; returns the checks and the largest error.

    `outputs` is (runs, seed) where both models shall also be run. Where the recipe equalizes,
    numbers are compared with the equalized ones; of a shrunk graph verify_shrunk.py tells. Raises
    ConvertError if the source cannot be read.
    """
    model = formats.reader_for(path).read(path)
    checks = [_check_digest(file, model)]
    if file.graph is not None and model.graph is None:
        why = "; ".join(model.notes) or f"{path.suffix} files have none"
        return [
            *checks,
            skipped("tensors", f"the file has a graph, the source gave none: {why}"),
        ], None
    recipe = _recipe(file)
    if recipe is not None and recipe.shrink:
        return [*checks, *check_shrunk(file, path, model, recipe, outputs)], None
    wanted = real(_prepared(file, model))
    faults, pairs = _pair(file, wanted)
    if faults:
        return [*checks, verdict("tensors", faults, "")], None
    largest = max((_error(pair) for pair in pairs), default=0.0)
    checks += _check_numbers(file, model, pairs)
    checks.append(_check_graph(file, model))
    if file.graph is not None:
        checks += _check_rebuilt(file, path, model, pairs, outputs)
    elif outputs:
        reason = "the graph was left out" if model.graph else "the source has no graph"
        checks.append(skipped("outputs", reason))
    return checks, largest


def _prepared(file: File, model: Model) -> Model:
    """Return the model as the file's recipe prepares it; as it is where that cannot be read."""
    recipe = _recipe(file)
    return model if recipe is None else prepared(model, recipe)


def _recipe(file: File) -> Recipe | None:
    """Return the file's recipe; None where it cannot be read, which the check of it says."""
    try:
        return recipe_from_json(file.metadata[Meta.RECIPE].decode())
    except (KeyError, DcfError, UnicodeDecodeError):
        return None


def _pair(file: File, model: Model) -> tuple[list[str], list[_Pair]]:
    """Put the tensors of both together: by name, or by position where names were left out.

    Returns what is not in both or has another type or shape, and the pairs.
    """
    coded = file.coded_model().tensors
    if file.opened.container.has(Section.NAMES):
        places = {tensor.name: tensor for tensor in coded}
        mine, theirs = {t.name for t in model.tensors}, set(places)
        if mine != theirs:
            lost = [f"{name}: missing in the file" for name in sorted(mine - theirs)]
            return lost + [f"{name}: not in the source" for name in sorted(theirs - mine)], []
        coded = tuple(places[tensor.name] for tensor in model.tensors)
    if len(coded) != len(model.tensors):
        return [f"{len(coded)} in the file, {len(model.tensors)} in the source"], []
    both = list(zip(model.tensors, coded, strict=True))
    faults = [
        f"{t.name}: {c.dtype.name} {c.shape} in the file, {t.dtype.name} {t.shape} in the source"
        for t, c in both
        if (t.dtype, t.shape) != (c.dtype, c.shape)
    ]
    return faults, [] if faults else [_Pair(t, c, expand_tensor(c)) for t, c in both]


def _check_digest(file: File, model: Model) -> Check:
    noted = file.metadata.get(Meta.SOURCE_SHA256)
    if noted is None:
        return skipped("source", "the file does not say which source it was made from")
    if noted != model.source.sha256:
        return failed("source", "another file than the one it was made from (SHA-256 differs)")
    return passed("source", "the one it was made from (SHA-256)")


def _error(pair: _Pair) -> float:
    """Return the largest absolute error of a tensor: 0 if its bits are the same."""
    return 0.0 if pair.exact else float(np.max(_errors(pair), initial=0.0))


def _errors(pair: _Pair) -> F64:
    """Return absolute errors in float64; infinite where only one side is a number."""
    wanted, got = _real(pair.source.data, pair.source.dtype), _real(pair.back, pair.source.dtype)
    with np.errstate(invalid="ignore"):  # infinity minus infinity is what the next line is for
        error = np.abs(wanted - got)
    same = (wanted == got) | (np.isnan(wanted) & np.isnan(got))
    return np.where(same, 0.0, np.where(np.isnan(error), np.inf, error))


def _real(data: Array, dtype: DType) -> F64:
    if dtype is DType.BFLOAT16:
        return (data.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    return data.astype(np.float64)


def _check_numbers(file: File, model: Model, pairs: list[_Pair]) -> list[Check]:
    stated = file.metadata.get(Meta.RECIPE)
    if stated is None:
        changed = [pair.source.name for pair in pairs if not pair.exact]
        faults = [f"{name}: differs, and the file states no recipe" for name in changed]
        none = verdict("recipe", faults, "none stated; no tensor differs")
        return [_check_tensors(pairs, None), none]
    try:
        recipe = recipe_from_json(stated.decode())
    except (DcfError, UnicodeDecodeError) as error:
        return [_check_tensors(pairs, None), failed("recipe", f"cannot be read: {error}")]
    return [_check_tensors(pairs, recipe), _check_recipe(file, recipe, model, pairs)]


def _check_tensors(pairs: list[_Pair], recipe: Recipe | None) -> Check:
    """Report exact tensors and errors; where the values are a grid, none exceeds half a step."""
    notes, faults, worst = [], [], (0.0, "")
    for pair in pairs:
        if pair.exact:
            continue
        name, error = pair.source.name, _error(pair)
        worst = max(worst, (error, name))
        notes.append(f"{name}: largest error {error:.6g}")
        settings = recipe.settings_for(name) if recipe is not None else Settings()
        if not settings.feedback and not _within_half_a_step(pair, settings.prunes):
            faults.append(f"{name}: an error above half a step")
    detail = f"{len(pairs) - len(notes)} of {len(pairs)} identical to the bit"
    if notes:
        detail += f"; largest error {worst[0]:.6g}, of {worst[1]}"
    return verdict("tensors", faults, detail, tuple(notes))


def _within_half_a_step(pair: _Pair, pruned: bool) -> bool:
    """Tell whether affine numbers are the nearest ones; what was pruned to zero is let pass."""
    values = pair.coded.values
    if not isinstance(values, Affine):
        return True
    step = np.abs(expand_tensor(_ones(pair.coded, values))).astype(np.float64)
    good = _errors(pair) <= step * (0.5 + _SLACK) + _rounding(pair)
    return bool(np.all(good | (pair.back == 0) if pruned else good))


def _rounding(pair: _Pair) -> F64:
    """Return what the last conversion, to the tensor's own type, may add to an error."""
    if pair.source.dtype is DType.FLOAT16:
        with np.errstate(all="ignore"):  # infinity has no spacing
            return np.abs(np.spacing(pair.back)).astype(np.float64) / 2
    if pair.source.dtype is DType.BFLOAT16:
        return np.abs(_real(pair.back, DType.BFLOAT16)) / 256
    return np.zeros(pair.back.shape)


def _ones(coded: CodedTensor, values: Affine) -> CodedTensor:
    """Return a tensor of all ones in the same scales: its elements are the steps."""
    ones = np.ones_like(coded.symbols)
    zero = replace(values, zero_point=np.zeros_like(values.zero_point))
    return replace(coded, symbols=ones, values=zero, dtype=DType.FLOAT)


def _check_recipe(file: File, recipe: Recipe, model: Model, pairs: list[_Pair]) -> Check:
    """Follow the file's recipe again: it gives the same symbols, values and formats of layers.

    What was made with calibration data, which are not here, is left out.
    """
    apart = {p.source.name for p in pairs if recipe.settings_for(p.source.name).calibrated}
    apart |= {*biases_of(model, recipe).values()}
    try:
        again = with_scales(compress(model, without_feedback(recipe)), model.scales)
    except DcfError as error:
        return failed("recipe", f"cannot be followed: {error}")
    faults = []
    for pair, wanted in zip(pairs, again.tensors, strict=True):
        if wanted.name in apart:
            continue
        if wanted != replace(pair.coded, name=wanted.name):
            faults.append(f"{pair.source.name}: not what the recipe gives for the source")
        elif wanted.exact and not pair.exact:
            faults.append(f"{pair.source.name}: changed, where the recipe keeps every bit")
    if _formats(file, file.layers) != _formats(file, again.layers):
        faults.append("fixed-point formats of layers: not what the recipe says")
    left = f", but for {len(apart)} tensors made with calibration data" if apart else ""
    return verdict("recipe", faults, f"followed again, the same{left}: {recipe_json(recipe)}")


def _formats(file: File, layers: tuple[LayerFormat, ...]) -> list[LayerFormat]:
    """Return formats of layers, without names where the file has none."""
    named = file.opened.container.has(Section.NAMES)
    return [n if named else replace(n, name="", weight=None, bias=None) for n in layers]


def _check_graph(file: File, model: Model) -> Check:
    if file.graph is None and model.graph is None:
        return skipped("same graph", "the source has none")
    if file.graph is None:
        return skipped("same graph", "it was left out" if model.graph else "the source has none")
    if file.graph != model.graph:
        return failed("same graph", "what stayed in the graph is not what the source has")
    return passed("same graph", f"{len(file.graph.data):,} B equal")


def _check_rebuilt(
    file: File, path: Path, model: Model, pairs: list[_Pair], outputs: tuple[int, int] | None
) -> list[Check]:
    """Build the foreign file back, compare it with the source, and run both if asked.

    A source of a format that is only read stands for the ONNX file that is made of it.
    """
    exact = all(pair.exact for pair in pairs) and _prepared(file, model) is model
    size = sum(pair.source.size * WIDTH[pair.source.dtype] for pair in pairs)
    if size > MOST_REBUILT:
        return [skipped("rebuilt", f"{size:,} B of numbers: more than is built back in one file")]
    with scratch_folder() as folder:
        if not formats.can_write(path):
            path = folder / "source.onnx"
            formats.writer_for(path).write(real(model), path)
        rebuilt = folder / f"rebuilt{path.suffix}"
        try:
            formats.writer_for(path).write(expand(file.coded_model()), rebuilt)
            checks = [_check_same(path, rebuilt) if exact else _check_changed(rebuilt, pairs)]
        except DcfError as error:
            return [failed("rebuilt", f"cannot be built back from the file: {error.message}")]
        if outputs:
            runs, seed = outputs
            checks.append(check_outputs(path, rebuilt, folder, exact=exact, runs=runs, seed=seed))
    return checks


def _check_same(path: Path, rebuilt: Path) -> Check:
    """Compare bytes: with the source, or with the source written by the same writer.

    The second is for sources with external data or with length prefixes longer than need be.
    """
    what, made = path.suffix.lstrip("."), rebuilt.read_bytes()
    if made == path.read_bytes():
        return passed("rebuilt", f"{what} built back is the source, byte for byte")
    whole = rebuilt.with_name(f"whole{path.suffix}")
    formats.writer_for(path).write(real(formats.reader_for(path).read(path)), whole)
    if made == whole.read_bytes():
        return passed("rebuilt", f"{what} built back is the source in one file, byte for byte")
    return failed("rebuilt", f"{what} built back is not the source")


def _check_changed(rebuilt: Path, pairs: list[_Pair]) -> Check:
    """Read what was built back: its tensors hold the file's numbers.

    Tensors that were external may be too small to leave the graph when they are read again.
    """
    places = {pair.source.name: pair for pair in pairs}
    again = real(formats.reader_for(rebuilt).read(rebuilt)).tensors
    faults = [
        f"{tensor.name}: not the numbers of the file"
        for tensor in again
        if tensor.name not in places or not same_bits(places[tensor.name].back, tensor.data)
    ]
    what = rebuilt.suffix.lstrip(".")
    return verdict(
        "rebuilt", faults, f"{what} built back holds the numbers of {len(again)} tensors"
    )
