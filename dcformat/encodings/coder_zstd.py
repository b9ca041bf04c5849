"""Zstandard frames over byte planes, or each plane in the way that suits it; host only.

Spec: spec/encodings/coder_zstd.md    C: none
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .. import frames, rans
from ..errors import Code, error_of
from ..fields import Fields
from ..ids import MAX_SYMBOLS
from .parts import Planes

Block = npt.NDArray[np.uint8]  # (symbols of an element, elements)
_FORM, _ROTATED = 1, 0x10
_PLAIN, _FRAME, _FREQUENCIES = range(3)
_ROTATING = (2, 4, 8)  #: widths of numbers that are rotated
_PROBE = 1  #: a level of zstd that is quick and tells whether there is anything to find
_SMALL = 4096  #: bytes that are compressed without asking
_SHARE = 16  #: by how much, at most, a frame of the best level is expected to be smaller than that


def read_params(
    fields: Fields, alphabets: tuple[int, ...], classes: int, tables: list[object]
) -> tuple[int, ...]:
    """Return the tables that a record names; there are none."""
    return ()


def write_params(tables: tuple[int, ...]) -> bytes:
    """Return the parameters of a record; there are none."""
    return b""


def encode(planes: Planes, ends: npt.NDArray[np.int64]) -> tuple[bytes, npt.NDArray[np.int64]]:
    """Return each block, and where each ends; `ends` counts elements."""
    starts = np.concatenate([[0], ends[:-1]])
    pairs = zip(starts.tolist(), ends.tolist(), strict=True)
    parts = [_encode(np.ascontiguousarray(planes[a:b].T)) for a, b in pairs]
    return b"".join(parts), np.cumsum([len(p) for p in parts], dtype=np.int64)


def _encode(block: Block) -> bytes:
    """Return the smaller of one frame of all planes and each plane by itself."""
    if not block.size:
        return frames.compress(b"")
    rotated = block.shape[0] in _ROTATING and _is_better_rotated(block)
    apart = _apart(_rotated(block), _ROTATED) if rotated else _apart(block, 0)
    return _framed(block.tobytes(), apart)


def _framed(raw: bytes, other: bytes) -> bytes:
    """Return a frame of `raw` or, where that is smaller, `other`."""
    worth = len(other) + len(other) // _SHARE
    if len(raw) > _SMALL and len(frames.compress(raw, _PROBE)) > worth:
        return other
    return min(frames.compress(raw), other, key=len)


def _is_better_rotated(block: Block) -> bool:
    """Tell whether the two highest planes take less with the sign below all other bits."""
    return _by_frequencies(_rotated(block)[-2:]) < _by_frequencies(block[-2:])


def _by_frequencies(planes: Block) -> int:
    pairs = ((rans.encode(plane), plane) for plane in planes)
    return sum(plane.size if coded is None else len(coded) for coded, plane in pairs)


def _apart(block: Block, flags: int) -> bytes:
    methods, bodies = 0, []
    for number, plane in enumerate(block):
        method, body = _plane(plane)
        methods |= method << 2 * number
        bodies.append(body if method == _PLAIN else _sized(body))
    width = -(-len(block) // 4)
    return b"".join([bytes([_FORM | flags]), methods.to_bytes(width, "little"), *bodies])


def _plane(plane: Block) -> tuple[int, bytes]:
    """Return the way that makes a plane smallest, and what it makes of it."""
    raw = plane.tobytes()
    found = [(_PLAIN, raw)]
    coded = rans.encode(plane)
    if coded is not None:
        found.append((_FREQUENCIES, coded))
    method, least = min(found, key=_size)
    frame = _framed(raw, least)
    return (method, least) if frame is least else min((method, least), (_FRAME, frame), key=_size)


def _size(coded: tuple[int, bytes]) -> int:
    """Return about how many bytes a plane takes, with its size before it."""
    method, body = coded
    return len(body) + (3 if method else 0)


def _sized(body: bytes) -> bytes:
    """Return `body` behind its size: seven bits a byte, the lowest first."""
    size, out = len(body), bytearray()
    while size >= 0x80:
        out.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes([*out, size]) + body


def _rotated(block: Block) -> Block:
    """Return the planes of numbers that are rotated to the left by one bit."""
    turned = _turn(np.ascontiguousarray(block.T), 1)
    return np.ascontiguousarray(turned.T)


def _turn(elements: Planes, left: int) -> Planes:
    """Return the bytes (n, width) of numbers rotated to the left by one bit, or by -1 back."""
    width = elements.shape[1]
    numbers = elements.view(f"<u{width}").reshape(-1)
    by, rest = numbers.dtype.type(left % (8 * width)), numbers.dtype.type(-left % (8 * width))
    turned = numbers << by
    turned |= numbers >> rest
    return np.asarray(turned.view(np.uint8).reshape(-1, width))


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
        elements = self._elements(len(streams), count)
        for stream in streams:
            alphabet = self.alphabets[stream]
            top = 0 if alphabet == MAX_SYMBOLS else int(elements[:, stream].max(initial=0))
            if top >= alphabet:
                raise error_of(Code.RANGE, f"symbol {top}", self.place)
        return elements

    def _elements(self, width: int, count: int) -> Planes:
        head = self.block[0] if len(self.block) else 0
        if head & ~_ROTATED != _FORM:
            data = frames.decompress(self.block, count * width, self.place)
            return np.asarray(np.frombuffer(data, np.uint8).reshape(width, count).T)
        self._need(head == _FORM or width in _ROTATING, "numbers that cannot be rotated")
        elements = self._apart(width, count)
        return _turn(elements, -1) if head & _ROTATED else elements

    def _apart(self, width: int, count: int) -> Planes:
        at = 1 + -(-width // 4)
        methods = int.from_bytes(self.block[1:at], "little")
        self._need(len(self.block) >= at and not methods >> 2 * width, "no such ways")
        elements = np.empty((count, width), np.uint8)
        for number in range(width):
            at = self._plane(methods >> 2 * number & 3, at, elements[:, number])
        self._need(at == len(self.block), "bytes behind the last plane")
        return elements

    def _plane(self, method: int, at: int, plane: Block) -> int:
        """Fill `plane`; return where it ends."""
        size, at = (plane.size, at) if method == _PLAIN else self._size(at)
        body = self.block[at : at + size]
        self._need(len(body) == size, f"plane of {size} bytes")
        if method == _PLAIN:
            plane[:] = np.frombuffer(body, np.uint8)
        elif method == _FRAME:
            plane[:] = np.frombuffer(frames.decompress(body, plane.size, self.place), np.uint8)
        else:
            self._need(method == _FREQUENCIES, "no such way")
            plane[:] = np.frombuffer(rans.decode(body, plane.size, self.place), np.uint8)
        return at + size

    def _size(self, at: int) -> tuple[int, int]:
        size = 0
        for number in range(5):
            self._need(at < len(self.block), "ends inside a size")
            byte, at = self.block[at], at + 1
            size |= (byte & 0x7F) << 7 * number
            if byte < 0x80:
                return size, at
        raise error_of(Code.CODE, "a size of more than five bytes", self.place)

    def _need(self, condition: bool, message: str) -> None:
        if not condition:
            raise error_of(Code.CODE, message, self.place)

    def finish(self) -> None:
        """The block was checked as a whole."""
