"""Digests of tensors and models: what they mean, and what makes two tensors equal.

Spec: spec/DCF.md ("Content id").
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .coded import Affine, Codebook, CodedTensor, Fixed, Pow2, Raw, numbers_of
from .model import LARGE, PIECE, windows


@dataclass(frozen=True)
class Fingerprint:
    """SHA-256 of what a tensor means, and of all that makes it equal to another, but its name."""

    content: bytes
    whole: bytes


def fingerprint(tensor: CodedTensor) -> Fingerprint:
    """Return the fingerprint of a tensor (spec/DCF.md, "Content id")."""
    rank = len(tensor.shape)
    content = hashlib.sha256(struct.pack(f"<BB{rank}Q", tensor.dtype, rank, *tensor.shape))
    content.update(struct.pack("<B", tensor.number_type()))
    values = tensor.values
    whole = hashlib.sha256(type(values).__name__.encode())
    most = LARGE if isinstance(tensor.values, Affine) else PIECE
    for window in windows(tensor.shape, most=most):
        symbols = tensor.piece(window)
        content.update(np.ascontiguousarray(numbers_of(symbols, values)).data)
        if isinstance(values, Codebook):
            whole.update(np.ascontiguousarray(symbols).data)
    content.update(_meaning(tensor))
    whole.update(content.digest())
    whole.update(values.levels.tobytes() if isinstance(values, Codebook) else b"")
    return Fingerprint(content.digest(), whole.digest())


def content_id(tensors: Sequence[CodedTensor]) -> bytes:
    """Return the SHA-256 that names what the tensors mean (spec/DCF.md, "Content id")."""
    return content_id_of([t.name for t in tensors], [fingerprint(t).content for t in tensors])


def content_id_of(names: Sequence[str], contents: Sequence[bytes]) -> bytes:
    hasher = hashlib.sha256()
    for name, content in sorted(zip((n.encode() for n in names), contents, strict=True)):
        hasher.update(struct.pack("<I", len(name)) + name + content)
    return hasher.digest()


def _meaning(tensor: CodedTensor) -> bytes:
    """Return the kind of parameters and the parameters of the content id."""
    values = tensor.values
    if isinstance(values, Raw):
        return b"\0"
    axis = 0xFF if values.axis is None else values.axis
    if isinstance(values, Fixed | Pow2) or (
        isinstance(values, Codebook) and values.fraction is not None
    ):
        lengths = np.atleast_1d(np.asarray(values.fraction, "<i4"))
        kind = 3 if isinstance(values, Pow2) else 1
        return struct.pack("<BBI", kind, axis, lengths.size) + lengths.tobytes()
    if values.scale is None:
        return b"\0"
    scale = np.atleast_1d(values.scale.astype("<f4"))
    points = values.zero_point if isinstance(values, Affine) else np.zeros(scale.size)
    block = values.block if isinstance(values, Affine) else 0
    head = struct.pack("<BBII", 2, axis, block, scale.size)
    return head + scale.tobytes() + np.atleast_1d(points).astype("<i4").tobytes()
