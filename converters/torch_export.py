"""A PyTorch program as an ONNX file that holds its parameters as they are.

Sister files: take_torch.py (live modules), pt2_run.py (torch.export archives). PyTorch's own
clean-up folds batch norms into convolutions, turns weights around and parts tied ones; here only
what has no parameter in it is folded, and what says where the source code lies is left out.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dcformat.errors import ConvertError
from dcformat.model import Model

from . import onnx_lift
from .torch_names import Left, printed

INSTALL = "pip install 'dcformat[torch]'"
_IN_ONE_FILE = 1 << 30  # bytes of parameters; above, they stand beside the graph
_NEEDED = ("torch", "onnxscript")


def missing() -> str:
    """Return the name of the first package that is needed and not installed, "" if none is."""
    return next((name for name in _NEEDED if importlib.util.find_spec(name) is None), "")


def write_onnx(program: Any, path: Path, args: tuple[Any, ...] = (), **options: Any) -> None:
    """Write `program`, a Module or an ExportedProgram, to `path` (above 1 GiB with `.data`).

    `args` and `options` are those of torch.onnx.export. Raises ConvertError with its reason.
    """
    import onnx_ir  # noqa: PLC0415 - heavy, and not always there
    import torch  # noqa: PLC0415

    try:
        with quiet(), torch.no_grad():
            made = torch.onnx.export(
                program, args, dynamo=True, optimize=False, verbose=False, **options
            )
            model = made.model
            _clean_up(model)
            _check_parameters(model, program)
            large = _size(model) > _IN_ONE_FILE
            onnx_ir.save(model, path, external_data=f"{path.name}.data" if large else None)
    except Exception as error:  # whatever the exporter raises
        reason = reason_of(error)
        raise ConvertError(f"PyTorch cannot make an ONNX graph of it: {reason}") from error


def _size(model: Any) -> int:
    values = model.graph.initializers.values()
    return sum(v.const_value.nbytes for v in values if v.const_value is not None)


def _clean_up(model: Any) -> None:
    """Fold constants, keep parameters; take out what only people read, paths among it."""
    from onnx_ir.passes import Sequential, common  # noqa: PLC0415
    from onnxscript import optimizer  # noqa: PLC0415

    before, parameters = _used(model), set(model.graph.initializers)
    common.InlinePass()(model)
    optimizer.fold_constants(model, onnx_shape_inference=True, should_fold=_may_fold)
    common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    _share_constants(model, parameters)
    Sequential(
        common.IdentityEliminationPass(),
        common.CommonSubexpressionEliminationPass(),
        common.RemoveUnusedNodesPass(),
        common.RemoveUnusedFunctionsPass(),
        common.RemoveUnusedOpsetsPass(),
        common.OutputFixPass(),
        common.NameFixPass(),
        common.ClearMetadataAndDocStringPass(),
    )(model)
    lost = sorted(before - set(model.graph.initializers))
    if lost:
        raise ConvertError(f"parameter {lost[0]!r} was folded away")
    _strip_values(model)


def _share_constants(model: Any, parameters: set[str]) -> None:
    """Let equal constants be one; equal parameters keep their names."""
    first: dict[tuple[Any, ...], Any] = {}
    for name, value in list(model.graph.initializers.items()):
        tensor = value.const_value
        if name in parameters or tensor is None or value.is_graph_output():
            continue
        key = (tensor.dtype, tuple(tensor.shape), tensor.tobytes())
        if key in first:
            value.replace_all_uses_with(first[key])
            del model.graph.initializers[name]
        first.setdefault(key, value)


def _used(model: Any) -> set[str]:
    """Return the names of the parameters that some node takes."""
    return {name for name, value in model.graph.initializers.items() if value.uses()}


def _may_fold(node: Any) -> bool | None:
    """Keep nodes that take a parameter; None: decide as usual."""
    taken = [value for value in node.inputs if value is not None]
    return False if any(value.is_initializer() for value in taken) else None


def _strip_values(model: Any) -> None:
    """Drop notes on values, and types and shapes of inner ones: runtimes work these out."""
    graph = model.graph
    inner = [output for node in graph.all_nodes() for output in node.outputs]
    for value in (*graph.inputs, *graph.outputs, *graph.initializers.values(), *inner):
        value.metadata_props.clear()
        if not (value.is_graph_input() or value.is_graph_output()):
            value.shape = value.type = None


def left_out(model: Model, first: Mapping[str, str]) -> tuple[str, ...]:
    """Return notes on tensors of the source that `model` has not, or by another name.

    `first` has all their names, each with the first name of the same numbers.
    """
    kept = {t.name for t in model.tensors} | {n.partition(onnx_lift.STAYS)[0] for n in model.notes}
    names = {first[name]: name for name in first if name in kept}
    unused, tied = Left(), Left()
    for name in first:
        if first[name] not in names:
            unused.add(printed(name))
        elif name not in kept:
            tied.add(f"{printed(name)} (as {printed(names[first[name]])})")
    notes = [f"{unused}: the graph does not use them"] if unused.count else []
    return (*notes, f"{tied}: tied, the graph has one name") if tied.count else tuple(notes)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep what PyTorch prints, logs and warns of to itself: errors say what matters."""
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        _without_logging(),
    ):
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def _without_logging() -> Iterator[None]:
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def reason_of(error: BaseException) -> str:
    """Return the innermost cause in one line; the exporter wraps errors in pages of advice."""
    while error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, ConvertError):
        return str(error)
    words = " ".join(str(error).split())
    return f"{type(error).__name__}: {words[:400]}" if words else type(error).__name__


def _check_parameters(model: Any, program: Any) -> None:
    """Raise ConvertError where a parameter in the graph has other bytes than the program's."""
    theirs = parameters(program)
    for name, value in model.graph.initializers.items():
        if name in theirs and value.const_value.tobytes() != _bytes_of(theirs[name]):
            raise ConvertError(f"the exporter changed parameter {name!r}")


def parameters(program: Any) -> dict[str, Any]:
    """Return parameters, buffers and constants by all their names."""
    import torch  # noqa: PLC0415

    if isinstance(program, torch.export.ExportedProgram):
        return {**program.constants, **program.state_dict}
    named = dict(program.named_parameters(remove_duplicate=False))
    return named | dict(program.named_buffers(remove_duplicate=False))


def _bytes_of(tensor: Any) -> bytes:
    import torch  # noqa: PLC0415

    plain = tensor.detach().cpu().contiguous().reshape(-1)
    return plain.view(torch.uint8).numpy().tobytes() if plain.numel() else b""
