"""Any bytes at any entry give a value or a DcfError with a place, and nothing else (S3 to S6).

Each entry of ENTRIES is a check, seeds to start from, and a way to change them. The default test
suite calls the checks on some thousand inputs (tests/test_fuzz.py); `run.py` calls them for as
long as it is told.
"""

from __future__ import annotations

import contextlib
import json
import random
import struct
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from comparing import compare  # noqa: E402
from deep_compression_files import NET, net_of  # noqa: E402
from handmade import joined, taken_apart  # noqa: E402
from mutants import TELLING, mutant  # noqa: E402
from seeds import SHAPES, many_elements  # noqa: E402
from tflite_mutants import encoded_flatbuffers, flatbuffers, repointed  # noqa: E402
from torch_mutants import archives, damaged, legacies  # noqa: E402

import dcformat  # noqa: E402
from dcformat import decode, frames, native  # noqa: E402
from dcformat.api import compress, recipe_target  # noqa: E402
from dcformat.canonical import faults  # noqa: E402
from dcformat.coded import CodedModel, expand  # noqa: E402
from dcformat.compress.recipe import read_recipe, recipe_from_json, recipe_json  # noqa: E402
from dcformat.container import parse_container  # noqa: E402
from dcformat.converters import (  # noqa: E402
    onnx_wire,
    read_deep_compression,
    read_onnx,
    read_tflite,
    read_torch,
    write_onnx,
    write_tflite,
    write_tflm,
)
from dcformat.converters.tflite_compute import compute_of_tflite  # noqa: E402
from dcformat.converters.tflite_skeleton import parts_of  # noqa: E402
from dcformat.converters.tflm_check import decoded_of  # noqa: E402
from dcformat.errors import DcfError  # noqa: E402
from dcformat.file import File, model_of  # noqa: E402
from dcformat.ids import NUMPY, GraphFormat, Meta, Section  # noqa: E402
from dcformat.model import Graph, Model  # noqa: E402
from dcformat.scaled import real  # noqa: E402
from dcformat.sections import (  # noqa: E402
    parse_hashes,
    parse_layers,
    parse_meta,
    parse_names,
)
from dcformat.text import build_file, dump_file  # noqa: E402
from dcformat.tools._terminal import safe_name  # noqa: E402

BUDGET = 1 << 22  #: bytes that a decoded tensor may take

Change = Callable[[bytes, random.Random], bytes]


@dataclass(frozen=True)
class Entry:
    """`check` fails on bytes that break the promise; `seeds` and `change` make such bytes."""

    check: Callable[[bytes], None]
    seeds: Callable[[], list[bytes]]
    change: Change


def _need(condition: bool, message: str) -> None:
    if not condition:
        raise AssertionError(message)


@contextlib.contextmanager
def refusing() -> Iterator[None]:
    """Let a DcfError that says where pass."""
    try:
        yield
    except DcfError as error:
        _need(bool(error.place and error.message), f"an error without a place: {error.message}")


@cache
def _folder() -> Path:
    """Return a folder for this process; it is removed at the end."""
    holder = tempfile.TemporaryDirectory()
    _KEPT.append(holder)
    return Path(holder.name)


_KEPT: list[tempfile.TemporaryDirectory[str]] = []


def _path(name: str, data: bytes) -> Path:
    path = _folder() / name
    path.write_bytes(data)
    return path


# ---- .dcf ----


def check_load(data: bytes) -> None:
    """Load and read everything there is."""
    with refusing():
        file = dcformat.load(_path("x.dcf", data), budget=BUDGET)
        _read_all(file)


def _read_all(file: File) -> None:
    for part in ("names", "hashes", "metadata", "layers", "graph"):
        with refusing():
            getattr(file, part)
    for name in file:
        assert safe_name(name).isprintable()
        with refusing():
            array = file[name]
            assert array.shape == file.record(name).head.shape
            assert array.nbytes <= BUDGET
    with refusing():
        for tensor in model_of(file).tensors:
            assert tensor.data.shape == tensor.shape
            assert tensor.data.dtype == NUMPY[tensor.dtype]


def check_decoders(data: bytes) -> None:
    """The two decoders say the same of everything; without the extension there is one."""
    if native.AVAILABLE:
        compare(data)
        return
    with refusing():
        decode.check_file(decode.open_file(data))


def check_verify(data: bytes) -> None:
    """What is wrong in a file is a failed check; nothing is raised for it."""
    report = dcformat.verify(_path("v.dcf", data))
    assert report.checks
    assert all(check.name and check.detail for check in report.checks)


def check_canonical(data: bytes) -> None:
    """Write again what can be read."""
    with refusing():
        file = File(data, "x", BUDGET)
        for record in file.opened.records:
            file.check_budget(record)
        decode.check_file(file.opened)
        assert all(isinstance(fault, str) for fault in faults(file))


