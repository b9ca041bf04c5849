"""A .dcf as text that people read, compare and edit, and back, byte for byte (spec/TEXT.md)."""

from __future__ import annotations

from .build import build_file
from .dump import dump_file

__all__ = ["build_file", "dump_file"]
