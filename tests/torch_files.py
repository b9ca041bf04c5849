"""Files of torch.save made by hand: pickles instruction by instruction, zip archives, legacy.

Nothing here needs torch. `state_dict` writes what torch writes for a state dict; tests change the
parts that they are about.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

MAGIC = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
PROTOCOL = b"\x80\x02M\xe9\x03."
SYSTEM = b"\x80\x02}(" + b"X\x0d\x00\x00\x00little_endian" + b"\x88u."
STORAGES = {"<f4": "Float", "<f8": "Double", "<i8": "Long", "<i4": "Int", "|b1": "Bool",
            "|u1": "Byte", "<f2": "Half", "<c8": "ComplexFloat"}  # fmt: skip


def text(value: str) -> bytes:
    raw = value.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(raw)) + raw


def integer(value: int) -> bytes:
    if 0 <= value < 256:
        return b"K" + bytes([value])
    if -(1 << 31) <= value < 1 << 31:
        return b"J" + struct.pack("<i", value)
    raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(raw)]) + raw


def name(dotted: str) -> bytes:
    module, _, last = dotted.rpartition(".")
    return f"c{module}\n{last}\n".encode()


def items(values: Sequence[bytes]) -> bytes:
    return b"(" + b"".join(values) + b"t"


def numbers(values: Sequence[int]) -> bytes:
    return items([integer(n) for n in values])


def mapping(pairs: Mapping[str, bytes] | Sequence[tuple[str, bytes]]) -> bytes:
    listed = pairs.items() if isinstance(pairs, Mapping) else pairs
    return b"}(" + b"".join(text(key) + value for key, value in listed) + b"u"


def call(dotted: str, arguments: Sequence[bytes]) -> bytes:
    return name(dotted) + items(arguments) + b"R"


ORDERED = call("collections.OrderedDict", [])


def storage(
    key: str, kind: str, count: int, location: str = "cpu", more: Sequence[bytes] = ()
) -> bytes:
    parts = [text("storage"), name(f"torch.{kind}Storage"), text(key), text(location)]
    return items([*parts, integer(count), *more]) + b"Q"


def tensor(
    where: bytes, offset: int, size: Sequence[int], stride: Sequence[int] | None = None
) -> bytes:
    steps = c_strides(size) if stride is None else stride
    parts = [where, integer(offset), numbers(size), numbers(steps), b"\x89", ORDERED]
    return call("torch._utils._rebuild_tensor_v2", parts)


def c_strides(size: Sequence[int]) -> list[int]:
    return [int(np.prod([max(n, 1) for n in size[i + 1 :]])) for i in range(len(size))]


def pickle(value: bytes) -> bytes:
    return b"\x80\x02" + value + b"."


def plain(key: str, array: np.ndarray, more: Sequence[bytes] = ()) -> bytes:
    """Return the instructions for a tensor that has storage `key` for itself."""
    kind = STORAGES[array.dtype.str]
    return tensor(storage(key, kind, array.size, more=more), 0, array.shape)


@dataclass
class Archive:
    """What a zip archive of torch.save holds; `members` come on top."""

    value: bytes
    storages: Mapping[str, bytes] = field(default_factory=dict)
    root: str = "archive"
    members: Mapping[str, bytes] = field(default_factory=dict)
    deflated: bool = False

    def bytes(self) -> bytes:
        room = io.BytesIO()
        method = zipfile.ZIP_DEFLATED if self.deflated else zipfile.ZIP_STORED
        with zipfile.ZipFile(room, "w", method) as archive:
            put(archive, f"{self.root}/data.pkl", self.value)
            for key, data in self.storages.items():
                put(archive, f"{self.root}/data/{key}", data)
            for member, data in self.members.items():
                put(archive, f"{self.root}/{member}", data)
        return room.getvalue()


def put(archive: zipfile.ZipFile, member: str, data: bytes) -> None:
    info = zipfile.ZipInfo(member)
    info.compress_type = archive.compression
    archive.writestr(info, data)


def state_dict(arrays: Mapping[str, np.ndarray], **more: object) -> bytes:
    """Return a zip archive with a state dict of `arrays`."""
    value = mapping([(n, plain(str(i), a)) for i, (n, a) in enumerate(arrays.items())])
    storages = {str(i): a.tobytes() for i, a in enumerate(arrays.values())}
    return Archive(pickle(value), storages, **more).bytes()  # type: ignore[arg-type]


def legacy(
    value: bytes, storages: Mapping[str, tuple[int, bytes]], system: bytes = SYSTEM
) -> bytes:
    """Return a legacy file: `storages` are elements and bytes by key."""
    keys = b"\x80\x02](" + b"".join(text(key) for key in storages) + b"e."
    raw = b"".join(struct.pack("<Q", count) + data for count, data in storages.values())
    return MAGIC + PROTOCOL + system + value + keys + raw


@dataclass
class Entry:
    """A zip member written by hand, so that its fields can lie."""

    name: bytes
    data: bytes
    method: int = 0
    flags: int = 0
    stored: int | None = None
    size: int | None = None
    crc: int | None = None
    local_name: bytes | None = None


def zip_of(entries: Sequence[Entry], comment: bytes = b"") -> bytes:
    """Return a zip archive of entries whose headers say what they are told to say."""
    body, directory = b"", b""
    for one in entries:
        stored = len(one.data) if one.stored is None else one.stored
        size = len(one.data) if one.size is None else one.size
        crc = zlib.crc32(one.data) if one.crc is None else one.crc
        local = one.name if one.local_name is None else one.local_name
        common = struct.pack("<HHHHIII", one.flags, one.method, 0, 0, crc, stored, size)
        place = len(body)
        body += b"PK\x03\x04" + struct.pack("<H", 20) + common
        body += struct.pack("<HH", len(local), 0) + local + one.data
        directory += b"PK\x01\x02" + struct.pack("<HH", 20, 20) + common
        directory += struct.pack("<HHHHHII", len(one.name), 0, 0, 0, 0, 0, place) + one.name
    count = len(entries)
    end = struct.pack("<HHHHIIH", 0, 0, count, count, len(directory), len(body), len(comment))
    return body + directory + b"PK\x05\x06" + end + comment
