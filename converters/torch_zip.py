"""The zip archives that torch.save, torch.jit.save and torch.export write, read without trust.

A member is found through the central directory at the end of the file, which must account for all
of it: one name, one member, no two in the same bytes, sizes that the file can hold. What the file
says twice (local header and directory) must agree. torch writes flag bit 3: sizes and CRC of the
local header are 0 then, and the directory has them; it stores members, others may deflate them.
Nothing is extracted: names are keys here, and still refused where they would leave a folder.

Spec: APPNOTE.TXT of PKWARE, sections 4.3 to 4.5.    Sister: converters/read_torch.py
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

from dcformat.errors import ConvertError

from .onnx_files import FileBytes
from .weights import shown

STORED, DEFLATED = 0, 8
_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_MAX_DIRECTORY = 1 << 26
_ENCRYPTED = 1 << 0 | 1 << 6 | 1 << 13
_LATER, _UTF8 = 1 << 3, 1 << 11  # sizes stand behind the data; the name is UTF-8
_PIECE = 1 << 16
_RATIO, _SLACK = 1032, 64  # no deflate stream grows more


@dataclass(frozen=True, slots=True)
class Member:
    """A file in the archive: `stored` bytes in the file that are `size` bytes of content.

    `header` is where its local header begins, `limit` where the next member's begins at most.
    """

    name: str
    method: int
    flags: int
    crc: int
    stored: int
    size: int
    header: int
    limit: int


@dataclass(frozen=True)
class Archive:
    """An open zip archive; the stream must stay open as long as members are read."""

    source: FileBytes
    members: dict[str, Member]

    def start(self, name: str) -> int:
        """Return where the bytes of member `name` begin; its local header is checked."""
        member = self._member(name)
        head = self.source[member.header : member.header + _LOCAL.size]
        if len(head) < _LOCAL.size:
            raise _refused(name, "its header is cut short")
        magic, _, flags, method, _, _, crc, stored, size, n, m = _LOCAL.unpack(head)
        begin = member.header + _LOCAL.size
        if magic != b"PK\x03\x04":
            raise _refused(name, "its header is not where the directory says")
        if (flags, method) != (member.flags, member.method):
            raise _refused(name, "its header and the directory say different things")
        if begin + n + m + member.stored > member.limit:
            raise _refused(name, "it does not fit between its neighbours")
        _check_local(member, flags, (crc, stored, size), self.source[begin + n : begin + n + m])
        if _decoded(self.source[begin : begin + n], flags) != name:
            raise _refused(name, "its header has another name than the directory")
        return int(begin + n + m)

    def read(self, name: str, limit: int) -> bytes:
        """Return the content of member `name`, `limit` bytes at most; its CRC is checked."""
        member = self._member(name)
        if member.size > limit:
            raise _refused(name, f"it has {member.size} bytes, more than the {limit} that are read")
        start = self.start(name)
        if member.method == STORED:
            data = self.source[start : start + member.size]
        else:
            data = self._inflated(member, start)
        if member.crc and zlib.crc32(data) != member.crc:
            raise _refused(name, "its CRC is wrong: it is damaged")
        return data

    def check_crc(self, name: str) -> None:
        """Read a stored member once and compare its CRC.

        A CRC of 0 is not compared: torch writes that where it was told to compute none.
        """
        member, state = self._member(name), 0
        if not member.crc:
            return
        start = self.start(name)
        for place in range(start, start + member.size, 1 << 20):
            piece = self.source[place : min(place + (1 << 20), start + member.size)]
            state = zlib.crc32(piece, state)
        if state != member.crc:
            raise _refused(name, "its CRC is wrong: it is damaged")

    def _member(self, name: str) -> Member:
        if name not in self.members:
            raise ConvertError(f"the archive has no member {shown(name)}")
        member = self.members[name]
        if member.method not in (STORED, DEFLATED):
            raise _refused(name, f"its compression method {member.method} is not known")
        if member.method == STORED and member.stored != member.size:
            raise _refused(name, "it is stored, and its two sizes differ")
        if member.size > _RATIO * member.stored + _SLACK:
            raise _refused(name, f"{member.stored} bytes cannot inflate to {member.size}")
        return member

    def _inflated(self, member: Member, start: int) -> bytes:
        """Return a deflated member; never more bytes than the directory says."""
        engine, parts, room = zlib.decompressobj(-15), [], member.size + 1
        try:
            for place in range(start, start + member.stored, _PIECE):
                piece = self.source[place : min(place + _PIECE, start + member.stored)]
                parts.append(engine.decompress(piece, room))
                room -= len(parts[-1])
                if room <= 0:
                    break
        except zlib.error as error:
            raise _refused(member.name, "its compressed data is damaged") from error
        if room != 1 or not engine.eof or engine.unused_data or engine.unconsumed_tail:
            raise _refused(member.name, f"it does not inflate to the {member.size} bytes it states")
        return b"".join(parts)


def open_archive(source: FileBytes) -> Archive:
    """Return the archive in `source`; ConvertError where its directory is not sound."""
    start, size, count, end = _directory(source)
    if start + size != end:
        raise ConvertError("not a sound zip archive: its directory does not end where it should")
    if size > _MAX_DIRECTORY:
        raise ConvertError(f"its zip directory has {size} bytes, more than {_MAX_DIRECTORY}")
    entries = list(_entries(source[start:end], count))
    found: dict[str, Member] = {}
    for member in _bounded(entries, start):
        if member.name in found:
            raise _refused(member.name, "it is there twice")
        found[member.name] = member
    return Archive(source, {member.name: found[member.name] for member in entries})


def _directory(source: FileBytes) -> tuple[int, int, int, int]:
    """Return start, size, entries and end of the central directory."""
    place = _end_record(source)
    record = _END.unpack(source[place : place + _END.size])
    _, disk, first, here, count, size, start, _ = record
    locator = source[place - _LOCATOR.size : place] if place >= _LOCATOR.size else b""
    if locator[:4] == b"PK\x06\x07":
        return _directory64(source, locator, place - _LOCATOR.size)
    if disk or first or here != count:
        raise ConvertError("not a sound zip archive: it has more than one part")
    return start, size, count, place


def _directory64(source: FileBytes, locator: bytes, limit: int) -> tuple[int, int, int, int]:
    """Return what `_directory` does, of an archive with fields of 64 bits."""
    _, disk, place, disks = _LOCATOR.unpack(locator)
    record = source[place : place + _END64.size] if place < limit else b""
    if len(record) < _END64.size or record[:4] != b"PK\x06\x06" or disk or disks > 1:
        raise ConvertError("not a sound zip archive: its zip64 record is not where it should be")
    _, length, _, _, this, first, here, count, size, start = _END64.unpack(record)
    if this or first or here != count or place + 12 + length != limit:
        raise ConvertError("not a sound zip archive: its zip64 record is wrong")
    return start, size, count, place


def _end_record(source: FileBytes) -> int:
    """Return where the record at the end of the archive begins; a comment may follow it."""
    tail_start = max(0, len(source) - _END.size - 0xFFFF)
    tail = source[tail_start : len(source)]
    place = tail.rfind(b"PK\x05\x06")
    while place >= 0:
        rest = len(tail) - place - _END.size
        if rest >= 0 and int.from_bytes(tail[place + 20 : place + 22], "little") == rest:
            return tail_start + place
        place = tail.rfind(b"PK\x05\x06", 0, place)
    raise ConvertError("not a zip archive, or cut short: its directory is missing")


def _entries(directory: bytes, count: int) -> Iterator[Member]:
    place = 0
    for _ in range(count):
        head = directory[place : place + _ENTRY.size]
        if len(head) < _ENTRY.size or head[:4] != b"PK\x01\x02":
            raise ConvertError("not a sound zip archive: its directory is damaged")
        lengths = struct.unpack_from("<3H", head, 28)
        body = directory[place + _ENTRY.size : place + _ENTRY.size + sum(lengths)]
        if len(body) < sum(lengths):
            raise ConvertError("not a sound zip archive: its directory is cut short")
        yield _entry(head, body[: lengths[0]], body[lengths[0] : lengths[0] + lengths[1]])
        place += _ENTRY.size + len(body)
    if place != len(directory):
        raise ConvertError("not a sound zip archive: its directory has more than its entries")


def _entry(head: bytes, raw: bytes, extra: bytes) -> Member:
    _, _, _, flags, method, _, _, crc, stored, size, *_, disk, _, _, header = _ENTRY.unpack(head)
    name = _decoded(raw, flags)
    check_name(name)
    if flags & _ENCRYPTED:
        raise _refused(name, "it is encrypted")
    size, stored, header, disk = _wide(name, extra, size, stored, header, disk)
    if disk:
        raise _refused(name, "it is in another part of the archive")
    return Member(name, method, flags, crc, stored, size, header, 0)


def _wide(name: str, extra: bytes, size: int, stored: int, header: int, disk: int) -> list[int]:
    """Take the fields that do not fit from the zip64 extra field, in its order."""
    fields = [(size, 8, 0xFFFFFFFF), (stored, 8, 0xFFFFFFFF), (header, 8, 0xFFFFFFFF)]
    fields.append((disk, 4, 0xFFFF))
    wide, found, place = _extra(name, extra, 1), [], 0
    for value, width, full in fields:
        if value != full:
            found.append(value)
            continue
        if place + width > len(wide):
            raise _refused(name, "its zip64 field is cut short")
        found.append(int.from_bytes(wide[place : place + width], "little"))
        place += width
    return found


def _extra(name: str, extra: bytes, wanted: int) -> bytes:
    """Return the extra field `wanted`, empty where there is none."""
    place = 0
    while place + 4 <= len(extra):
        kind, size = struct.unpack_from("<2H", extra, place)
        if place + 4 + size > len(extra):
            raise _refused(name, "its extra field is cut short")
        if kind == wanted:
            return extra[place + 4 : place + 4 + size]
        place += 4 + size
    return b""


def _check_local(member: Member, flags: int, stated: tuple[int, int, int], extra: bytes) -> None:
    """Compare CRC and sizes of a local header with the directory, where they are stated."""
    crc, stored, size = stated
    if flags & _LATER and stated == (0, 0, 0):
        return
    size, stored, *_ = _wide(member.name, extra, size, stored, 0, 0)
    if (crc, stored, size) != (member.crc, member.stored, member.size):
        raise _refused(member.name, "its header and the directory state different sizes")


def _bounded(entries: list[Member], end: int) -> Iterator[Member]:
    """Yield the entries by position, each with the limit that the next one sets."""
    ordered = sorted(entries, key=lambda member: member.header)
    limits = [member.header for member in ordered[1:]] + [end]
    for member, limit in zip(ordered, limits, strict=True):
        raw = len(member.name.encode("utf-8" if member.flags & _UTF8 else "cp437"))
        if member.header + _LOCAL.size + raw + member.stored > limit:
            raise _refused(member.name, "it overlaps another one, or the directory")
        yield replace(member, limit=limit)


def _decoded(raw: bytes, flags: int) -> str:
    try:
        return raw.decode("utf-8" if flags & _UTF8 else "cp437")
    except UnicodeDecodeError as error:
        raise ConvertError(
            f"the name of a member of the archive is not UTF-8: {raw[:100]!r}"
        ) from error


def check_name(name: str) -> None:
    """Raise ConvertError for a member that would leave the folder if it were extracted."""
    if not name or "\0" in name or "\\" in name:
        raise _refused(name, "its name is refused")
    if name[0] == "/" or name[1:2] == ":":
        raise _refused(name, "its name is refused: it is absolute")
    if ".." in name.split("/"):
        raise _refused(name, "its name is refused: it leaves the archive ('..')")


def _refused(name: str, reason: str) -> ConvertError:
    return ConvertError(f"member {shown(name)} of the archive: {reason}")
