"""What is in a foreign model, and what dcconvert would make of it: by running the encoder.

Sisters: tools/dcaudit.py, tools/_convert.py (which does the same to write a file)
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dcformat import api
from dcformat.compress import compress, preset_recipe
from dcformat.converters.onnx_skeleton import uses_of_file
from dcformat.converters.tflite_skeleton import is_tflite, parts_of, uses_of_tflite
from dcformat.encode import Settings, encode_to
from dcformat.errors import DcfError
from dcformat.file import File, load
from dcformat.formats import reader_for
from dcformat.ids import BITS
from dcformat.model import Model, Use
from dcformat.scaled import real, with_scales
from dcformat.tools._audit_json import Document
from dcformat.tools._plan import DCF, STANDARD, Job, opened, starts_with_magic
from dcformat.tools._terminal import Tick


@dataclass(frozen=True)
class Subject:
    """What is audited. `source` and `estimate` are None where it is a .dcf itself."""

    name: str
    file: File
    model: Model | None = None
    source: Document | None = None
    estimate: Document | None = None

    @property
    def uses(self) -> dict[int, Use]:
        """What the graph uses the file's records for."""
        if self.model is None:
            return uses_of(self.file)
        known = (self.model.uses.get(tensor.name) for tensor in self.model.tensors)
        return {i: use for i, use in enumerate(known) if use is not None and use.op}


@contextmanager
def subject_of(path: str, kind: str | None, preset: str, tick: Tick) -> Iterator[Subject]:
    """Give what `path` names; a foreign model stays open, as its numbers are read from it.

    `kind` is --from. Raises DcfError.
    """
    if kind is None and (path == STANDARD or Path(path).suffix.lower() == f".{DCF}"):
        kind = DCF
    if kind == DCF or (kind is None and starts_with_magic(path)):
        yield Subject(path, load(path))
        return
    named = kind or reader_for(Path(path)).format
    with opened(Job(path, "", named, DCF), sys.stdin.buffer) as place:
        yield _made(path, api.read(place, named), preset, tick)


def _made(path: str, model: Model, preset: str, tick: Tick) -> Subject:
    """Return what dcconvert with its defaults makes of a model."""
    recipe = preset_recipe(preset)
    coded = with_scales(compress(model, recipe, progress=tick), model.scales)
    stream = io.BytesIO()
    encode_to(stream, coded, Settings(target=recipe.target), tick)
    stem = "stdin" if path == STANDARD else Path(path).stem
    source: Document = {
        "name": path,
        "format": model.source.format,
        "bytes": model.source.file_bytes,
        "tensors": len(model.tensors),
        "packed_bytes": sum(-(-t.size * BITS[t.dtype] // 8) for t in model.tensors),
    }
    source["parts"] = _parts(model)
    says = f"what dcconvert --preset {preset} makes of it; the encoder was run, nothing was written"
    estimate = {"preset": preset, "says": says}
    return Subject(f"{stem}.{DCF}", File(stream.getbuffer()), real(model), source, estimate)


def _parts(model: Model) -> list[Document]:
    """Return what the bytes of a foreign file are, where that is known."""
    if model.graph is None or not is_tflite(model.graph):
        return []
    found = parts_of(model.graph, [tensor.size for tensor in model.tensors])
    return [{"part": part, "bytes": size} for part, size in found.items()]


def uses_of(file: File) -> dict[int, Use]:
    """Return what the graph of a file uses its records for."""
    try:
        graph = file.graph
    except DcfError:  # the audit says so
        return {}
    return uses_of_tflite(file) if is_tflite(graph) else uses_of_file(file)
