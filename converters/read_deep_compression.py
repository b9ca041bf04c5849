"""Read networks as released with Deep Compression (Han et al. 2016): AlexNet, SqueezeNet.

Such a .net has no names and no shapes; they are in the network's definition for Caffe, a
.prototxt. Of its layers with weights those take part whose names contain conv, fc or ip, in order:

    u32 count of stored weights, for every layer
    for every layer: f32 codebook[256 or 16] · f32 bias[outputs] · indices · gaps

Layers with conv in their name have indices of 8 bits, the others of 4; gaps have 4 bits. Two of 4
bits share a byte, the first in the low half; each stream begins with a byte of its own. A gap g
says that g weights before the stored one are not stored: their index is 0.

Sister files: caffe_net.py (the definition), prototxt.py (its text).
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dcformat.errors import ConvertError
from dcformat.formats import Reader
from dcformat.ids import MAX_ELEMENTS, DType
from dcformat.model import Array, LazyTensor, Model, Source, Tensor, Use, Window

from . import onnx_other
from .caffe_net import Layer, layers_of
from .onnx_files import look_at, read_at
from .prototxt import MAX_BYTES
from .weights import check_name, shown

FORMAT = "deep-compression"
_NAMED = ("conv", "fc", "ip")
_MAX_FILE = 1 << 30
_MAX_SPREAD = 1024  # weights for each byte of a layer: real ones have 2 or 3

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class _Part:
    """A layer, how many of its weights are stored, and where its bytes begin."""

    layer: Layer
    stored: int
    start: int

    @property
    def bits(self) -> int:
        return 8 if "conv" in self.layer.name else 4

    @property
    def streams(self) -> tuple[int, int, int, int]:
        """Bytes of codebook, bias, indices and gaps."""
        indices = -(-self.stored * self.bits // 8)
        return 4 << self.bits, 4 * self.layer.bias, indices, -(-self.stored // 2)


def accepts(head: bytes) -> bool:
    """Tell whether a file can begin like this: with small counts, and not as other files do."""
    return b"\0" in head[:4] and not onnx_other.explain(head)


def explain(head: bytes) -> str:
    """Say what a file seems to be that was not accepted; empty where that is not known."""
    if head and b"\0" not in head:
        return "it seems to be a text; a .prototxt belongs to --prototxt"
    return onnx_other.explain(head)


def read(path: Path, prototxt: str | Path | None = None) -> Model:
    """Return the weights and biases in the file `path`, float32 as its own decoder gives them.

    Without `prototxt` the definition is the one .prototxt in the same folder whose layers fit the
    file; where there are more, they must say the same. Raises ConvertError in one line.
    """
    try:
        data = _bytes_of(Path(path), _MAX_FILE)
        found, parts = _definition(Path(path), data, prototxt)
    except ConvertError as error:
        raise error.at(str(path)) from error.__cause__
    try:
        tensors = tuple(tensor for part in parts for tensor in _tensors(data, part))
    except ConvertError as error:
        raise error.at(str(path)) from error.__cause__
    return Model(
        tensors,
        uses={name: use for part in parts for name, use in _uses(part.layer)},
        source=Source(FORMAT, len(data), hashlib.sha256(data).digest()),
        notes=(f"its layers are those of {found.name}",),
        files=(found,),
    )


def _bytes_of(path: Path, most: int) -> bytes:
    try:
        file = look_at(path, "it")
        if file.size > most:
            raise ConvertError(f"{file.size:,} bytes, more than {most:,}")
        with file.open() as stream:
            return bytes(read_at(stream, 0, file.size))
    except OSError as error:
        raise ConvertError(f"cannot read: {error.strerror}") from error


def _definition(
    path: Path, data: bytes, prototxt: str | Path | None
) -> tuple[Path, tuple[_Part, ...]]:
    """Return the definition that was named, or else the one that fits, and what it says."""
    if prototxt is not None:
        return Path(prototxt), _laid_out(data, Path(prototxt))
    beside = sorted(path.parent.glob("*.prototxt"))
    fitting = [(one, parts) for one in beside if (parts := _fits(data, one))]
    if not fitting:
        few = "none of those beside it fits" if beside else "none is beside it"
        raise ConvertError(f"its names and shapes are in a .prototxt, and {few}: use --prototxt")
    if any(parts != fitting[0][1] for _, parts in fitting):
        names = " and ".join(one.name for one, _ in fitting)
        raise ConvertError(f"{names} fit it and differ: use --prototxt")
    return fitting[0]


def _fits(data: bytes, prototxt: Path) -> tuple[_Part, ...]:
    try:
        return _laid_out(data, prototxt)
    except ConvertError:
        return ()


def _laid_out(data: bytes, prototxt: Path) -> tuple[_Part, ...]:
    """Return where every layer stands; ConvertError where file and definition do not fit."""
    try:
        layers = layers_of(_bytes_of(prototxt, MAX_BYTES))
    except ConvertError as error:
        raise error.at(f"prototxt {prototxt}") from error.__cause__
    layers = tuple(one for one in layers if any(word in one.name for word in _NAMED))
    head = 4 * len(layers)
    if len(data) < head:
        raise ConvertError(f"{len(data)} bytes: too short for {len(layers)} layers")
    parts = tuple(_parts(layers, data))
    end = parts[-1].start + sum(parts[-1].streams) if parts else head
    if end != len(data):
        need = f"the layers of {prototxt.name} need {end:,} bytes, it has {len(data):,}"
        raise ConvertError(f"{need}: it is not whole, or of another network")
    return parts


def _parts(layers: tuple[Layer, ...], data: bytes) -> Iterator[_Part]:
    start = 4 * len(layers)
    for layer, stored in zip(layers, struct.unpack_from(f"<{len(layers)}I", data), strict=True):
        part = _Part(layer, stored, start)
        _check(part, len(data))
        yield part
        start += sum(part.streams)


def _check(part: _Part, size: int) -> None:
    """Raise ConvertError for a layer that cannot stand in a file of `size` bytes."""
    weights, place = prod(part.layer.weight), f"layer {shown(part.layer.name)}"
    if not part.layer.bias:
        raise ConvertError("files of this kind have a bias for each", place=place)
    if part.stored > weights:
        reason = f"{part.stored:,} weights are stored, it has {weights:,}"
        raise ConvertError(f"{reason}: of another network, or damaged", place=place)
    if weights > min(MAX_ELEMENTS, _MAX_SPREAD * min(sum(part.streams), size)):
        raise ConvertError(f"{weights:,} weights in so few bytes", place=place)


def _tensors(data: bytes, part: _Part) -> Iterator[Tensor]:
    ends = np.cumsum((part.start, *part.streams)).tolist()
    book, bias, indices, gaps = (
        np.frombuffer(data, np.uint8, stop - start, start) for start, stop in pairwise(ends)
    )
    codes = np.zeros(part.layer.weight, np.uint8)
    _place(codes.reshape(-1), part, indices, gaps)
    yield _weight(check_name(f"{part.layer.name}.weight"), codes, book.view("<f4"))
    yield Tensor(check_name(f"{part.layer.name}.bias"), DType.FLOAT, bias.view("<f4"))


def _place(codes: Bytes, part: _Part, indices: Bytes, gaps: Bytes) -> None:
    """Put the indices where the gaps say; ConvertError where that is behind the last weight."""
    places = np.cumsum(_halves(gaps)[: part.stored].astype(np.int64) + 1) - 1
    outside = np.flatnonzero(places >= codes.size)
    if outside.size:
        place = f"layer {shown(part.layer.name)}"
        reason = f"stored weight {outside[0]} stands behind its last, {codes.size - 1}"
        raise ConvertError(f"{reason}: of another network, or damaged", place=place)
    codes[places] = indices if part.bits == 8 else _halves(indices)[: part.stored]


def _halves(packed: Bytes) -> Bytes:
    """Return the numbers of 4 bits in `packed`, of each byte the low ones first."""
    return np.stack([packed & 15, packed >> 4], axis=1).reshape(-1)


def _weight(name: str, codes: Bytes, book: npt.NDArray[np.float32]) -> Tensor:
    def numbers(window: Window) -> Array:
        return book[codes[window]]

    return LazyTensor(name, DType.FLOAT, codes.shape, numbers)


def _uses(layer: Layer) -> Iterator[tuple[str, Use]]:
    yield f"{layer.name}.weight", Use(layer.name, layer.op, "weight", 0)
    yield f"{layer.name}.bias", Use(layer.name, layer.op, "bias", 0)


READER = Reader(FORMAT, (".net",), accepts, read, explain, options=("prototxt",))
