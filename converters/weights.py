"""What a .dcf can hold of a foreign tensor, and how much of a file is kept in memory.

Spec: spec/DCF.md, RECORDS and NAMES. Sister files: onnx_lazy.py (numbers where they lie), and the
readers, which share this.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod

from dcformat.errors import ConvertError
from dcformat.ids import MAX_ELEMENTS, MAX_NAME_BYTES, MAX_RANK, DType
from dcformat.model import LazyTensor, Model, Tensor

from .onnx_data import stored_bytes
from .onnx_lazy import Reading, Region, read

_AT_ONCE = 1 << 16  # bytes of a tensor that is kept in memory
_TOGETHER = 1 << 26  # bytes of all of these
_SHOWN = 100  # characters of a name in an error


@dataclass
class Keeper:
    """Makes tensors: small ones are read at once, as long as there are few bytes in all."""

    place: str
    kept: int = 0

    def tensor(self, name: str, dtype: DType, dims: tuple[int, ...], region: Region) -> Tensor:
        """Return a tensor of what is in `region`; ConvertError where that cannot be lifted."""
        size = stored_bytes(dtype, prod(dims))
        if size <= _AT_ONCE and self.kept + size <= _TOGETHER:
            self.kept += size
            return Tensor(name, dtype, read(region))
        region.check()
        return LazyTensor(name, dtype, dims, Reading(region, f"{self.place} / tensor {name!r}"))


def check_dims(dims: Iterable[int]) -> tuple[int, ...]:
    """Return `dims`; ConvertError where no .dcf has a tensor of this shape."""
    found = tuple(int(n) for n in dims)
    if len(found) > MAX_RANK:
        raise ConvertError(f"it has {len(found)} axes, more than {MAX_RANK}")
    if any(not 0 <= n < 1 << 32 for n in found):
        raise ConvertError("its shape is impossible")
    if prod(max(n, 1) for n in found) > MAX_ELEMENTS:
        raise ConvertError(f"it has more than {MAX_ELEMENTS} elements")
    return found


def check_name(name: str) -> str:
    """Return `name`; ConvertError where no .dcf has a tensor of this name."""
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        raise ConvertError("its name is not UTF-8") from None
    if not size:
        raise ConvertError("its name is empty")
    if size > MAX_NAME_BYTES:
        raise ConvertError(f"its name has {size} bytes, more than {MAX_NAME_BYTES}")
    if "\0" in name:
        raise ConvertError("its name holds a NUL")
    return name


def shown(name: str) -> str:
    """Return a name as it stands in errors: quoted, and not for ever."""
    return repr(name if len(name) <= _SHOWN else name[: _SHOWN - 3] + "...")


def without_graph(model: Model) -> tuple[str, ...]:
    """Say that a file of weights has no graph, where the model has one."""
    return ("the graph is left out: the file holds weights only",) if model.graph else ()


def without_ties(model: Model) -> tuple[str, ...]:
    """Say that tied tensors are written in full, where there are any."""
    tie = first_tie(model)
    return (f"equal tensors are written again: {tie}",) if tie else ()


def first_tie(model: Model) -> str:
    """Return the first tied tensor, as which one, and how many more there are; "" for none."""
    if not model.ties:
        return ""
    name, first = next(iter(model.ties.items()))
    more = f" and {len(model.ties) - 1} more" if len(model.ties) > 1 else ""
    return f"{shown(name)} (as {shown(first)}){more}"