def check_container(data: bytes) -> None:
    """Read every section as a whole."""
    with refusing():
        container = parse_container(data)
        for section in container.entries:
            with refusing():
                container.content(section)


def check_sections(data: bytes) -> None:
    """Parse bytes as the content of each section that hosts read; the first byte is a count."""
    view, count = memoryview(data)[1:], data[0] if data else 0
    names = [f"t{i}" for i in range(count)]
    for parse in (
        lambda: parse_names(view, count),
        lambda: parse_hashes(view, count),
        lambda: parse_meta(view),
        lambda: parse_layers(view, names),
    ):
        with refusing():
            parse()


def check_frame(data: bytes) -> None:
    """Decompress; the first four bytes are the size that is expected."""
    size = int.from_bytes(data[:4], "little") % BUDGET
    with refusing():
        assert len(frames.decompress(data[4:], size, "frame")) == size


# ---- .onnx ----


def check_onnx(data: bytes) -> None:
    """Read a model, and write what was read: the bytes again where that can be promised."""
    with refusing():
        model = read_onnx.read(_path("x.onnx", data))
        _fill(model)


def check_wire(data: bytes) -> None:
    """Find tensors in bytes; they lie inside, in order."""
    try:
        found = onnx_wire.scan(data)
    except DcfError as error:
        _need("byte" in error.message or "tensors" in error.message, error.message)
        return
    for tensor in found.tensors:
        message = found.messages[tensor.message]
        assert 0 <= message.prefix < message.start <= message.end <= len(data)
        assert all(message.start <= f.start < f.end <= message.end for f in tensor.fields)


def check_graph(data: bytes) -> None:
    """Fill the holes of a hostile GRAPH section with the tensors of a good file."""
    with refusing():
        _fill(replace(_model(), graph=Graph(GraphFormat.ONNX, data)))


def _fill(model: Model) -> None:
    path = _folder() / "y.onnx"
    write_onnx.write(model, path)
    onnx.ModelProto.FromString(path.read_bytes())


@cache
def _model() -> Model:
    return read_onnx.read(_path("good.onnx", _onnx_seeds()[0]))


# ---- .tflite ----


def check_tflite(data: bytes) -> None:
    """Read a model; what is read gives the same bytes again, with real numbers for integers too."""
    with refusing():
        model = read_tflite.read(_path("x.tflite", data))
        for again in (model, real(model)):
            _need(_tflite_of(again) == data, "another file than was read")
        _counted(model)
        _need(len(_tflite_of(expand(compress(model, "int8")))) == len(data), "another size")


def check_tflm(data: bytes) -> None:
    """Decode what DECODE operators give; encode the weights of what is read."""
    with contextlib.suppress(DcfError):
        for raw in decoded_of(data):
            _need(len(raw) <= 64 * len(data) + BUDGET, "more than a runtime has room for")
    with refusing():
        model = read_tflite.read(_path("x.tflite", data))
        write_tflm.write(model, _folder() / "y.tflm")
        decoded_of((_folder() / "y.tflm").read_bytes())


def check_tflite_graph(data: bytes) -> None:
    """Fill the holes of a hostile GRAPH section with the tensors of a good file."""
    with refusing():
        _counted(replace(_tflite(), graph=Graph(GraphFormat.TFLITE, data)))
    with refusing():
        _tflite_of(replace(_tflite(), graph=Graph(GraphFormat.TFLITE, data)))


def _counted(model: Model) -> None:
    """Say what a graph costs and consists of: nothing is below zero."""
    assert model.graph is not None
    sizes, names = [t.size for t in model.tensors], [t.name for t in model.tensors]
    found = compute_of_tflite(model.graph.data, sizes, names, {})
    _need(min(found.macs, found.parameters, found.peak.bytes, found.activation_bytes) >= 0, "< 0")
    _need(min(parts_of(model.graph, sizes).values()) >= 0, "a part of less than nothing")


def _tflite_of(model: Model) -> bytes:
    path = _folder() / "y.tflite"
    write_tflite.write(model, path)
    return path.read_bytes()


@cache
def _tflite() -> Model:
    return real(read_tflite.read(_path("good.tflite", flatbuffers()[1])))


def _tflite_graphs() -> list[bytes]:
    graph = _tflite().graph
    return [graph.data] if graph else []


# ---- torch ----


def check_torch(data: bytes) -> None:
    """Read a file of torch.save, and all numbers in it."""
    with refusing():
        model = read_torch.read(_path("x.pt", data))
        for tensor in model.tensors:
            assert tensor.data.shape == tensor.shape
            assert tensor.data.dtype == NUMPY[tensor.dtype]
            assert tensor.data.nbytes <= BUDGET


# ---- Deep Compression ----


def check_deep_compression(data: bytes) -> None:
    """Read a network whose definition is good, and all numbers in it."""
    _all_of_release(data, NET.encode())


