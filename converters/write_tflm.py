"""Write a model for TFLite Micro alone: weights stay encoded in flash until their layer runs.

Format: a .tflite with custom operators TFLM_DECODE (tflm_codes.py); the application registers them
with `AddDecode`, and the arena holds what is decoded for one layer. LiteRT does not run such files.
Sisters: tflm_plan.py (which weights, and how), tflm_check.py (what is written is decoded before it
is given away), write_tflite.py (the same model in plain numbers).
"""

from __future__ import annotations

from pathlib import Path

from dcformat.errors import ConvertError, CorruptError, DcfError
from dcformat.files import atomic_output
from dcformat.formats import Made, Writer
from dcformat.model import Model

from .tflite_schema import parse
from .tflm_arena import Arena, measure, need_runtime
from .tflm_check import decoded_of
from .tflm_plan import Encoded, choose, decoded_by, insert, most_at_once
from .tflm_scales import for_micro
from .tflm_tree import bytes_of, tree_of
from .write_tflite import plain_bytes

_KINDS = ("LUT", "Huffman", "prune")


def write(model: Model, path: Path, *, arena: bool = False) -> Made:
    """Write `model` for TFLite Micro, whole or not at all; `arena` measures what it takes to run.

    Raises ConvertError where the model has no TFLite graph, where it holds what is not known here,
    or where no weight would take fewer bytes; and where the arena cannot be measured here.
    """
    path = Path(path)
    try:
        if arena:
            need_runtime()
        plain = plain_bytes(model)
        data, encoded = encode(plain)
        measured = measure(for_micro(plain), data) if arena else None
        with atomic_output(path) as stream:
            stream.write(data)
    except DcfError as error:
        raise error.at(str(path)) from error.__cause__
    return _made(path, data, encoded, measured)


def encode(plain: bytes) -> tuple[bytes, list[Encoded]]:
    """Return a .tflite whose weights are encoded, and which; ConvertError where none is smaller."""
    plain = for_micro(plain)
    encoded = choose(parse(plain), plain)
    if not encoded:
        raise ConvertError(
            "no weight takes fewer bytes in TFLite Micro's encodings: they are for few distinct "
            "values (128 at most), many zeros, or skewed int8"
        )
    root = tree_of(plain)
    insert(root, encoded)
    data = bytes_of(root)
    if decoded_of(data) != decoded_by(encoded):
        raise CorruptError("a weight is not decoded to what it was")
    return data, encoded


def _made(path: Path, data: bytes, encoded: list[Encoded], measured: Arena | None) -> Made:
    before = sum(len(one.raw) for one in encoded)
    after = sum(len(one.coded.encoded) + len(one.coded.ancillary) for one in encoded)
    counts = [(kind, sum(one.coded.kind == n for one in encoded)) for n, kind in enumerate(_KINDS)]
    how = ", ".join(f"{kind} ({count})" for kind, count in counts if count)
    arena = most_at_once(encoded)
    rows = (
        ("decoded", f"{len(encoded)} weights of {before:,} B in {after:,} B: {how}"),
        ("arena", f"{arena:,} B for the decoded weights of one layer, beside activations"),
        *([measured.row] if measured else ()),
    )
    facts = {"decoded_tensors": len(encoded), "decoded_bytes": before, "encoded_bytes": after}
    more = measured.facts if measured else {}
    return Made((path,), len(data), rows, {**facts, "arena_bytes": arena, **more})


WRITER = Writer("tflm", (".tflm",), write, options=("arena",), scaled=True)
