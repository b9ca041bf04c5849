"""Two thousand damaged headers and indices: one clear line each, or the model that they say."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any

import pytest
from safetensors_files import NAMES, entry, file_of, pack, sharded

from dcformat.converters.read_safetensors import READER
from dcformat.converters.shards import READER as SHARDS
from dcformat.errors import ConvertError
from dcformat.ids import BITS
from dcformat.model import Model

TYPES = {name: dtype for dtype, name in NAMES.items()}
NUMBERS = [0, 1, -1, 2, 3, 7, 8, 255, 1 << 20, 1 << 31, 1 << 32, 1 << 40, 1 << 60, (1 << 63) - 1,
           1 << 63, (1 << 64) - 1, 1 << 64, 1 << 80, -(1 << 63), 10**400, 0.5, 1e308]  # fmt: skip
OTHERS: list[Any] = [None, True, "", "F32", "U8", "I4", "F6_E2M3", "a", [], {}, [0], {"a": 1}]
PIECES = [b'"', b"{", b"}", b"[", b"]", b",", b":", b"\\", b"\\u0000", b"\\ud800", b"\xff", b"\0",
          b" ", b"\n", b"1e9", b"-", b"null", b"NaN", b'"a":1,', b'"__metadata__":{},']  # fmt: skip


def good(rng: random.Random) -> tuple[dict[str, Any], bytes]:
    """Return a header and the bytes behind it."""
    header: dict[str, Any] = {}
    if rng.random() < 0.3:
        header["__metadata__"] = {"format": "pt", "k": "v"}
    start = 0
    for number in range(rng.randint(1, 5)):
        dtype = rng.choice(["F32", "BF16", "U8", "I64", "F16", "F8_E5M2", "F4", "BOOL"])
        shape = [rng.choice([0, 1, 2, 4]) for _ in range(rng.randint(0, 3))]
        shape += [2] if dtype == "F4" else []
        size = prod(shape) * BITS[TYPES[dtype]] // 8
        header[f"layer{number}.w"] = entry(dtype, shape, start, start + size)
        start += size
    return header, bytes(rng.choice([0, 1]) for _ in range(start))


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths of all values inside `value`."""
    keys = list(value) if isinstance(value, dict) else range(len(value))
    found = []
    for key in keys:
        found.append((*at, key))
        if isinstance(value[key], dict | list):
            found += places(value[key], (*at, key))
    return found


