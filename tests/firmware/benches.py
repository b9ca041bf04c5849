"""For tests: what the folder bench measures of firmware, and how to say that a tool is missing."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT / "bench"))
import firmware_build as build
import firmware_sizes as sizes
import firmware_speed as speed
import firmware_stack as stack

__all__ = ["build", "sizes", "speed", "stack", "tools"]


@contextmanager
def tools() -> Iterator[None]:
    """Skip the test where a tool is missing, and say which."""
    try:
        yield
    except build.MissingToolError as missing:
        pytest.skip(str(missing))
