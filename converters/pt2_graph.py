"""The program of a torch.export archive as an ONNX graph, made by PyTorch where it is installed.

PyTorch never sees the file: it gets an archive made anew of the checked program (pt2_checks.py) and
of the numbers that were read here, without pickles, in a child process with limits.

Sister files: read_pt2.py, pt2_run.py (the child), torch_export.py
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

from dcformat.coded import same_bits
from dcformat.errors import ConvertError
from dcformat.files import scratch_folder
from dcformat.ids import WIDTH
from dcformat.model import Model, Tensor, windows

from . import read_onnx, torch_export
from .pt2_archive import DTYPES
from .pt2_checks import checked

_NUMBERS = {dtype: number for number, dtype in DTYPES.items()}
_ROOT, _NAME = "model", "model"
_EPOCH = (1980, 1, 1, 0, 0, 0)
_MEMORY, _SECONDS = 16 << 30, 600  # of the child; bytes of weights are added eight times


@dataclass(frozen=True)
class Parts:
    """What goes into the archive; `ties` are names of tensors that are others by other names."""

    program: Any
    weights: Sequence[Tensor]
    constants: Sequence[Tensor]
    ties: Mapping[str, str]


def with_graph(parts: Parts) -> Model:
    """Return the ONNX model of a program, its parameters read where they were.

    Raises ConvertError where PyTorch is not there, or cannot, or where the program is refused.
    """
    lacking = torch_export.missing()
    if lacking:
        raise ConvertError(f"{lacking} is not installed: {torch_export.INSTALL}")
    program = checked(parts.program)
    with scratch_folder() as folder:
        clean, made = folder / "clean.pt2", folder / "made.onnx"
        _write(replace(parts, program=program), clean)
        _run(clean, made, sum(_size(t) for t in parts.weights))
        return _joined(read_onnx.read(made), [*parts.constants, *parts.weights])


def _size(tensor: Tensor) -> int:
    return tensor.size * WIDTH[tensor.dtype]


def _write(parts: Parts, path: Path) -> None:
    """Write an archive that holds the program and numbers, and nothing else."""
    with zipfile.ZipFile(path, "w") as archive:
        _add(archive, "archive_format", b"pt2")
        _add(archive, "archive_version", b"0")
        _add(archive, "byteorder", b"little")
        _add(archive, ".data/version", b"6\n")
        _add(archive, f"models/{_NAME}.json", json.dumps(parts.program).encode())
        _add(archive, f"data/sample_inputs/{_NAME}.pt", b"")
        _add_tensors(archive, parts.weights, parts.ties, "weights", "weight")
        _add_tensors(archive, parts.constants, parts.ties, "constants", "tensor")


def _add_tensors(
    archive: zipfile.ZipFile,
    tensors: Sequence[Tensor],
    ties: Mapping[str, str],
    folder: str,
    word: str,
) -> None:
    paths: dict[str, str] = {}
    config = {}
    for number, tensor in enumerate(tensors):
        first = ties.get(tensor.name, tensor.name)
        if first not in paths:
            paths[first] = f"{word}_{number}"
            with archive.open(_info(f"data/{folder}/{paths[first]}"), "w", force_zip64=True) as out:
                for window in windows(tensor.shape):
                    out.write(tensor.piece(window).tobytes())
        config[tensor.name] = _payload(tensor, paths[first], folder == "weights")
    text = json.dumps({"config": config}).encode()
    _add(archive, f"data/{folder}/{_NAME}_{folder}_config.json", text)


def _payload(tensor: Tensor, path: str, is_param: bool) -> dict[str, Any]:
    strides = [prod(tensor.shape[axis + 1 :]) for axis in range(len(tensor.shape))]
    meta = {
        "dtype": _NUMBERS[tensor.dtype],
        "sizes": [{"as_int": n} for n in tensor.shape],
        "requires_grad": False,
        "device": {"type": "cpu", "index": None},
        "strides": [{"as_int": n} for n in strides],
        "storage_offset": {"as_int": 0},
        "layout": 7,
    }
    return {"path_name": path, "is_param": is_param, "use_pickle": False, "tensor_meta": meta}


def _info(name: str) -> zipfile.ZipInfo:
    return zipfile.ZipInfo(f"{_ROOT}/{name}", _EPOCH)


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    archive.writestr(_info(name), data)


def _run(clean: Path, made: Path, weights: int) -> None:
    """Let a child make the ONNX file; ConvertError with its reason where it does not."""
    limits = [str(_MEMORY + 8 * weights), str(_SECONDS)]
    module = "dcformat.converters.pt2_run"
    try:
        done = subprocess.run(
            [sys.executable, "-m", module, str(clean), str(made), *limits],
            cwd=clean.parent,  # -m puts the current folder first on the path: ours
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=2 * _SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ConvertError(f"PyTorch took longer than {2 * _SECONDS} s") from None
    if done.returncode < 0:
        raise ConvertError(f"PyTorch was ended by {signal.Signals(-done.returncode).name}")
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        raise ConvertError(lines[-1] if lines else f"PyTorch ended with code {done.returncode}")


def _joined(model: Model, given: Sequence[Tensor]) -> Model:
    """Put the archive's tensors in place of the same ones of the ONNX file, which goes away."""
    named = {tensor.name: tensor for tensor in given}
    return replace(model, tensors=tuple(_tensors(model, named)), files=())


def _tensors(model: Model, named: Mapping[str, Tensor]) -> Iterator[Tensor]:
    for tensor in model.tensors:
        own = named.get(tensor.name)
        if own is None:
            yield Tensor(tensor.name, tensor.dtype, tensor.data)
            continue
        _check_same(tensor, own)
        yield own


def _check_same(made: Tensor, own: Tensor) -> None:
    same = (made.dtype, made.shape) == (own.dtype, own.shape) and all(
        same_bits(made.piece(window), own.piece(window)) for window in windows(own.shape)
    )
    if not same:
        raise ConvertError(f"PyTorch's exporter changed parameter {made.name!r}")