def holder(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path[:-1]:
        value = value[key]
    return value


def change_value(rng: random.Random, said: Any) -> None:
    path = rng.choice(places(said))
    holder(said, path)[path[-1]] = rng.choice(rng.choice([NUMBERS, OTHERS]))


def drop_value(rng: random.Random, said: Any) -> None:
    path = rng.choice(places(said))
    del holder(said, path)[path[-1]]


def rename_key(rng: random.Random, said: Any) -> None:
    path = rng.choice([p for p in places(said) if isinstance(p[-1], str)])
    inside = holder(said, path)
    name = rng.choice(["", "a", "\0", "x" * 5000, "__metadata__", "ä\n", "../x", *map(str, inside)])
    inside[name] = inside.pop(path[-1])


def swap_values(rng: random.Random, said: Any) -> None:
    a, b = rng.choice(places(said)), rng.choice(places(said))
    if a == b[: len(a)] or b == a[: len(b)]:
        return
    first, second = holder(said, a), holder(said, b)
    first[a[-1]], second[b[-1]] = second[b[-1]], first[a[-1]]


SAID = (change_value, drop_value, rename_key, swap_values)


def change_bytes(rng: random.Random, text: bytes) -> bytes:
    """Change bytes anywhere: another byte, some gone, some twice, a token put in."""
    start = rng.randrange(len(text))
    end = min(len(text), start + rng.choice([1, 2, 10, 40]))
    return rng.choice(
        [
            text[:start] + bytes([rng.randrange(256)]) + text[start + 1 :],
            text[:start] + text[end:],
            text[:end] + text[start:],
            text[:start] + rng.choice(PIECES) + text[start:],
            text[:start],
        ]
    )


def twice(rng: random.Random, text: bytes) -> bytes:
    """Write one key as another, so that it may stand there twice."""
    keys = re.findall(rb'"[^"]*"(?=:)', text)
    return text.replace(rng.choice(keys), rng.choice(keys), 1) if keys else text


def mutant(rng: random.Random) -> bytes:
    """Return a damaged safetensors file."""
    header, data = good(rng)
    kind = rng.randrange(6)
    if kind < 3:
        for _ in range(rng.choice([1, 1, 2, 3])):
            rng.choice(SAID)(rng, header)
            header = header or {"a": 1}
        return pack(header, data)
    whole = pack(json.dumps(header, separators=(",", ":")).encode(), data)
    if kind == 3:
        return change_bytes(rng, whole)
    if kind == 4:
        return pack(rng.choice([change_bytes, twice])(rng, whole[8 : len(whole) - len(data)]), data)
    length = rng.choice(
        [*(n for n in NUMBERS if isinstance(n, int) and 0 <= n < 1 << 64), 100_000_001]
    )
    return length.to_bytes(8, "little") + whole[8:]


def expected(data: bytes) -> dict[str, tuple[Any, ...]]:
    """Return what a valid file says, read in the plainest way."""
    end = 8 + int.from_bytes(data[:8], "little")
    said = json.loads(data[8:end])
    said.pop("__metadata__", None)
    return {
        name: (
            TYPES[value["dtype"]],
            tuple(value["shape"]),
            data[end:][slice(*value["data_offsets"])],
        )
        for name, value in said.items()
    }


def stored(model: Model) -> dict[str, tuple[Any, ...]]:
    """Return the tensors of a model, elements packed as in a file."""
    found = {}
    for tensor in model.tensors:
        raw = tensor.data.reshape(-1).view("u1")
        if BITS[tensor.dtype] == 4:
            raw = raw[::2] | raw[1::2] << 4
        found[tensor.name] = (tensor.dtype, tensor.shape, raw.tobytes())
    return found


def attempt(read: Callable[[Path], Model], path: Path) -> Model | None:
    """Return the model, or None where it was refused in one clear line."""
    try:
        return read(path)
    except ConvertError as error:
        refusal = error
    line = str(refusal).replace(str(path), "FILE")
    assert "FILE" in line
    assert "\n" not in line
    assert 10 < len(line) < 500
    assert refusal.message
    return None


@pytest.mark.parametrize("seed", range(20))
def test_a_damaged_header_is_refused_or_read_as_it_says(seed: int, tmp_path: Path) -> None:
    rng = random.Random(seed)
    path = tmp_path / "m.safetensors"
    verdicts = []
    for _ in range(100):
        data = mutant(rng)
        path.write_bytes(data)
        model = attempt(READER.read, path)
        verdicts.append(model is not None)
        if model is not None:
            assert stored(model) == expected(data), data
    assert 0 < sum(verdicts) < 60  # some are still right, most are not


def index_mutant(rng: random.Random, said: dict[str, Any]) -> bytes:
    """Return a damaged index."""
    if rng.random() < 0.5:
        for _ in range(rng.choice([1, 1, 2])):
            rng.choice(SAID)(rng, said)
            said = said or {"a": 1}
        return json.dumps(said).encode()
    return rng.choice([change_bytes, change_bytes, twice])(rng, json.dumps(said).encode())


@pytest.mark.parametrize("seed", range(6))
def test_a_damaged_index_is_refused_or_read_as_it_says(seed: int, tmp_path: Path) -> None:
    rng = random.Random(seed)
    one = {"a": ("F32", [1], b"\1\2\3\4"), "b": ("U8", [0], b"")}
    two = {"c": ("BF16", [2], b"\5\6\7\x08")}
    shards = {"m-1.safetensors": file_of(one), "m-2.safetensors": file_of(two)}
    weight_map = {"a": "m-1.safetensors", "b": "m-1.safetensors", "c": "m-2.safetensors"}
    path = sharded(tmp_path, shards, weight_map, total_size=8)
    verdicts = []
    for _ in range(100):
        said = {"metadata": {"total_size": 8, "more": [1, "x"]}, "weight_map": dict(weight_map)}
        path.write_bytes(index_mutant(rng, said))
        model = attempt(SHARDS.read, path)
        verdicts.append(model is not None)
        if model is not None:
            wanted = json.loads(path.read_bytes())["weight_map"]
            every = {**expected(shards["m-1.safetensors"]), **expected(shards["m-2.safetensors"])}
            assert stored(model) == {name: every[name] for name in wanted}
    assert 0 < sum(verdicts) < 60
