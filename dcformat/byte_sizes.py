"""Sizes in bytes as people write them."""

from __future__ import annotations

import re
from fractions import Fraction

_UNITS = {"": 1, "b": 1, "kb": 10**3, "kib": 1 << 10, "mb": 10**6, "mib": 1 << 20}
_UNITS |= {"gb": 10**9, "gib": 1 << 30}
_SIZE = re.compile(r"\s*(\d{1,15}(?:\.\d{1,9})?)\s*([A-Za-z]*)\s*", re.ASCII)


def size_of(text: str) -> int | None:
    """Return the bytes of "200KiB" or "1.5 MB", rounded down; None where it is no size."""
    found = _SIZE.fullmatch(text)
    unit = _UNITS.get(found[2].lower()) if found else None
    return None if found is None or unit is None else int(Fraction(found[1]) * unit)
