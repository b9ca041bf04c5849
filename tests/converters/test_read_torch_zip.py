"""Zip archives that lie about their members are refused, by member and reason."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch_files as made
from torch_files import Entry

import dcformat
from dcformat.errors import ConvertError

WEIGHT = struct.pack("<6f", *range(6))
VALUE = made.pickle(made.mapping({"a": made.tensor(made.storage("0", "Float", 6), 0, [2, 3])}))
PICKLE, DATA = Entry(b"m/data.pkl", VALUE), Entry(b"m/data/0", WEIGHT)


def read(data: bytes, folder: Path) -> dcformat.Model:
    (folder / "x.pt").write_bytes(data)
    return dcformat.read(folder / "x.pt")


def reason(data: bytes, folder: Path) -> str:
    with pytest.raises(ConvertError) as caught:
        read(data, folder)
    message = str(caught.value)
    assert message.startswith(str(folder / "x.pt"))
    assert "\n" not in message
    return message


def whole(data: bytes, folder: Path) -> None:
    assert read(data, folder)["a"].data.tobytes() == WEIGHT


def deflated(entry: Entry) -> Entry:
    engine = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = engine.compress(entry.data) + engine.flush()
    crc, size = zlib.crc32(entry.data), len(entry.data)
    return replace(entry, data=packed, method=8, size=size, crc=crc)


def test_sound_archives(tmp_path: Path) -> None:
    whole(made.zip_of([PICKLE, DATA]), tmp_path)
    whole(made.zip_of([DATA, PICKLE], comment=b"a comment PK\x05\x06" + bytes(30)), tmp_path)
    whole(made.zip_of([deflated(PICKLE), deflated(DATA)]), tmp_path)
    whole(made.zip_of([PICKLE, DATA, Entry(b"m/.data/serialization_id", b"1")]), tmp_path)
    whole(made.zip_of([replace(PICKLE, crc=0), replace(DATA, crc=0)]), tmp_path)
    whole(made.zip_of([PICKLE, DATA, Entry("m/\u00e9".encode(), b"", flags=1 << 11)]), tmp_path)


BAD = {
    "twice": ([PICKLE, DATA, DATA], "member 'm/data/0' of the archive: it is there twice"),
    "parent": ([PICKLE, DATA, Entry(b"m/../../x", b"")], "member 'm/../../x' of the archive: its"),
    "root": ([PICKLE, DATA, Entry(b"/etc/passwd", b"")], "'/etc/passwd' of the archive: its name"),
    "drive": ([PICKLE, DATA, Entry(b"C:/x", b"")], "it is absolute"),
    "backslash": ([PICKLE, DATA, Entry(b"m\\x", b"")], "its name is refused"),
    "NUL": ([PICKLE, DATA, Entry(b"m/x\0", b"")], "its name is refused"),
    "no name": ([PICKLE, DATA, Entry(b"", b"")], "its name is refused"),
    "no UTF-8": ([PICKLE, DATA, Entry(b"m/\xff", b"", flags=1 << 11)], "is not UTF-8"),
    "encrypted": ([replace(PICKLE, flags=1), DATA], "'m/data.pkl' of the archive: it is encrypted"),
    "strongly": ([PICKLE, replace(DATA, flags=1 << 6)], "'m/data/0' of the archive: it is encry"),
    "method": ([PICKLE, replace(DATA, method=14)], "'m/data/0' of the archive: its compression"),
    "stored larger": ([PICKLE, replace(DATA, size=1 << 31)], "its two sizes differ"),
    "stored smaller": ([PICKLE, replace(DATA, size=20)], "its two sizes differ"),
    "both larger": ([PICKLE, replace(DATA, stored=999, size=999)], "overlaps another one"),
    "first larger": ([replace(PICKLE, stored=999, size=999), DATA], "overlaps another one"),
    "both smaller": ([PICKLE, replace(DATA, stored=20, size=20)], "its CRC is wrong"),
    "smaller, no CRC": (
        [PICKLE, replace(DATA, stored=20, size=20, crc=0)],
        "has 20 bytes, the pickle says 24",
    ),
    "larger, no CRC": (
        [PICKLE, Entry(b"m/data/0", WEIGHT * 2)],
        "has 48 bytes, the pickle says 24",
    ),
    "CRC": ([PICKLE, replace(DATA, crc=7)], "member 'm/data/0' of the archive: its CRC is wrong"),
    "pickle CRC": ([replace(PICKLE, crc=7), DATA], "'m/data.pkl' of the archive: its CRC is wrong"),
    "local name": ([PICKLE, replace(DATA, local_name=b"m/data/1")], "another name than the direc"),
    "bomb": ([PICKLE, replace(deflated(DATA), size=1 << 31)], "bytes cannot inflate to 2147483648"),
    "bomb pickle": (
        [replace(deflated(PICKLE), size=100_000), DATA],
        "it does not inflate to the 100000 bytes it states",
    ),
    "inflates to more": (
        [PICKLE, replace(deflated(DATA), size=3)],
        "it does not inflate to the 3 bytes it states",
    ),
    "inflates to more, hidden": (
        [PICKLE, replace(deflated(replace(DATA, data=WEIGHT + bytes(9999))), size=24)],
        "it does not inflate to the 24 bytes it states",
    ),
    "no deflate stream": ([PICKLE, replace(DATA, method=8, data=b"\xff" * 24)], "is damaged"),
    "cut deflate stream": (
        [PICKLE, replace(deflated(DATA), data=deflated(DATA).data[:-3])],
        "it does not inflate",
    ),
    "no pickle": ([DATA], "torch.save did not write: it holds 'm/data/0'"),
    "two models": ([PICKLE, DATA, replace(PICKLE, name=b"n/data.pkl")], "2 data.pkl"),
    "without a folder": ([replace(PICKLE, name=b"data.pkl")], "it holds 'data.pkl'"),
    "too deep": ([replace(PICKLE, name=b"a/b/data.pkl")], "it holds 'a/b/data.pkl'"),
    "nested": ([Entry(b"model.pt", made.zip_of([PICKLE, DATA]))], "holds 'model.pt': unpack"),
    "export": ([Entry(b"m/archive_format", b"pt2")], "it is one of torch.export"),
    "old script": ([Entry(b"m/model.json", b"{}")], "TorchScript of a torch before 1.4"),
    "no storage": ([PICKLE], "tensor 'a': the archive has no member 'm/data/0'"),
    "more in the pickle": (
        [replace(PICKLE, data=VALUE + b"N"), DATA], "1 bytes behind the end of data.pkl",
    ),
    "byte order": ([PICKLE, DATA, Entry(b"m/byteorder", b"middle")], "neither 'little' nor 'big'"),
    "long byte order": ([PICKLE, DATA, Entry(b"m/byteorder", bytes(99))], "more than the 64"),
    "nothing": ([], "does not look like torch"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_is_wrong_with_an_archive_is_named(tmp_path: Path, case: str) -> None:
    entries, words = BAD[case]
    assert words in reason(made.zip_of(entries), tmp_path)


def changed(data: bytes, what: bytes, offset: int, new: bytes) -> bytes:
    place = data.rfind(what) + offset
    return data[:place] + new + data[place + len(new) :]


@pytest.mark.parametrize(
    ("what", "offset", "new", "words"),
    [
        (b"PK\x05\x06", 8, b"\x03\0\x03\0", "its directory is damaged"),
        (b"PK\x05\x06", 8, b"\x01\0\x01\0", "its directory has more than its entries"),
        (b"PK\x05\x06", 8, b"\x01\0", "more than one part"),
        (b"PK\x05\x06", 4, b"\x01\0", "more than one part"),
        (b"PK\x05\x06", 12, b"\xff\xff\xff\xff", "does not end where it should"),
        (b"PK\x05\x06", 16, b"\x00\0\0\0", "does not end where it should"),
        (b"PK\x05\x06", 20, b"\x01\0", "its directory is missing"),
        (b"PK\x01\x02", 42, b"\x00\0\0\0", "overlaps another one"),
        (b"PK\x01\x02", 42, b"\xff\xff\xff\x7f", "overlaps another one"),
        (b"PK\x01\x02", 42, b"\xff\xff\xff\xff", "its zip64 field is cut short"),
        (b"PK\x01\x02", 34, b"\x01\0", "in another part of the archive"),
        (b"PK\x01\x02", 28, b"\xff\xff", "its directory is cut short"),
        (b"PK\x01\x02", 10, b"\x08\0", "its header and the directory say different things"),
        (b"PK\x01\x02", 16, b"\x00\0\0\0", "state different sizes"),
        (b"PK\x03\x04", 0, b"PK\x03\x05", "its header is not where the directory says"),
        (b"PK\x03\x04", 28, b"\xff\xff", "it does not fit between its neighbours"),
        (b"PK\x03\x04", 26, b"\x00\0", "another name than the directory"),
        (b"PK\x03\x04", 22, b"\x01\0\0\0", "state different sizes"),
    ],
)
def test_a_field_that_lies(
    tmp_path: Path, what: bytes, offset: int, new: bytes, words: str
) -> None:
    data = made.zip_of([PICKLE, DATA])
    assert words in reason(changed(data, what, offset, new), tmp_path)


def zip64(entries: Sequence[Entry]) -> bytes:
    """Return an archive whose last member and directory use fields of 64 bits."""
    plain = made.zip_of(entries)
    last = plain.rfind(b"PK\x01\x02")
    end = plain.rfind(b"PK\x05\x06")
    start = struct.unpack_from("<I", plain, end + 16)[0]
    stored, size = struct.unpack_from("<2I", plain, last + 20)
    header = struct.unpack_from("<I", plain, last + 42)[0]
    extra = struct.pack("<HHH", 7, 2, 0) + struct.pack("<HHQQQ", 1, 24, size, stored, header)
    entry = bytearray(plain[last:end])
    entry[20:28] = b"\xff" * 8
    entry[42:46] = b"\xff" * 4
    entry[30:32] = struct.pack("<H", len(extra))
    body = plain[:last] + bytes(entry) + extra
    count = len(entries)
    record = struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, count, count, len(body) - start, start)
    locator = b"PK\x06\x07" + struct.pack("<IQI", 0, len(body), 1)
    tail = struct.pack("<HHHHIIH", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return body + b"PK\x06\x06" + record + locator + b"PK\x05\x06" + tail


def test_fields_of_64_bits(tmp_path: Path) -> None:
    data = zip64([PICKLE, DATA])
    assert zipfile.ZipFile(io.BytesIO(data)).read("m/data/0") == WEIGHT
    whole(data, tmp_path)
    for what, offset, new, words in (
        (b"PK\x06\x07", 8, b"\xff" * 8, "its zip64 record is not where it should be"),
        (b"PK\x06\x07", 16, b"\x02", "its zip64 record is not where it should be"),
        (b"PK\x06\x06", 4, b"\x2d", "its zip64 record is wrong"),
        (b"PK\x06\x06", 24, b"\xff" * 8, "its zip64 record is wrong"),
        (b"PK\x06\x06", 24, b"\x03" + bytes(7) + b"\x03", "its directory is damaged"),
        (b"PK\x06\x06", 40, b"\xff" * 8, "does not end where it should"),
    ):
        assert words in reason(changed(data, what, offset, new), tmp_path)
    wide = struct.pack("<HH", 1, 24)
    assert "its zip64 field is cut" in reason(changed(data, wide, 2, b"\x08"), tmp_path)
    assert "its extra field is cut" in reason(changed(data, wide, 2, b"\xff\x08"), tmp_path)
    assert "overlaps" in reason(changed(data, wide, 4, b"\xff" * 16), tmp_path)


@pytest.mark.parametrize("cut", [1, 8, 22, 30, 100, 200])
def test_an_archive_that_is_cut_short_or_padded(tmp_path: Path, cut: int) -> None:
    data = made.zip_of([PICKLE, DATA])
    assert "cut short" in reason(data[:-cut], tmp_path)
    assert "cut short" in reason(data + bytes(cut), tmp_path)


def test_an_archive_behind_other_bytes(tmp_path: Path) -> None:
    data = made.zip_of([PICKLE, DATA])
    assert "does not end where" in reason(b"PK\x03\x04" + data, tmp_path)


def test_sizes_that_are_stated_behind_the_data(tmp_path: Path) -> None:
    """As torch writes them: flag bit 3, and 0 in the local header."""
    data = bytearray(made.zip_of([replace(PICKLE, flags=8), replace(DATA, flags=8)]))
    for place in (0, data.rfind(b"PK\x03\x04")):
        data[place + 14 : place + 26] = bytes(12)
    whole(bytes(data), tmp_path)


def test_compressed_storages_may_not_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dcformat.converters.read_torch._MAX_HELD", 400)
    keys = ("0", "1")
    value = made.mapping({k: made.tensor(made.storage(k, "Float", 60), 0, [60]) for k in keys})
    pickle, zeros = Entry(b"m/data.pkl", made.pickle(value)), Entry(b"m/data/0", bytes(240))
    read(made.zip_of([pickle, deflated(zeros), replace(zeros, name=b"m/data/1")]), tmp_path)
    both = [deflated(replace(zeros, name=f"m/data/{key}".encode())) for key in keys]
    assert "480 bytes of storages are compressed" in reason(made.zip_of([pickle, *both]), tmp_path)
    assert "more than the 400 that are read" in reason(
        made.zip_of([replace(pickle, data=pickle.data * 2), zeros]), tmp_path
    )
