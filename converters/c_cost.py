"""What a model costs on a device: flash for numbers, decoder and soft float, and RAM.

Sisters: bench/decoder_sizes.py (measures decoder_sizes.json), write_c.py (prints it)
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from dcformat.coded import Codebook, Raw
from dcformat.ids import DType

from .c_facts import Firmware, TensorFacts
from .c_layers import Layer

FOLDER = Path(__file__).resolve().parent
#: The functions that are counted: open, check, decode piece by piece.
ENTRIES = (
    "dcf_open", "dcf_tensor_at", "dcf_prepare", "dcf_cursor_init", "dcf_cursor_next", "dcf_check",
)  # fmt: skip
#: Features whose code is worth counting apart; all others are counted as switched on.
VARIED = ("PACKED", "HUFFMAN", "GAP", "RUN", "AFFINE", "CODEBOOK")
_REALS = (DType.FLOAT, DType.FLOAT16, DType.DOUBLE, DType.BFLOAT16)
Rows = tuple[tuple[str, str], ...]


def key_of(features: Mapping[str, bool]) -> str:
    """Return the name of a combination of the features that are VARIED."""
    return " ".join(name for name in VARIED if features[name])


@cache
def _measured() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / "decoder_sizes.json").read_text())
    return found


def decoder_bytes(features: Mapping[str, bool]) -> dict[str, int]:
    """Return what a decoder with these features takes in flash, by machine."""
    machines = _measured()["machines"]
    return {name: one["flash"][key_of(features)] for name, one in machines.items()}


def soft_float_bytes() -> dict[str, int]:
    """Return what computing with floats takes where there is no unit for it, by machine."""
    return {name: one["soft_float"] for name, one in _measured()["machines"].items()}


def structure_bytes() -> int:
    """Return the RAM of the decoder's structures, the most of all machines."""
    return max(int(one["structures"]) for one in _measured()["machines"].values())


def real_tensors(firmware: Firmware, layers: Sequence[Layer]) -> int:
    """Return how many tensors mean floats and are no integers of a layer with multipliers."""
    scaled = {layer.weight for layer in layers}
    return sum(_is_real(facts) and facts.name not in scaled for facts in firmware.tensors)


def _is_real(facts: TensorFacts) -> bool:
    values = facts.values
    if isinstance(values, Raw):
        return facts.number in _REALS
    if isinstance(values, Codebook) and values.scale is None and values.fraction is None:
        return facts.number in _REALS
    return True


def costs(
    firmware: Firmware, layers: Sequence[Layer], numbers: int, decoder: Mapping[str, bool] | None
) -> tuple[Rows, dict[str, Any]]:
    """Return what there is to print, and the same for --json.

    `numbers` are the bytes of all data; `decoder` are the features it needs, None for no decoder.
    """
    real = real_tensors(firmware, layers)
    floats = soft_float_bytes() if real else {}
    code = decoder_bytes(decoder) if decoder is not None else {}
    ram = _ram(firmware) if decoder is not None else {}
    facts = {
        "flash": {"numbers": numbers, "decoder": code, "soft_float": floats},
        "ram": ram,
        "compiler": _measured()["compiler"],
    }
    rows = [("flash", f"numbers {numbers:,} B{_by_machine(', decoder about', code)}")]
    if real:
        said = f"tensors that mean floats: {real}; computing with them takes"
        rows.append(("soft float", f"{said}{_by_machine('', floats)} without a unit for it"))
    if ram:
        rows.append(("RAM", _ram_in_words(ram)))
    return tuple(rows), facts


def _by_machine(what: str, sizes: Mapping[str, int]) -> str:
    if not sizes:
        return ""
    return f"{what} " + ", ".join(f"{size:,} B ({name})" for name, size in sizes.items())


def _ram(firmware: Firmware) -> dict[str, int]:
    return {
        "structures": structure_bytes(),
        "scratch": max(facts.scratch for facts in firmware.tensors),
        "row": max(facts.row_bytes for facts in firmware.tensors),
        "tensor": max(facts.decoded for facts in firmware.tensors),
    }


def _ram_in_words(ram: Mapping[str, int]) -> str:
    return (
        f"structures {ram['structures']:,} B, scratch {ram['scratch']:,} B,"
        f" a row {ram['row']:,} B (the largest tensor {ram['tensor']:,} B)"
    )
