"""Pickles that would run code or take what is not theirs are refused in one line; nothing runs."""

from __future__ import annotations

import os
import pickle
import struct
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
import torch_files as made
from torch_files import call, integer, items, mapping, name, numbers, text

import dcformat
from dcformat.errors import ConvertError

WEIGHT = struct.pack("<6f", *range(6))
WHERE = made.storage("0", "Float", 6)
GOOD = made.tensor(WHERE, 0, [2, 3])


def zipped(value: bytes) -> bytes:
    return made.Archive(value, {"0": WEIGHT}).bytes()


def legacy(value: bytes) -> bytes:
    return made.legacy(value, {"0": (6, WEIGHT)} if text("0") in value else {})


Layout = Callable[[bytes], bytes]


def reason(data: bytes, folder: Path) -> str:
    path = folder / "x.pt"
    path.write_bytes(data)
    with pytest.raises(ConvertError) as caught:
        dcformat.read(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    assert len(message) < 600 + len(str(path))
    return message


def rebuild(*arguments: bytes) -> bytes:
    return call("torch._utils._rebuild_tensor_v2", arguments)


FALSE = b"\x89"
GLOBALS = [
    "os.system", "posix.system", "nt.system", "subprocess.Popen", "builtins.eval", "builtins.exec",
    "builtins.getattr", "builtins.__import__", "__builtin__.eval", "copyreg._reconstructor",
    "copy_reg._reconstructor", "functools.partial", "operator.attrgetter", "runpy._run_code",
    "numpy.load", "numpy.core.multiarray.fromfile", "torch.load", "torch.hub.load",
    "torch.jit.load", "torch.serialization.load", "torch._utils.ExceptionWrapper",
    "argparse.Namespace", "pathlib.PosixPath", "types.CodeType", "marshal.loads", "pickle.loads",
    "timeit.timeit", "webbrowser.open", "torch.nn.modules.linear.Linear", "__main__.Net",
    "collections.namedtuple", "collections.OrderedDict.fromkeys", "dcformat.load", "sys.modules",
    "__torch__.Net", "torch.storage._load_from_bytes", "torch.FloatTensor", "a\u202e.b",
]  # fmt: skip


@pytest.mark.parametrize("dotted", GLOBALS)
@pytest.mark.parametrize("layout", [zipped, legacy])
def test_unknown_words_are_refused_by_name(tmp_path: Path, dotted: str, layout: Layout) -> None:
    module, _, last = dotted.rpartition(".")
    stacked = text(module) + text(last) + b"\x93"
    for word in (name(dotted), stacked):
        for value in (word, word + items([text("x")]) + b"R", items([word])):
            said = reason(layout(made.pickle(mapping({"a": GOOD, "b": value}))), tmp_path)
            assert repr(dotted) in said
            assert "refused" in said


SET = made.ORDERED
STATED = "the pickle"  # where the file and the pickle state different sizes
#: A list of the same list twice, forty times over: as many names as 2 to the 40.
LAUGHS = GOOD + b"".join(
    b"q" + bytes([n]) + b"0]" + b"(h" + bytes([n]) + b"h" + bytes([n]) + b"e" for n in range(40)
)
TRICKS = {
    "INST": (b"(" + text("x") + b"ios\nsystem\n", "instruction INST is refused"),
    "OBJ": (b"(" + name("collections.OrderedDict") + b"o", "instruction OBJ is refused"),
    "EXT1": (b"\x82\x01", "instruction EXT1 is refused"),
    "EXT2": (b"\x83\x01\x00", "instruction EXT2 is refused"),
    "EXT4": (b"\x84\x01\x00\x00\x00", "instruction EXT4 is refused"),
    "NEWOBJ_EX": (
        name("collections.OrderedDict") + b")}\x92",
        "instruction NEWOBJ_EX is refused",
    ),
    "buffer": (b"\x97", "instruction NEXT_BUFFER is refused"),
    "persid": (b"Pstorage\n", "instruction PERSID is refused"),
    "protocol 0": (b"I1\n", "instruction INT is refused"),
    "no instruction": (b"\xff", "instruction ff is refused"),
    "newobj": (name("torch.nn.parameter.Parameter") + b")\x81", "makes an object of 'torch.nn"),
    "newobj of a value": (text("x") + b")\x81", "makes an object of a text, which is refused"),
    "call of a value": (text("os.system") + items([]) + b"R", "it calls a text, which is refused"),
    "call of a call": (SET + items([]) + b"R", "it calls a dict, which is refused"),
    "list arguments": (name("torch.Size") + b"]R", "with a list, not with a tuple"),
    "call of a type": (call("torch.float32", []), "an element type is not called"),
    "call of a storage": (call("torch.FloatStorage", [integer(1 << 40)]), "not made by a call"),
    "call of a class": (call("numpy.ndarray", [numbers([1 << 40])]), "named, not called"),
    "global by numbers": (integer(1) + integer(2) + b"\x93", "a global named by an integer"),
    "global by bytes": (b"C\x02osC\x06system\x93", "a global named by bytes and bytes"),
    "global with a path": (
        text("torch") + text("_utils._rebuild_tensor_v2") + b"\x93" + items([]) + b"R",
        "it names 'torch._utils._rebuild_tensor_v2', which is refused",
    ),
    "global without an end": (b"cos", "a name without an end"),
    "long global": (b"c" + b"a" * 600 + b"\n", "a name without an end"),
    "state of a tensor": (GOOD + mapping({"__class__": text("x")}) + b"b", "state of a tensor"),
    "state of a dict": (b"}" + mapping({}) + b"b", "sets the state of a dict, which is refused"),
    "state of a list": (b"]" + mapping({}) + b"b", "sets the state of a list, which is refused"),
    "state of a word": (name("torch.Size") + b"}b", "sets the state of 'torch.Size'"),
    "slots": (SET + items([b"N", b"}"]) + b"b", "sets the state of a dict, which is refused"),
    "set items of a list": (b"](" + text("a") + text("b") + b"u", "sets items of a list"),
    "set item of a tensor": (GOOD + text("a") + text("b") + b"s", "sets items of a tensor"),
    "append to a dict": (b"}" + text("a") + b"a", "appends to a dict, which is no list"),
    "append to a word": (name("torch.Size") + b"(" + text("a") + b"e", "appends to 'torch.Size'"),
    "add to a list": (b"](" + text("a") + b"\x90", "adds to a list, which is no set"),
    "odd items": (b"}(" + text("a") + b"u", "a key without a value"),
    "memo": (b"h\x07", "not remembered value 7"),
    "long memo": (b"j\xff\xff\xff\xff", "not remembered value 4294967295"),
    "underflow": (b"R", "takes a value from an empty stack"),
    "under a mark": (b"](a", "takes a value from an empty stack"),
    "no mark": (b"t", "it has no mark"),
    "two values": (b"NN", "ends with 2 values on the stack"),
    "no value": (b"", "ends with 0 values on the stack"),
    "open mark": (b"N(", "on the stack, not one"),
    "protocol 9": (b"\x80\x09", "protocol 9 is not known"),
    "text size": (b"X\xff\xff\xff\xff", "needs 4294967295 bytes more"),
    "text size 8": (b"\x8d" + b"\xff" * 8, "needs 18446744073709551615 bytes more"),
    "bytes size": (b"\x8e" + b"\xff" * 7 + b"\x7f", "bytes more"),
    "bytearray size": (b"\x96" + b"\xff" * 7 + b"\x7f", "bytes more"),
    "string size": (b"T\xff\xff\xff\xff", "a length of -1"),
    "integer size": (b"\x8b\xff\xff\xff\x7f", "an integer of 2147483647 bytes"),
    "negative integer size": (b"\x8b\xff\xff\xff\xff", "an integer of -1 bytes"),
    "frame size": (b"\x95" + b"\xff" * 8, "bytes more"),
    "no UTF-8": (b"X\x01\x00\x00\x00\xff", "not UTF-8"),
    "id of text": (text("0") + b"Q", "its persistent id is none of a storage"),
    "id of a module": (items([text("module"), text("a"), text("b")]) + b"Q", "source of a module"),
    "id with a list": (b"]Q", "its persistent id is none of a storage"),
    "id without a type": (
        items([text("storage"), text("Float"), text("0"), text("cpu"), integer(6)]) + b"Q",
        "its persistent id is none of a storage",
    ),
    "id of another type": (
        items([text("storage"), name("torch.Size"), text("0"), text("cpu"), integer(6)]) + b"Q",
        "its persistent id is wrong: 6 elements of 'torch.Size'",
    ),
    "id of a number": (
        items([text("storage"), name("torch.FloatStorage"), integer(0), text("cpu"), integer(6)])
        + b"Q",
        "its persistent id is none of a storage",
    ),
    "negative elements": (made.storage("0", "Float", -1), "its persistent id is wrong: -1"),
    "elements that are a bool": (
        items([text("storage"), name("torch.FloatStorage"), text("0"), text("cpu"), b"\x88"])
        + b"Q",
        "its persistent id is wrong",
    ),
    "too few elements": (made.tensor(made.storage("0", "Float", 1), 0, [1]), STATED),
    "too many elements": (made.tensor(made.storage("0", "Float", 7), 0, [1]), STATED),
    "huge storage": (made.tensor(made.storage("0", "Float", 1 << 60), 0, [1]), STATED),
    "other storage": (made.tensor(made.storage("1", "Float", 6), 0, [1]), "no "),
    "storage with a path": (
        made.tensor(made.storage("../data.pkl", "Byte", 6), 0, [1]),
        "no ",
    ),
    "legacy view": (
        made.tensor(
            made.storage("0", "Float", 6, more=[items([text("v"), integer(4), integer(3)])]), 0, [1]
        ),
        "a view of a storage that ends behind it",
    ),
    "legacy view of odd shape": (
        made.storage("0", "Float", 6, more=[items([text("v")])]), "a view of a wrong shape",
    ),
    "huge tensor": (made.tensor(WHERE, 0, [1 << 30, 1 << 30], [0, 0]), "more than 1099511627776"),
    "repeated tensor": (made.tensor(WHERE, 0, [1 << 20, 1 << 10], [0, 0]), "too often"),
    "many arguments": (call("builtins.set", [b"N"] * 17), "builtins.set with 17 arguments"),
    "one list for many calls": (
        b"](" + b"N" * 3000 + b"eq\x00" + (name("builtins.set") + b"h\x00\x85R") * 1500,
        "builtins.set with the same values too often",
    ),
    "one pair for many dicts": (
        b"](" + items([text("a"), GOOD]) * 3000 + b"eq\x00"
        + (name("collections.OrderedDict") + b"h\x00\x85R0") * 1500,
        "collections.OrderedDict with the same values too often",
    ),
    "one long key for many tensors": (
        b"}" + text("k" * 60000) + b"](" + GOOD + b"q\x01" + b"h\x01" * 700 + b"es",
        "its names take more than 33554432 letters",
    ),
    "a dict with many entries in itself": (
        b"}q\x00(" + text("model") + b"h\x00" + text("a") + GOOD
        + b"".join(text(str(i)) + b"N" for i in range(500)) + b"u",
        "or holds itself",
    ),
    "huge axis": (made.tensor(WHERE, 0, [1 << 40], [0]), "shape is impossible"),
    "huge offset": (made.tensor(WHERE, 1 << 61, [1]), "ends behind its storage"),
    "huge stride": (made.tensor(WHERE, 0, [2], [1 << 61]), "ends behind its storage"),
    "nine axes": (made.tensor(WHERE, 0, [1] * 9), "it has 9 axes, more than 8"),
    "negative size": (made.tensor(WHERE, 0, [-1], [1]), "a size, offset or stride that is none"),
    "negative stride": (made.tensor(WHERE, 5, [6], [-1]), "a size, offset or stride that is none"),
    "negative offset": (made.tensor(WHERE, -1, [1], [1]), "a size, offset or stride that is none"),
    "sizes and strides": (made.tensor(WHERE, 0, [2, 3], [1]), "2 sizes and 1 strides"),
    "size of text": (
        rebuild(WHERE, integer(0), items([text("2")]), numbers([1]), FALSE, SET),
        "a size, offset or stride that is none",
    ),
    "size of a bool": (
        rebuild(WHERE, integer(0), items([b"\x88"]), numbers([1]), FALSE, SET),
        "a size, offset or stride that is none",
    ),
    "size in a list": (
        rebuild(WHERE, integer(0), b"](" + integer(2) + b"e", numbers([1]), FALSE, SET),
        "a list where a tuple of numbers belongs",
    ),
    "no storage": (
        rebuild(text("0"), integer(0), numbers([2]), numbers([1]), FALSE, SET),
        "its arguments have a wrong shape: a text, an integer",
    ),
    "hooks": (
        rebuild(WHERE, integer(0), numbers([2]), numbers([1]), FALSE, mapping({"a": text("b")})),
        "its arguments have a wrong shape",
    ),
    "untyped": (made.tensor(made.storage("0", "Untyped", 24), 0, [6]), "has no element type"),
    "subclass": (
        call(
            "torch._tensor._rebuild_from_type_v2",
            [name("torch._utils._rebuild_tensor_v2"), name("torch.Size"), items([]), b"}"],
        ),
        "a tensor of class 'torch.Size', which is refused",
    ),
    "function of a tensor": (
        call(
            "torch._tensor._rebuild_from_type_v2",
            [name("collections.OrderedDict"), name("torch.Tensor"), items([]), b"}"],
        ),
        "its arguments have a wrong shape",
    ),
    "list in itself": (b"]q\x00h\x00a", "it holds no tensors"),
    "dict in itself": (b"}q\x00" + text("a") + b"h\x00s", "holds no tensors"),
    "list with a tensor in itself": (b"]q\x00(" + GOOD + b"h\x00e", "deep, or holds itself"),
    "model in itself": (b"}q\x00(" + text("model") + b"h\x00" + text("a") + GOOD + b"u", "nested"),
    "names twice": (mapping([("a", GOOD), ("a", GOOD)]), "a dict has the key 'a' twice"),
    "two of one name": (
        mapping([("a.b", GOOD), ("a", mapping({"b": GOOD}))]), "two tensors are named 'a.b'",
    ),
    "key of bytes": (b"}C\x01a" + GOOD + b"s", "a tensor under a key that is bytes"),
    "name without characters": (mapping({"": GOOD}), "its name is empty"),
    "name with a NUL": (mapping({"a\0": GOOD}), "its name holds a NUL"),
    "name that is no text": (mapping({"a\ud800": GOOD}), "its name is not UTF-8"),
    "long name": (mapping({"a" * 5000: GOOD}), "its name has 5000 bytes, more than 4096"),
    "nothing": (mapping({}), "it holds no tensors"),
    "number": (integer(3), "it holds no tensors"),
    "deep lists": (b"]" * 300 + b"a" * 299, "holds no tensors"),
    "deep lists with a tensor": (b"]" * 300 + GOOD + b"a" * 300, "nested more than 64 deep"),
    "very deep lists": (b"]" * 50000 + GOOD + b"a" * 50000, "nested more than 64 deep"),
    "a dict for each byte": (b"(" + b"}" * 600_000 + b"l", "too many containers"),
    "elements of a thousand digits": (
        items(
            [text("storage"), name("torch.FloatStorage"), text("0"), text("cpu"),
             b"\x8b\x00\x04\x00\x00" + b"\x7f" * 1024]
        ) + b"Q",
        "its persistent id is wrong: 54323534597516009035... elements",
    ),
    "very deep tuples": (b"N" + b"\x85" * 50000, "holds no tensors"),
    "laughs": (LAUGHS, "it holds the same values too often"),
}  # fmt: skip


@pytest.mark.parametrize("trick", TRICKS)
@pytest.mark.parametrize("layout", [zipped, legacy])
def test_a_trick_is_refused_and_named(tmp_path: Path, trick: str, layout: Layout) -> None:
    value, said = TRICKS[trick]
    assert said in reason(layout(made.pickle(value)), tmp_path)


@pytest.mark.parametrize("end", range(0, 200, 7))
def test_a_pickle_that_is_cut_short(tmp_path: Path, end: int) -> None:
    value = made.pickle(mapping({"a": GOOD}))
    assert "data.pkl, byte" in reason(zipped(value[: min(end, len(value) - 1)]), tmp_path)


class Runs:
    """What would make a file if it were unpickled."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (self.command,)


class Sets:
    """What would make a file when its state is set."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __setstate__(self, state: dict[str, str]) -> None:
        Path(state["path"]).touch()


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("layout", [zipped, legacy])
def test_nothing_runs(tmp_path: Path, protocol: int, layout: Layout) -> None:
    """Python's own unpickler makes the file, this reader does not."""
    proof = tmp_path / "proof"
    bombs = [Runs(f"{sys.executable} -c \"open({str(proof)!r}, 'w')\""), Sets(str(proof))]
    for bomb in bombs:
        data = pickle.dumps(bomb, protocol)
        pickle.loads(data)  # noqa: S301 - the proof that it would run
        assert proof.exists()
        proof.unlink()
        for value in (bomb, {"state_dict": {"a": bomb}}, [bomb], {"a": (bomb,)}):
            said = reason(layout(pickle.dumps(value, protocol)), tmp_path)
            assert "refused" in said
        assert not proof.exists()


def test_a_pickle_of_something_else_is_told_from_one_of_torch(tmp_path: Path) -> None:
    assert "no magic number" in reason(pickle.dumps({"a": 1}, 2), tmp_path)
    assert "protocol" in reason(made.MAGIC + b"\x80\x02M\x00\x01.", tmp_path)
    assert "system information" in reason(made.MAGIC + made.PROTOCOL + b"\x80\x02N.", tmp_path)


def test_legacy_storages_that_lie(tmp_path: Path) -> None:
    value = made.pickle(GOOD)
    assert "6 elements in the pickle, 7 in" in reason(
        made.legacy(value, {"0": (7, WEIGHT + bytes(4))}), tmp_path
    )
    assert "cut short" in reason(made.legacy(value, {"0": (1 << 62, WEIGHT)}), tmp_path)
    assert "cut short" in reason(legacy(value)[:-1], tmp_path)
    assert "1 bytes behind" in reason(legacy(value) + b"\0", tmp_path)
    assert "no tensor names" in reason(made.legacy(value, {"1": (6, WEIGHT)}), tmp_path)
    assert "has no storage '0'" in reason(made.legacy(value, {}), tmp_path)
    twice = made.MAGIC + made.PROTOCOL + made.SYSTEM + value + b"\x80\x02](" + text("0") * 2 + b"e."
    room = struct.pack("<Q", 6) + WEIGHT
    assert "storage '0' is there twice" in reason(twice + room + room, tmp_path)


def test_memory_stays_small_whatever_a_pickle_says(tmp_path: Path) -> None:
    lies = [value for key, (value, _) in TRICKS.items() if "deep" not in key]
    tracemalloc.start()
    try:
        for value in lies:
            reason(zipped(made.pickle(value)), tmp_path)
            assert tracemalloc.get_traced_memory()[1] < 1 << 26
            tracemalloc.reset_peak()
    finally:
        tracemalloc.stop()


def test_an_endless_pickle_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dcformat.converters.torch_pickle.MAX_STEPS", 1000)
    said = reason(zipped(made.pickle(b"N0" * 1000 + GOOD)), tmp_path)
    assert "more than 1000 instructions" in said
