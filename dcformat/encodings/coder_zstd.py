"""Zstandard frames over byte planes; host only.

Spec: spec/encodings/coder_zstd.md    C: none
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .. import frames
from ..errors import Code, error_of
from ..fields import Fields
from .parts import Planes


def read_params(
    fields: Fields, alphabets: tuple[int, ...], classes: int, tables: list[object]
) -> tuple[int, ...]:
    """Return the tables that a record names; there are none."""
    return ()


def write_params(tables: tuple[int, ...]) -> bytes:
    """Return the parameters of a record; there are none."""
    return b""


def encode(planes: Planes, ends: npt.NDArray[np.int64]) -> tuple[bytes, npt.NDArray[np.int64]]:
    """Return one frame for each block and where each ends; `ends` counts elements."""
    starts = np.concatenate([[0], ends[:-1]])
    pairs = zip(starts.tolist(), ends.tolist(), strict=True)
    parts = [frames.compress(np.ascontiguousarray(planes[a:b].T).tobytes()) for a, b in pairs]
    return b"".join(parts), np.cumsum([len(p) for p in parts], dtype=np.int64)


class Reader:
    """The symbols of one block."""

    def __init__(self, block: memoryview, alphabets: tuple[int, ...], place: str) -> None:
        self.block = block
        self.alphabets = alphabets
        self.place = place

    def next(self, stream: int) -> int:
        """A frame has no single symbols: registry.md makes such a combination illegal."""
        raise error_of(Code.STRUCTURE, "zstd under a layout other than dense", self.place)

    def many(self, count: int, streams: tuple[int, ...]) -> Planes:
        """Return `count` elements whose symbols are of `streams` in turn."""
        data = frames.decompress(self.block, count * len(streams), self.place)
        planes = np.frombuffer(data, np.uint8).reshape(len(streams), count)
        for stream in streams:
            top = int(planes[stream].max(initial=0))
            if top >= self.alphabets[stream]:
                raise error_of(Code.RANGE, f"symbol {top}", self.place)
        return np.asarray(planes.T)

    def finish(self) -> None:
        """The frame was checked as a whole."""
