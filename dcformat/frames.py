"""Zstandard frames, guarded: the only place that calls libzstd (spec/encodings/coder_zstd.md)."""

from __future__ import annotations

import zstandard

from .errors import Code, error_of
from .ids import MAX_ZSTD_WINDOW_LOG2

LEVEL = 19
VERSION = ".".join(str(n) for n in zstandard.ZSTD_VERSION)


def compress(data: bytes | memoryview, level: int = LEVEL) -> bytes:
    """Return one frame with its content size; the window stays within the limit."""
    parameters = zstandard.ZstdCompressionParameters.from_level(
        level, source_size=len(data), write_content_size=True, write_checksum=False
    )
    if parameters.window_log > MAX_ZSTD_WINDOW_LOG2:
        parameters = zstandard.ZstdCompressionParameters.from_level(
            level, source_size=len(data), window_log=MAX_ZSTD_WINDOW_LOG2, write_content_size=True
        )
    return zstandard.ZstdCompressor(compression_params=parameters).compress(data)


def decompress(frame: bytes | memoryview, size: int, place: str) -> bytes:
    """Return the `size` bytes of `frame`; anything else about the frame is CODE.

    The declared size is compared before libzstd allocates by it.
    """
    try:
        if bytes(frame[:4]) != zstandard.FRAME_HEADER:
            raise error_of(Code.CODE, "not a zstd frame", place)
        parameters = zstandard.get_frame_parameters(frame)
        if parameters.dict_id:
            raise error_of(Code.CODE, f"frame wants dictionary {parameters.dict_id}", place)
        if parameters.content_size != size:
            raise error_of(Code.CODE, f"frame says {parameters.content_size} bytes", place)
        if parameters.window_size > max(1 << MAX_ZSTD_WINDOW_LOG2, 1024):
            raise error_of(Code.CODE, f"frame wants a window of {parameters.window_size}", place)
        engine = zstandard.ZstdDecompressor(max_window_size=1 << MAX_ZSTD_WINDOW_LOG2)
        if size == 0:
            return _nothing(engine, frame, place)
        data = engine.decompress(frame, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise error_of(Code.CODE, f"not a valid zstd frame: {error}", place) from error
    if len(data) != size:
        raise error_of(Code.CODE, f"frame gives {len(data)} bytes, not {size}", place)
    return data


def content_size(frame: bytes | memoryview) -> int:
    """Return the content size that a frame declares; 0 for what is no frame."""
    try:
        return int(zstandard.get_frame_parameters(frame).content_size)
    except zstandard.ZstdError:
        return 0


def _nothing(engine: zstandard.ZstdDecompressor, frame: bytes | memoryview, place: str) -> bytes:
    """Check a frame of no bytes: `decompress` itself would not look at its blocks."""
    reader = engine.decompressobj()
    data = reader.decompress(frame)
    if data or not reader.eof or reader.unused_data:
        raise error_of(Code.CODE, "not one frame of no bytes", place)
    return b""
