"""Files of torch to start from, and ways to damage them: the archive, the pickle in it, or both."""

from __future__ import annotations

import io
import random
import re
import struct
import zipfile

import numpy as np
import torch_files as made
from torch_files import call, integer, items, mapping, name, text

_VERSION = {"version": b"3\n"}  # without which torch reads no archive
_ENDS = (b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06")
_FIELDS = (0, 1, 2, 8, 20, 64, 255, 4096, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 40)
#: Instructions, and what may stand behind them.
_STEPS = tuple(
    bytes([n]) for n in b"()tlde}]asu012NRbQ\x81\x85\x86\x87\x88\x89\x8f\x90\x91\x93\x94."
)
_WORDS = (
    made.ORDERED, name("torch._utils._rebuild_tensor_v2"), name("torch.FloatStorage"),
    name("os.system"), name("torch.float32"), b"h\x00", b"h\x03", b"q\x00", b"q\x03", b"j\0\0\0\0",
    integer(1), integer(-1), integer(1 << 40), integer(1 << 70), text("a"), text("state_dict"),
    text(""), b"\x8d" + b"\xff" * 8, b"\x8b\xff\xff\xff\x7f", b"\x95" + bytes(8), b"\x82\x01",
    name("torch._utils._rebuild_parameter"), name("torch._tensor._rebuild_from_type_v2"),
)  # fmt: skip


def arrays() -> dict[str, np.ndarray]:
    return {
        "module.a": np.arange(6, dtype="<f4").reshape(2, 3), "module.b": np.ones((2, 2), "<i8"),
        "module.c": np.zeros(0, "<f8"), "module.d": np.array([True, False]),
    }  # fmt: skip


def _checkpoint(more: tuple[bytes, ...] = ()) -> bytes:
    state = {n: made.plain(str(i), a, more) for i, (n, a) in enumerate(arrays().items())}
    again = call("torch._utils._rebuild_parameter", [state["module.a"], b"\x88", made.ORDERED])
    array = call(
        "numpy.core.multiarray._reconstruct", [name("numpy.ndarray"), items([]), b"C\x01b"]
    )
    return made.pickle(
        mapping(
            {
                "state_dict": mapping({**state, "module.e": again}),
                "optimizer": mapping({"state": b"](" + state["module.b"] + b"q\x05h\x05" + b"e"}),
                "best": array + items([integer(1), b"N"]) + b"b",
            }
        )
    )


def _storages() -> dict[str, bytes]:
    return {str(i): a.tobytes() for i, a in enumerate(arrays().values())}


def _script() -> bytes:
    source = b'class Net(Module):\n  __parameters__ = ["w", ]\n  __buffers__ = ["b", ]\n'
    source += b"  inner : __torch__.m.Net\n"
    weight = made.plain("0", arrays()["module.a"])
    inner = name("__torch__.m.Net") + b")\x81" + mapping({"w": weight, "b": b"N"}) + b"b"
    outer = mapping({"w": weight, "b": weight, "inner": inner})
    return made.Archive(
        made.pickle(name("__torch__.m.Net") + b")\x81" + outer + b"b"),
        _storages(),
        members={"constants.pkl": b"\x80\x02).", "code/__torch__/m.py": source},
    ).bytes()


def archives() -> list[bytes]:
    """Return zip archives: a state dict, a checkpoint, deflated, big-endian, TorchScript."""
    value = _checkpoint()
    return [
        made.state_dict(arrays(), members=_VERSION),
        made.Archive(value, _storages(), members=_VERSION).bytes(),
        made.Archive(value, _storages(), deflated=True).bytes(),
        made.Archive(value, _storages(), members={"byteorder": b"big"}).bytes(),
        _script(),
    ]


def legacies() -> list[bytes]:
    """Return files of the legacy layout."""
    storages = {str(i): (a.size, a.tobytes()) for i, a in enumerate(arrays().values())}
    view = items([text("v"), integer(0), integer(2)])
    state = {n: made.plain(str(i), a, [b"N"]) for i, (n, a) in enumerate(arrays().items())}
    part = made.tensor(made.storage("0", "Float", 6, more=[view]), 0, [2])
    return [
        made.legacy(_checkpoint((b"N",)), storages),
        made.legacy(made.pickle(mapping({**state, "part": part})), storages),
    ]


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Return a mutant of an archive or a legacy file."""
    if not data.startswith(b"PK"):
        return bent(data, rng)
    kind = rng.random()
    if kind < 0.5:
        return _repacked(data, rng)
    return _field(data, rng) if kind < 0.8 else bent(data, rng)


def _repacked(data: bytes, rng: random.Random) -> bytes:
    """Damage one member, and make sizes and CRCs right again."""
    source = zipfile.ZipFile(io.BytesIO(data))
    chosen = rng.choice(source.namelist() + [source.namelist()[0]] * 6)
    room = io.BytesIO()
    with zipfile.ZipFile(room, "w", source.infolist()[0].compress_type) as archive:
        for member in source.namelist():
            content = source.read(member)
            made.put(archive, member, bent(content, rng) if member == chosen else content)
    return room.getvalue()


def _field(data: bytes, rng: random.Random) -> bytes:
    """Set a field of a header of the archive to a telling number."""
    out = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        places = [m.start() for m in re.finditer(re.escape(rng.choice(_ENDS)), data)]
        place, size = rng.choice(places) + rng.randrange(4, 46), rng.choice((1, 2, 4))
        number = rng.choice((*_FIELDS, len(data), rng.randrange(len(data))))
        out[place : place + size] = (number % (1 << 8 * size)).to_bytes(size, "little")
    return bytes(out)


def bent(data: bytes, rng: random.Random) -> bytes:
    """Return a pickle, or any bytes, with one to four places changed."""
    out = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        place, size = rng.randrange(len(out) + 1), rng.choice((1, 1, 2, 5, 20))
        kind = rng.randrange(8)
        if kind == 0:
            out[place:place] = rng.choice(_STEPS)
        elif kind == 1:
            out[place : place + 1] = rng.choice(_STEPS)
        elif kind == 2:
            out[place:place] = rng.choice(_WORDS)
        elif kind == 3:
            del out[place : place + size]
        elif kind == 4:
            other = rng.randrange(len(out) + 1)
            out[place:place] = out[other : other + size]
        elif kind == 5 and place < len(out):
            out[place] ^= 1 << rng.randrange(8)
        elif kind == 6:
            del out[place:]
        else:
            number = rng.choice(_FIELDS) & 0xFFFFFFFF
            out[place : place + 4] = struct.pack("<I", number)
    return bytes(out)