def check_prototxt(data: bytes) -> None:
    """Read a good network by any definition."""
    _all_of_release(net_of(), data)


def _all_of_release(data: bytes, text: bytes) -> None:
    with refusing():
        net, prototxt = _path("x.net", data), _path("x.prototxt", text)
        for tensor in read_deep_compression.read(net, prototxt).tensors:
            assert tensor.data.shape == tensor.shape
            assert tensor.data.nbytes <= BUDGET


# ---- recipes ----


def check_toml(data: bytes) -> None:
    """Read a recipe and write it down; what was written reads as the same."""
    with refusing():
        recipe = read_recipe(_path("x.toml", data))
        again = recipe_from_json(recipe_json(recipe))
        assert recipe_json(again) == recipe_json(recipe)


def check_json(data: bytes) -> None:
    """The recipe in a file's metadata."""
    with refusing():
        target = recipe_target(CodedModel(metadata={Meta.RECIPE: data}))
        assert target in ("mcu", "host", "smallest")


# ---- texts ----


def check_dump(data: bytes) -> None:
    """Any bytes have a text, and it gives them back."""
    for full in (False, True):
        _need(build_file(_lines(dump_file(data, full))) == data, "other bytes than were dumped")


def check_text(data: bytes) -> None:
    """Any bytes build a file, or are an error of a line; what is built has a text again."""
    with refusing():
        file = build_file(data.split(b"\n"))
        check_dump(file)


def _lines(text: Iterator[str]) -> list[bytes]:
    return "".join(text).encode().split(b"\n")


# ---- seeds ----


def _dcf_seeds() -> list[bytes]:
    vectors = sorted((HERE.parent / "vectors").rglob("*.dcf"))
    return [p.read_bytes() for p in vectors if 48 <= p.stat().st_size < 3000]


def _decoder_seeds() -> list[bytes]:
    """Return the vectors, and files of enough elements for the fast loops of hosts."""
    return _dcf_seeds() + [data for data in many_elements(SHAPES[:1]) if len(data) < 1000]


def _section_seeds() -> list[bytes]:
    found = [b"\0"]
    for data in _dcf_seeds():
        with contextlib.suppress(DcfError):
            opened = decode.open_file(data)
            for section in (Section.NAMES, Section.HASHES, Section.FIXED, Section.META):
                content = bytes(opened.container.content(section))
                found.append(bytes([min(255, len(opened.records))]) + content)
    return found


def _frame_seeds() -> list[bytes]:
    texts = [b"", b"a", bytes(5000), bytes(range(256)) * 20]
    return [
        struct.pack("<I", len(t)) + frames.compress(t, level) for t in texts for level in (1, 19)
    ]


@cache
def _onnx_seeds() -> list[bytes]:
    weight = numpy_helper.from_array(np.arange(12, dtype=np.float32).reshape(3, 4), "w")
    typed = TensorProto(name="b", data_type=1, dims=[4], float_data=[1, 2, 3, 4])
    whole = TensorProto(name="i", data_type=7, dims=[2], int64_data=[-1, 4])
    outside = TensorProto(name="e", data_type=1, dims=[2], data_location=1)
    outside.external_data.add(key="location", value="../etc/passwd")
    text = TensorProto(name="s", data_type=8, dims=[1], string_data=[b"text"])
    half = numpy_helper.from_array(np.ones((2, 2), np.float16), "h")
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["y"]),
        helper.make_node("Constant", [], ["c"], value=half),
        helper.make_node("Reshape", ["y", "i"], ["r"]),
    ]
    inner = helper.make_graph(
        [helper.make_node("Add", ["r", "b"], ["z"])], "inner", [], [], [typed]
    )
    nested = helper.make_node("If", ["q"], ["z"], then_branch=inner, else_branch=inner)
    graphs = (
        helper.make_graph(nodes, "g", [], [], [weight, typed, whole]),
        helper.make_graph([*nodes, nested], "g", [], [], [weight, typed, whole, text]),
        helper.make_graph(nodes[:1], "g", [], [], [outside]),
    )
    return [helper.make_model(graph).SerializeToString() for graph in graphs]


def _graph_seeds() -> list[bytes]:
    graph = _model().graph
    return [] if graph is None else [graph.data]


def _toml_seeds() -> list[bytes]:
    return [
        b'version = 1\n[defaults]\npreset = "int8"\n[[layer]]\nmatch = "fc1.*"\nbits = 4\n',
        b'version = 1\n[defaults]\npreset = "deep"\nprune = 0.8\ntarget = "mcu"\n',
        b'version = 1\n[[layer]]\nmatch = "*"\nmethod = "exact"\nmin_elements = 3\n',
    ]


