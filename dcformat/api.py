"""The functions that a user finds in a minute; `dcformat` re-exports them."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from . import formats
from .checks import Report
from .coded import CodedModel, expand
from .compress import Recipe, preset_recipe, recipe_from_json, with_settings
from .compress import compress as run_stages
from .encode import Progress, Settings, encode_to
from .errors import ConvertError
from .files import atomic_output
from .formats import Made
from .ids import Meta
from .model import Model
from .scaled import real, with_integers, with_scales
from .verify import verify as run_checks

LOG = logging.getLogger("dcformat")


def read(path: str | Path, format: str | None = None, **options: Any) -> Model:
    """Read a foreign model, by suffix or as `format`; its first bytes are checked.

    Large tensors stay in the file until their numbers are asked for: it must be there, unchanged.
    What stays in the graph is logged (logger "dcformat", level INFO). Of `options` the networks
    released with Deep Compression (.net) have `prototxt`, the file that has their layers. Raises
    ConvertError with one line that names the file and the reason.
    """
    source = Path(path)
    reader = formats.reader_for(source, format)
    _check_known(options, reader.options, f"reading {reader.format}", path)
    try:
        with source.open("rb") as stream:
            head = stream.read(4096)
    except OSError as error:
        raise ConvertError(f"cannot read: {error.strerror}", place=str(path)) from error
    if not reader.accepts(head):
        reason = f"does not look like {reader.format}"
        words = reader.explain(head)
        raise ConvertError(f"{reason}: {words}" if words else reason, place=str(path))
    model = reader.read(source, **options)
    for note in model.notes:
        LOG.info("%s: %s", path, note)
    return model


def _check_known(
    options: Iterable[str], known: tuple[str, ...], doing: str, path: str | Path
) -> None:
    """Raise ConvertError for an option that a reader or writer does not have."""
    for name in options:
        if name not in known:
            raise ConvertError(f"{doing} has no option {name!r}", place=str(path))


def from_torch(
    module: Any,
    example_inputs: Any,
    *,
    kwargs: dict[str, Any] | None = None,
    dynamic_shapes: Any = None,
    opset: int | None = None,
) -> Model:
    """Take a torch.nn.Module, as it is in memory, with an ONNX graph that PyTorch makes of it.

    `example_inputs` is what the module is called with: a tensor or a tuple; `kwargs` and
    `dynamic_shapes` are those of torch.onnx.export, `opset` the ONNX version. Dropout and norms are
    as in evaluation; the module stays as it was. Names and bits of parameters are the module's.
    Raises ConvertError with the exporter's reason. Needs PyTorch: pip install 'dcformat[torch]'.
    """
    options = {"kwargs": kwargs, "dynamic_shapes": dynamic_shapes, "opset": opset}
    return formats.taker_for("torch")(module, example_inputs, **options)


def write(
    model: Model | CodedModel, path: str | Path, format: str | None = None, **options: Any
) -> Made:
    """Write a model in a foreign format, by suffix or as `format`, whole or not at all.

    Of `options` ONNX has `external`: the numbers stand in a second file, named as the first one and
    `.data`. A model above 2 GiB can only be written so. TFLite has, for models with an ONNX graph,
    `batch`, `shape`, `weights` and `ranges` (converters/tflite_out.py, Wanted). C is written of a
    CodedModel (of a Model every bit is kept); its options are those of converters/write_c.py.
    Raises ConvertError.
    """
    writer = formats.writer_for(Path(path), format)
    _check_known(options, writer.options, f"writing {writer.format}", path)
    outputs = [path, f"{path}.data"] if options.get("external") else [path]
    check_apart(model.files, [*outputs, *writer.beside(Path(path))])
    made = writer.write(_as_taken(model, writer), Path(path), **options)
    return made or Made(tuple(map(Path, outputs)))


def _as_taken(model: Model | CodedModel, writer: formats.Writer) -> Model | CodedModel:
    """Return the model as the writer takes it: with or without chosen numbers."""
    if writer.coded:
        return compress(model, "lossless") if isinstance(model, Model) else model
    if writer.scaled:
        return with_integers(model) if isinstance(model, CodedModel) else model
    return expand(model) if isinstance(model, CodedModel) else real(model)


def check_apart(files: Iterable[Path], outputs: Iterable[str | Path]) -> None:
    """Raise ConvertError where an output is one of `files`, in which the input's numbers are."""
    theirs = {file.resolve() for file in files}
    for output in outputs:
        if str(output) != "-" and Path(output).resolve() in theirs:
            raise ConvertError("the output would replace data of the input", place=str(output))


def compress(
    model: Model,
    preset: str | Recipe = "int8",
    *,
    progress: Progress | None = None,
    jobs: int = 1,
    **settings: Any,
) -> CodedModel:
    """Choose numbers for `model` by a preset ("lossless", "int8", "deep") or a Recipe.

    `settings` are fields of the recipe: bits, prune, target, quantizer … Biases, norms and small
    tensors stay exact in every preset. The result does not depend on `jobs`, the number of
    threads. Raises ConvertError.
    """
    recipe = preset_recipe(preset) if isinstance(preset, str) else preset
    stages = with_settings(recipe, **settings)
    coded = with_scales(run_stages(model, stages, progress=progress, jobs=jobs), model.scales)
    return formats.shrink(coded).coded if stages.shrink else coded


def save(
    coded: CodedModel | Model,
    path: str | Path,
    *,
    target: str | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> int:
    """Write a `.dcf` file, whole or not at all; return its size in bytes.

    A Model is saved losslessly. `target` is "mcu", "host" or "smallest"; by default the recipe's.
    The other settings are those of `dcformat.encode.Settings`.
    """
    if isinstance(coded, Model):
        coded = compress(coded, "lossless")
    check_apart(coded.files, [path])
    chosen = Settings(target=target or recipe_target(coded), **settings)
    with atomic_output(path) as stream:
        encode_to(stream, coded, chosen, progress)
        return stream.seek(0, os.SEEK_END)


def recipe_target(coded: CodedModel) -> str:
    """Return the target that the recipe in the metadata asks for: host if lossless, else mcu."""
    try:
        text = coded.metadata.get(Meta.RECIPE, b"{}").decode()
    except UnicodeDecodeError as error:
        raise ConvertError("not UTF-8", place="recipe") from error
    return recipe_from_json(text).target


def verify(path: str | Path, against: str | Path | None = None, run: bool = False) -> Report:
    """Check a `.dcf` file (spec/DCF.md, "Full check" and "Canonical form"), and against a source.

    With `run` both models run in onnxruntime, in child processes. Nothing is raised for what the
    file says: the report does.
    """
    return run_checks(path, against=against, run=run)
