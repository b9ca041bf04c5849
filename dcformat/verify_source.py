"""Does a file hold what its source says? Tensor by tensor, and everything that stayed in the graph.

Spec: spec/DCF.md ("META", "GRAPH").    Sister: dcformat/verify.py
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from . import formats
from .checks import Check, failed, passed, skipped, verdict
from .coded import Affine, CodedTensor, expand_tensor, same_bits
from .compress import compress
from .compress.recipe import recipe_from_json
from .errors import ConvertError, DcfError
from .file import File
from .ids import BITS, DType, Meta
from .model import Array, Model, Tensor
from .reading import read, write
from .verify_run import check_outputs

F64 = npt.NDArray[np.float64]

#: Rounding of binary32 in `numbers * scale`, relative to the largest number of a step.
_SLACK = 1e-5


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

    `outputs` is (runs, seed) where the models shall also be run. Raises ConvertError if the source cannot be read.
    """
    model = read(path)
    pairs, unpaired = _pair(file, model)
    checks = [_check_digest(file, model), *unpaired]
    if unpaired:
        return checks, None
    largest = max((_error(pair) for pair in pairs), default=0.0)
    recipe = file.metadata.get(Meta.RECIPE)
    checks.append(_check_recipe(model, pairs, recipe))
    checks.append(_check_steps(pairs))
    checks.append(_check_graph(file, model))
    if file.graph is not None:
        checks += _check_rebuilt(file, path, model, pairs, outputs)
    elif outputs:
        checks.append(skipped("outputs", "the graph was left out"))
    return checks, largest


def _pair(file: File, model: Model) -> tuple[list[_Pair], list[Check]]:
    """Put tensors of source and file together: by name, or by position where names were left out."""
    coded = file.coded_model().tensors
    if file.has_names:
        places = {tensor.name: tensor for tensor in coded}
        lost = [t.name for t in model.tensors if t.name not in places]
        lost += sorted(set(places) - {t.name for t in model.tensors})
        if lost:
            return [], [verdict("tensors", [f"{name}: not in both" for name in lost], "")]
        coded = tuple(places[tensor.name] for tensor in model.tensors)
    if len(coded) != len(model.tensors):
        return [], [failed("tensors", f"{len(coded)} in the file, {len(model.tensors)} in the source")]
    both = zip(model.tensors, coded, strict=True)
    faults = [
        f"{t.name}: {c.dtype.name} {c.shape} in the file, {t.dtype.name} {t.shape} in the source"
        for t, c in both
        if (t.dtype, t.shape) != (c.dtype, c.shape)
    ]
    if faults:
        return [], [verdict("tensors", faults, "")]
    both = zip(model.tensors, coded, strict=True)
    return [_Pair(t, c, expand_tensor(c)) for t, c in both], []


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
