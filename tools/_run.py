"""The child process of `dcverify --run`: one model on seeded inputs, in onnxruntime or LiteRT.

Spec: spec/SECURITY.md ("Trusted": running a model).
Sisters: dcformat/verify_run.py, which starts it; tools/_run_tflite.py

    python -m dcformat.tools._run MODEL OUT.npz RUNS SEED MEMORY SECONDS [INPUTS.npz]

OUT.npz holds `i<run>_<k>`, the inputs, and `o<run>_<k>`, the outputs, k counting the model's
inputs and (flattened) outputs. With INPUTS.npz its inputs are used. Exit code 0, or 1 with the
reason as the last line on standard error.
"""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dcformat.tools._run_tflite import LiteRtSession

Arrays = dict[str, npt.NDArray[Any]]

#: Sizes tried, in this order, for the dimensions that a model leaves open.
SIZES = (1, 2, 4, 8, 16, 32, 64, 256, 512, 576, 1024)
#: NumPy types of the element types that onnxruntime names.
NUMPY_TYPES = {
    "float": "<f4",
    "double": "<f8",
    "float16": "<f2",
    "bool": "?",
    "int8": "i1",
    "uint8": "u1",
    "int16": "<i2",
    "uint16": "<u2",
    "int32": "<i4",
    "uint32": "<u4",
    "int64": "<i8",
    "uint64": "<u8",
}

_FOLDER = "session.model_external_initializers_file_folder_path"


class CannotRunError(Exception):
    """The model cannot be run here; the message is the reason."""


def main(arguments: Sequence[str]) -> int:
    """Run the model that the arguments name; returns the exit code."""
    model, out, runs, seed, memory, seconds, *given = arguments
    limit(int(memory), int(seconds))
    try:
        session = _session(model)
        if given:
            with np.load(given[0], allow_pickle=False) as loaded:
                inputs = {key: loaded[key] for key in loaded.files if key.startswith("i")}
            results = run_all(session, inputs, int(runs))
        else:
            inputs, results = find_inputs(session, int(runs), int(seed))
    except Exception as error:  # onnxruntime raises what it likes; the reason is what counts
        print(" ".join(str(error).split())[:500] or type(error).__name__, file=sys.stderr)
        return 1
    with Path(out).open("wb") as stream:
        np.savez(stream, **inputs, **results)  # type: ignore[arg-type]
    return 0


def limit(memory: int, seconds: int) -> None:
    """Bound memory, processor time and the size of files; only where the system can."""
    try:
        import resource  # noqa: PLC0415 - not on Windows
    except ImportError:
        return
    bounds = {
        resource.RLIMIT_CPU: seconds,
        resource.RLIMIT_AS: memory,
        resource.RLIMIT_FSIZE: memory,
        resource.RLIMIT_CORE: 0,
    }
    for which, bound in bounds.items():
        with contextlib.suppress(ValueError, OSError):  # macOS refuses some of them
            resource.setrlimit(which, (bound, bound))


def _session(model: str) -> Any:
    """Return a session of one thread, so that the same sums are made in the same order."""
    if model.lower().endswith(".tflite"):
        return LiteRtSession(model)
    onnxruntime, options = _options()
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def session_of(model: bytes, folder: Path, *, plain: bool = False) -> Any:
    """Return such a session of a model whose external data is in `folder`.

    A `plain` one runs the graph as it stands: inner values are those of the nodes.
    """
    onnxruntime, options = _options()
    if plain:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry(_FOLDER, str(folder.resolve()))
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _options() -> tuple[Any, Any]:
    import onnxruntime  # noqa: PLC0415 - slow, and after the limits

    onnxruntime.disable_telemetry_events()
    onnxruntime.set_default_logger_severity(4)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime, options


def find_inputs(session: Any, runs: int, seed: int) -> tuple[Arrays, Arrays]:
    """Return seeded inputs on which the model runs, small sizes first, and its outputs."""
    first: Exception | None = None
    for sizes in _candidates(session):
        inputs = make_inputs(session, sizes, runs, seed)
        try:
            return inputs, run_all(session, inputs, runs)
        except Exception as error:  # the next size may fit
            first = first or error
    raise CannotRunError(f"no small inputs fit: {first}")


def _candidates(session: Any) -> Iterator[Mapping[str, int]]:
    """Give sizes for the named dimensions: totals are sums, the others all of one size."""
    shapes = [wanted.shape for wanted in session.get_inputs()]
    names = sorted({str(d) for shape in shapes for d in shape if not isinstance(d, int)})
    for size in SIZES if names else (1,):
        plain = dict.fromkeys(names, size)
        totals = {name: 2 * size for name in names if "total" in name.lower()}
        if totals:
            yield {**plain, **{n: 1 for n in names if "batch" in n.lower()}, **totals}
        if size > 1:
            yield {**plain, **{n: 1 for n in names if re.match(r"n$|b$|none|batch", n.lower())}}
        yield plain


def make_inputs(session: Any, sizes: Mapping[str, int], runs: int, seed: int) -> Arrays:
    """Return arrays `i<run>_<k>`: floats standard normal, integers 0 or 1, from `seed` alone."""
    random = np.random.default_rng(seed)
    arrays: Arrays = {}
    for run in range(runs):
        for k, wanted in enumerate(session.get_inputs()):
            shape = [d if isinstance(d, int) else sizes[str(d)] for d in wanted.shape]
            arrays[f"i{run}_{k}"] = _random(random, wanted.type, [max(d, 0) for d in shape])
    return arrays


def _random(random: np.random.Generator, kind: str, shape: list[int]) -> npt.NDArray[Any]:
    name = kind.removeprefix("tensor(").removesuffix(")")
    if name == "string":
        return np.full(shape, "a")
    if name not in NUMPY_TYPES:
        raise CannotRunError(f"no random input of type {kind}")
    dtype = np.dtype(NUMPY_TYPES[name])
    if dtype.kind == "f":
        return random.standard_normal(shape).astype(dtype)
    return random.integers(0, 128 if name in ("uint8", "int8") else 2, shape).astype(dtype)


def run_all(session: Any, inputs: Arrays, runs: int) -> Arrays:
    """Return arrays `o<run>_<k>`: the outputs, sequences and maps flattened in order of keys."""
    names = [wanted.name for wanted in session.get_inputs()]
    results: Arrays = {}
    for run in range(runs):
        feed = {name: inputs[f"i{run}_{k}"] for k, name in enumerate(names)}
        outputs = [array for value in session.run(None, feed) for array in flat(value)]
        results.update({f"o{run}_{k}": array for k, array in enumerate(outputs)})
    return results


def flat(value: Any) -> Iterator[npt.NDArray[Any]]:
    """Yield the arrays of an output: more than one of a sequence or a map."""
    if isinstance(value, Mapping):
        keys = sorted(value)
        yield np.array(keys)
        for key in keys:
            yield from flat(value[key])
    elif isinstance(value, list):
        for item in value:
            yield from flat(item)
    else:
        array = np.asarray(value)
        yield array.astype(str) if array.dtype.kind == "O" else array


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
