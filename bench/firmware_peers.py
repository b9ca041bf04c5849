"""Other decoders on the same processor: instructions a weight, counted as ours are.

Given are the symbols as bytes, one a weight; what comes back is compared. heatshrink has window 11
and lookahead 4, zlib inflates what it made at level 9, without checksums. Their sources are taken
from PyPI when this runs; where that does not work they are left out, with the reason.
"""

from __future__ import annotations

import ctypes
import sys
import tarfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from firmware_build import TARGETS, MissingToolError, call, count, need, program
from show import Cell

U8 = npt.NDArray[np.uint8]
MACHINE = "M4"
SDISTS = {"heatshrink": "heatshrink2==0.15.0", "zlib": "pyminizip==0.2.6"}
INFLATE = ("inflate", "inftrees", "inffast", "zutil", "adler32", "crc32")
WINDOW, LOOKAHEAD = 11, 4
STATIC = {
    "DYNAMIC_ALLOC": 0,
    "STATIC_INPUT_BUFFER_SIZE": 32,
    "STATIC_WINDOW_BITS": WINDOW,
    "STATIC_LOOKAHEAD_BITS": LOOKAHEAD,
    "DEBUGGING_LOGS": 0,
    "USE_INDEX": 1,
}
MORE = 1  #: what heatshrink's poll says while there is more to come
PIECE = 4096


def sources(name: str, folder: Path) -> Path:
    """Return the unpacked source package of a peer."""
    pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:"]
    try:
        call(*pip, "-d", folder, SDISTS[name])
    except RuntimeError as error:
        raise MissingToolError(f"{name}: {str(error).splitlines()[-1]}") from None
    (archive,) = folder.glob(SDISTS[name].split("==")[0] + "-*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    return folder / archive.name.removesuffix(".tar.gz")


def measured(
    main: str,
    packed: bytes,
    symbols: U8,
    folder: Path,
    flags: Sequence[str] = (),
    foreign: Sequence[Path] = (),
) -> list[Cell]:
    """Return bits and instructions a weight, and RAM; what comes back must be the symbols."""
    target = TARGETS[MACHINE]
    flags = ["-O2", f"-DNUMBERS={symbols.size}", *flags]
    libraries = ["-lc"] if foreign else []  # for memcpy and memset
    elf = program(target, main, packed, folder, flags, foreign, libraries)
    lines, (counts,) = count(target, elf)
    word, crc, ram = lines[-1]
    if (word, int(crc, 16)) != ("end", zlib.crc32(symbols.tobytes())):
        raise RuntimeError(f"{main}: other numbers came back")
    return [8 * len(packed) / symbols.size, counts.total / symbols.size, int(ram, 16)]


def unpacked(symbols: U8, folder: Path) -> list[Cell]:
    """Measure 4-bit numbers, two a byte, each looked up among 16 levels."""
    numbers = (symbols & 15).astype(np.uint8)
    packed = (numbers[::2] | numbers[1::2] << 4).astype(np.uint8).tobytes()
    return measured("peer_unpack.c", packed, numbers, folder)


def heatshrink(symbols: U8, package: Path, folder: Path) -> list[Cell]:
    """Measure heatshrink."""
    place = package / "heatshrink2" / "_heatshrink"
    flags = [f"-I{place}", *(f"-DHEATSHRINK_{name}={value}" for name, value in STATIC.items())]
    flags.append("-DHEATSHRINK_CONFIG_H")  # in place of the package's settings
    packed = shrink(place, symbols.tobytes(), folder)
    foreign = [place / "heatshrink_decoder.c"]
    return measured("peer_heatshrink.c", packed, symbols, folder / "board", flags, foreign)


def shrink(place: Path, data: bytes, folder: Path) -> bytes:
    """Compress with heatshrink's own encoder, built for this machine."""
    folder.mkdir(parents=True, exist_ok=True)
    library = folder / "encoder.so"
    call(need("gcc"), "-O2", "-shared", "-fPIC", place / "heatshrink_encoder.c", "-o", library)
    encoder = ctypes.CDLL(str(library))
    encoder.heatshrink_encoder_alloc.restype = ctypes.c_void_p
    state = ctypes.c_void_p(encoder.heatshrink_encoder_alloc(WINDOW, LOOKAHEAD))
    packed = b""
    while data:
        size = ctypes.c_size_t()
        encoder.heatshrink_encoder_sink(state, data, ctypes.c_size_t(len(data)), ctypes.byref(size))
        data = data[size.value :]
        packed += _polled(encoder, state)
    while encoder.heatshrink_encoder_finish(state):
        packed += _polled(encoder, state)
    return packed


def _polled(encoder: ctypes.CDLL, state: ctypes.c_void_p) -> bytes:
    """Return what the encoder has ready."""
    room, size, ready = ctypes.create_string_buffer(PIECE), ctypes.c_size_t(), b""
    said = MORE
    while said == MORE:
        said = encoder.heatshrink_encoder_poll(
            state, room, ctypes.c_size_t(PIECE), ctypes.byref(size)
        )
        ready += room.raw[: size.value]
    return ready


def inflate(symbols: U8, package: Path, folder: Path) -> list[Cell]:
    """Measure zlib."""
    place = package / "zlib-1.2.11"
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15, 9)
    packed = deflate.compress(symbols.tobytes()) + deflate.flush()
    foreign = [place / f"{name}.c" for name in INFLATE]
    flags = [f"-I{place}", "-DNO_GZIP", "-DZ_SOLO"]
    return measured("peer_inflate.c", packed, symbols, folder, flags, foreign)


def peer_rows(cases: Mapping[str, U8], folder: Path) -> tuple[list[list[Cell]], list[str]]:
    """Measure the peers on the symbols of each case; also return why one is left out."""
    left_out = []
    first = next(iter(cases.values()))
    rows: list[list[Cell]] = [["4-bit unpacking", "any", *unpacked(first, folder / "unpack")]]
    for name, measure in (("heatshrink", heatshrink), ("zlib", inflate)):
        try:
            package = sources(name, folder)
        except MissingToolError as missing:
            left_out.append(str(missing))
            continue
        for case, symbols in cases.items():
            rows.append([name, case, *measure(symbols, package, folder / f"{name}-{case}")])
    return rows, left_out