def _json_seeds() -> list[bytes]:
    layers = [{"match": "a*", "bits": 4, "quantizer": "kmeans"}]
    return [b"{}", b'{"preset":"lossless"}',
            json.dumps({"preset": "deep", "prune": 0.5, "layers": layers}).encode()]  # fmt: skip


def _text_seeds() -> list[bytes]:
    texts = ["".join(dump_file(data, full)) for data in _dcf_seeds() for full in (False, True)]
    return [text.encode() for text in texts if len(text) < 6000]


def settled(data: bytes, rng: random.Random) -> bytes:
    """Return a mutant whose numbers are, more often than not, what it says they are."""
    out = mutant(data, rng)
    if rng.random() < 0.3:
        return out
    with contextlib.suppress(DcfError):
        header, parts = taken_apart(out)
        opened = decode.open_file(out)
        body = next((part[1] for part in parts if part[0][0] == Section.RECORDS), None)
        if body is not None:
            _put_crcs(opened, body)
        return joined(header, parts)
    return out


def _put_crcs(opened: Any, body: bytearray) -> None:
    at = 4
    for index, record in enumerate(opened.records):
        if record.head.tied is None and not record.unsupported:
            with contextlib.suppress(DcfError):
                numbers = decode.decode_numbers(opened, index, check=False)
                struct.pack_into("<I", body, at + 8, zlib.crc32(numbers.tobytes()))
        at += 4 * body[at]


WORDS = (
    b"nan", b"inf", b"-1", b"0", b"1e999", b"9" * 400, b"null", b"true", b"[]", b"{}", b'""', b"[",
    b'"preset"', b'"lossless"', b"\xff", b"\0", b"\n", b"=", b"[[layer]]", b"bits", b"\\ud800",
)  # fmt: skip


def scrambled(data: bytes, rng: random.Random) -> bytes:
    """Return `data` changed in one to five places: bytes set, put in, cut out or repeated."""
    out = bytearray(data)
    for _ in range(rng.randint(1, 5)):
        at = rng.randrange(len(out) + 1)
        size = rng.choice((1, 1, 2, 4, 16))
        kind = rng.randrange(6)
        if kind == 0:
            out[at:at] = bytes(rng.choice(TELLING) for _ in range(size))
        elif kind == 1:
            del out[at : at + size]
        elif kind == 2:
            out[at:at] = out[at : at + 4 * size]
        elif kind == 3:
            out[at : at + size] = rng.choice(WORDS)
        elif at < len(out):
            out[at] = out[at] ^ 1 << rng.randrange(8) if kind == 4 else rng.choice(TELLING)
    return bytes(out)


def reworded(data: bytes, rng: random.Random) -> bytes:
    """Return a text changed in one to three lines: cut, repeated, moved, or with another word."""
    if rng.random() < 0.1:
        return scrambled(data, rng)
    lines = data.split(b"\n")
    for _ in range(rng.randint(1, 3)):
        at, other = rng.randrange(1, len(lines)), rng.choice(lines)
        words = lines[at].split(b" ")
        words[-1] = rng.choice([*other.split(b" "), b"auto", b"none", b"-", rng.choice(WORDS)])
        lines[at : at + 1] = rng.choice(
            ([], [lines[at], other], [b"  " + lines[at]], *[[b" ".join(words)]] * 4)
        )
        lines.append(b"")
    return b"\n".join(lines)


ENTRIES = {
    "load": Entry(check_load, _dcf_seeds, settled),
    "decoders": Entry(check_decoders, _decoder_seeds, settled),
    "verify": Entry(check_verify, _dcf_seeds, settled),
    "canonical": Entry(check_canonical, _dcf_seeds, settled),
    "container": Entry(check_container, _dcf_seeds, mutant),
    "sections": Entry(check_sections, _section_seeds, scrambled),
    "frame": Entry(check_frame, _frame_seeds, scrambled),
    "onnx": Entry(check_onnx, _onnx_seeds, scrambled),
    "wire": Entry(check_wire, _onnx_seeds, scrambled),
    "graph": Entry(check_graph, _graph_seeds, scrambled),
    "tflite": Entry(check_tflite, flatbuffers, repointed),
    "tflm": Entry(check_tflm, encoded_flatbuffers, repointed),
    "tflite-graph": Entry(check_tflite_graph, _tflite_graphs, repointed),
    "torch": Entry(check_torch, archives, damaged),
    "torch-legacy": Entry(check_torch, legacies, damaged),
    "deep-compression": Entry(check_deep_compression, lambda: [net_of()], scrambled),
    "prototxt": Entry(check_prototxt, lambda: [NET.encode()], scrambled),
    "toml": Entry(check_toml, _toml_seeds, scrambled),
    "json": Entry(check_json, _json_seeds, scrambled),
    "dump": Entry(check_dump, _dcf_seeds, mutant),
    "text": Entry(check_text, _text_seeds, reworded),
}
