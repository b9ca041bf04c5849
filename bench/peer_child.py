"""A coder of others on given arrays, in a process of its own.

`peer_child.py CODER ARRAYS.npz ROUNDS`; bench/peer_tools.py calls it in the environment that it
made, where dcformat is not. Arrays are named CASE/ORDER/INDEX: a network's tensors, in one or more
orders of axes. What comes back is compared. For each case a line of JSON says bytes in the order
that suits the coder best, and the least seconds of encoding and decoding. Some coders end their
process on what they do not like; lines that were printed before that stand.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import lzma
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
UNARY = 11  #: NNCodec's default
SKIP_ROWS, TUNE, UNIFORM, FIRST_PROFILE = 1, 1, 0, 1


class Blob:
    """A general compressor: all tensors one after the other, in one piece."""

    def __init__(self, compress: Callable[[bytes], Any], expand: Callable[[bytes], Any]) -> None:
        self.compress, self.expand = compress, expand

    def prepare(self, tensors: Sequence[Array]) -> bytes:
        return b"".join(tensor.tobytes() for tensor in tensors)

    def encode(self, given: bytes) -> list[bytes]:
        return [bytes(self.compress(given))]

    def decode(self, coded: Sequence[bytes], _: Sequence[Array]) -> bytes:
        return bytes(self.expand(coded[0]))


def _zstd() -> Blob:
    zstandard = importlib.import_module("zstandard")
    return Blob(
        zstandard.ZstdCompressor(level=19).compress, zstandard.ZstdDecompressor().decompress
    )


def _brotli() -> Blob:
    brotli = importlib.import_module("brotli")
    return Blob(brotli.compress, brotli.decompress)


def _zipnn() -> Blob:
    for name in ("torch", "safetensors", "safetensors.torch"):
        sys.modules[name] = MagicMock()  # imported, but not used on bytes
    codec = importlib.import_module("zipnn").ZipNN(bytearray_dtype="float32", threads=1)
    # the codec works in place
    return Blob(lambda data: codec.compress(bytearray(data)), codec.decompress)


def _shuffled() -> Blob:
    plain = _zstd()

    def compress(data: bytes) -> bytes:
        return bytes(plain.compress(np.frombuffer(data, np.uint8).reshape(-1, 4).T.tobytes()))

    def expand(coded: bytes) -> Any:
        return np.frombuffer(plain.expand(coded), np.uint8).reshape(4, -1).T.tobytes()

    return Blob(compress, expand)


class NNCodec:
    """NNCodec's arithmetic coder with the settings of its `encode`: a payload for each tensor.

    The compiled part alone: the package around it takes PyTorch and more.
    """

    def __init__(self) -> None:
        package = importlib.util.find_spec("nncodec")
        if package is None or not package.submodule_search_locations:
            raise ModuleNotFoundError("nncodec")
        folder = Path(package.submodule_search_locations[0]) / "extensions"
        (path,) = (p for p in folder.glob("deepCABAC*") if p.suffix in (".so", ".pyd"))
        spec = importlib.util.spec_from_file_location("deepCABAC", path)
        if spec is None or spec.loader is None:
            raise ModuleNotFoundError(str(path))
        self.core: Any = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.core)
        self.off = (self.core.HdspMode.AlwaysOff, np.zeros(2, np.int8))

    def prepare(self, tensors: Sequence[Array]) -> list[Array]:
        return [np.ascontiguousarray(tensor, np.int32) for tensor in tensors]

    def encode(self, given: Sequence[Array]) -> list[bytes]:
        return [self._one(tensor) for tensor in given]

    def _one(self, tensor: Array) -> bytes:
        rows = tensor.reshape(tensor.shape[0], -1)
        empty = (~rows.any(axis=1)).astype(np.int32)
        encoder = self.core.Encoder()
        encoder.initCtxModels(UNARY, TUNE)
        encoder.encodeLayer(tensor, UNIFORM, 0, FIRST_PROFILE, 0, SKIP_ROWS, empty, *self.off, 0, 0)
        return bytes(encoder.finish())

    def decode(self, coded: Sequence[bytes], given: Sequence[Array]) -> list[Array]:
        out = [np.zeros(tensor.shape, np.int32) for tensor in given]
        for stream, tensor in zip(coded, out, strict=True):
            decoder = self.core.Decoder()
            decoder.setStream(np.frombuffer(stream, np.uint8))
            decoder.initCtxModels(UNARY)
            decoder.decodeLayer(tensor, UNIFORM, 0, FIRST_PROFILE, 0, *self.off, 0, 0)
            decoder.finish()
        return out


class Vela:
    """The weight coder of Arm's compiler for Ethos-U, on flat tensors."""

    def __init__(self) -> None:
        self.codec = importlib.import_module("ethosu.mlw_codec")

    def prepare(self, tensors: Sequence[Array]) -> list[list[int]]:
        return [tensor.reshape(-1).tolist() for tensor in tensors]

    def encode(self, given: Sequence[list[int]]) -> list[bytes]:
        return [bytes(self.codec.encode(numbers)) for numbers in given]

    def decode(self, coded: Sequence[bytes], _: Sequence[list[int]]) -> list[list[int]]:
        return [self.codec.decode(bytearray(stream)) for stream in coded]


def _xz() -> Blob:
    return Blob(lambda data: lzma.compress(data, preset=9), lzma.decompress)


CODERS: dict[str, Callable[[], Any]] = {
    "NNCodec": NNCodec,
    "Vela": Vela,
    "zstd -19": _zstd,
    "xz -9": _xz,
    "brotli -11": _brotli,
    "ZipNN": _zipnn,
    "shuffle, zstd -19": _shuffled,
}


def _timed(action: Callable[[], Any], rounds: int) -> tuple[float, Any]:
    """Return the least processor seconds, and what came out."""
    least, result = float("inf"), None
    for _ in range(rounds):
        start = time.process_time()
        result = action()
        least = min(least, time.process_time() - start)
    return least, result


def _same(given: Any, back: Any) -> bool:
    if isinstance(given, bytes):
        return bool(given == back)
    return all(np.array_equal(a, b) for a, b in zip(given, back, strict=True))


def measured(coder: Any, orders: Sequence[Sequence[Array]], rounds: int) -> dict[str, float]:
    """Return bytes and seconds; raises where other numbers come back."""
    given = [coder.prepare(tensors) for tensors in orders]
    sizes = [sum(map(len, coder.encode(one))) for one in given]
    best = given[sizes.index(min(sizes))]
    encode, coded = _timed(lambda: coder.encode(best), rounds)
    decode, back = _timed(lambda: coder.decode(coded, best), rounds)
    if not _same(best, back):
        raise ValueError("other numbers came back")
    return {"bytes": min(sizes), "encode": encode, "decode": decode}


def main(name: str, path: str, rounds: str) -> None:
    coder = CODERS[name]()
    cases: dict[str, dict[str, list[Array]]] = {}
    with np.load(path) as held:
        for key in held.files:
            case, order, _ = key.split("/")
            cases.setdefault(case, {}).setdefault(order, []).append(held[key])
    for case, orders in cases.items():
        found = measured(coder, list(orders.values()), int(rounds))
        print(json.dumps({"case": case, **found}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
