"""Which tensors of a checkpoint are the model, what they are called, what is said of the rest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch_files as made
from torch_files import call, integer, items, mapping, name, text

import dcformat
from dcformat.errors import ConvertError
from dcformat.model import Model

ONE = made.tensor(made.storage("0", "Float", 6), 0, [2, 3])
PARAMETER = call("torch._utils._rebuild_parameter", [ONE, b"\x88", made.ORDERED])


def sequence(*values: bytes) -> bytes:
    return b"](" + b"".join(values) + b"e"


def ordered(pairs: dict[str, bytes]) -> bytes:
    """Return an OrderedDict with `_metadata`, as state_dict() has it."""
    state = mapping(
        {"_metadata": made.ORDERED + text("") + mapping({"version": integer(1)}) + b"s"}
    )
    body = b"".join(text(key) + value for key, value in pairs.items())
    return made.ORDERED + b"(" + body + b"u" + state + b"b"


def read(value: bytes, folder: Path) -> Model:
    data = made.Archive(made.pickle(value), {"0": np.arange(6, dtype="<f4").tobytes()}).bytes()
    (folder / "x.pt").write_bytes(data)
    return dcformat.read(folder / "x.pt")


STATE = ordered({"fc.weight": ONE, "fc.bias": PARAMETER})
NAMES = ["fc.weight", "fc.bias"]
OPTIMIZER = mapping({"state": b"}" + integer(0) + mapping({"m": ONE, "v": ONE}) + b"s"})
CASES = {
    "plain": (STATE, NAMES, []),
    "state_dict": (
        mapping({"epoch": integer(3), "state_dict": STATE, "best": b"G" + bytes(8)}),
        NAMES,
        ["the model is state_dict; left out: epoch, best"],
    ),
    "optimizer": (
        mapping({"model": STATE, "optimizer": OPTIMIZER, "lr": ONE}),
        NAMES,
        ["the model is model; left out: optimizer (2 tensors), lr"],
    ),
    "several": (
        mapping({"model": STATE, "ema": STATE, "state_dict": STATE}),
        NAMES,
        ["the model is state_dict; left out: model (2 tensors), ema (2 tensors)"],
    ),
    "twice": (
        mapping({"step": integer(1), "model": mapping({"state_dict": STATE, "n": integer(2)})}),
        NAMES,
        ["the model is model.state_dict; left out: step, model.n"],
    ),
    "a module called model": (
        mapping({"model.fc": ONE, "model.version": integer(1)}),
        ["model.fc"],
        ["left out: model.version"],
    ),
    "a dict called model without tensors": (
        mapping({"model": mapping({"depth": integer(1)}), "fc": ONE}),
        ["fc"],
        ["left out: model"],
    ),
    "two networks": (
        mapping({"g": STATE, "d": STATE, "optim_g": OPTIMIZER, "epoch": integer(1)}),
        ["g.fc.weight", "g.fc.bias", "d.fc.weight", "d.fc.bias"],
        ["left out: optim_g (2 tensors), epoch"],
    ),
    "optimizers by other names": (
        mapping({
            "g": STATE,
            "g_opt": mapping({
                "state": b"}" + integer(0) + mapping({"m": ONE}) + b"s",
                "param_groups": sequence(b"}"),
            }),
        }),
        ["g.fc.weight", "g.fc.bias"],
        ["left out: g_opt (1 tensor)"],
    ),
    "tensors that are called like optimizers": (
        mapping({"scaler": ONE, "rng.weight": ONE, "optimal": ONE}),
        ["scaler", "rng.weight", "optimal"],
        [],
    ),
    "only an optimizer": (
        OPTIMIZER,
        ["state.0.m", "state.0.v"],
        [],
    ),
    "lists": (
        sequence(ONE, items([ONE, integer(3)]), mapping({"x": sequence(ONE, b"N")})),
        ["0", "1.0", "2.x.0"],
        ["left out: 1.1"],
    ),
    "a tensor": (ONE, ["tensor"], []),
    "a parameter": (PARAMETER, ["tensor"], []),
    "numbers as keys": (
        b"}(" + integer(7) + ONE + integer(-1) + ONE + b"u", ["7", "-1"], [],
    ),
    "other keys": (
        b"}(" + text("a") + ONE + items([integer(1)]) + integer(2) + b"u", ["a"],
        ["left out: a tuple"],
    ),
    "module": (
        mapping({"module.a": ONE, "module.b": ONE}),
        ["module.a", "module.b"],
        ["every name begins with 'module.', as DataParallel saves them: kept"],
    ),
    "odd names": (
        mapping({"a b/\u00e9\U0001f600": ONE, "..": ONE, "\n\x1b[31m": ONE, "z\n": integer(1)}),
        ["a b/\u00e9\U0001f600", "..", "\n\x1b[31m"],
        ["left out: 'z\\n'"],
    ),
    "many left out": (
        mapping({"state_dict": STATE, **{f"k{i}": integer(i) for i in range(11)}}),
        NAMES,
        ["the model is state_dict; left out: k0, k1, k2, k3, k4, k5, k6, k7 and 3 more"],
    ),
    "numpy": (
        mapping({
            "fc": ONE,
            "best": call("numpy.core.multiarray.scalar", [
                call("numpy.dtype", [text("f8"), b"\x89", b"\x88"])
                + items([integer(3), text("<"), b"N", b"N", b"N"]) + b"b",
                b"C\x08" + bytes(8),
            ]),
            "losses": call("numpy._core.multiarray._reconstruct", [
                name("numpy.ndarray"), items([integer(0)]), b"C\x01b",
            ]) + items([integer(1), items([integer(9)]), b"N", b"\x89", b"C\x01a"]) + b"b",
            "old": call("_codecs.encode", [text("a\u00ff"), text("latin1")]),
            "counts": call("collections.Counter", [mapping({"a": integer(1)})]),
            "default": call("collections.defaultdict", [name("builtins.list")]) + text("a") + b"]s",
            "counters": call("collections.defaultdict", [name("__builtin__.long")]),
            "words": call("collections.defaultdict", [name("__builtin__.unicode")]),
        }),
        ["fc"],
        ["left out: best, losses, old, counts, default"],
    ),
    "python 2": (
        b"}(U\x02fc" + ONE + b"U\x03raw" + b"U\x01\xff" + b"u", ["fc"], ["left out: raw"],
    ),
    "an old OrderedDict": (
        call(
            "collections.OrderedDict",
            [sequence(sequence(text("a"), ONE), items([text("b"), ONE]))],
        ),
        ["a", "b"],
        [],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_is_taken_and_what_is_said(tmp_path: Path, case: str) -> None:
    value, names, notes = CASES[case]
    model = read(value, tmp_path)
    assert [one.name for one in model.tensors] == names
    assert list(model.notes) == notes


@pytest.mark.parametrize(
    "make",
    ["_rebuild_qtensor", "_rebuild_sparse_tensor", "_rebuild_nested_tensor"],
)
def test_what_cannot_be_read_matters_only_in_the_model(tmp_path: Path, make: str) -> None:
    odd = call(f"torch._utils.{make}", [integer(1)])
    with pytest.raises(ConvertError, match=r"tensor 'odd': it is (quantized|sparse|nested)"):
        read(mapping({"a": ONE, "odd": odd}), tmp_path)
    model = read(mapping({"state_dict": STATE, "odd": odd}), tmp_path)
    assert model.notes == ("the model is state_dict; left out: odd (1 tensor)",)


SOURCE = """class Net(Module):
  __parameters__ = ["weight", "0", ]
  __buffers__ = ["mean", ]
  weight : Tensor
  inner : __torch__.m.___torch_mangle_1.Part
  def forward(self: __torch__.m.Net) -> Tensor:
    return self.weight
class Helper:
  held : Tensor
"""
PART = 'class Part(Module):\n  __parameters__ = []\n  __buffers__ = ["b", ]\n'


def made_object(cls: str, state: dict[str, bytes]) -> bytes:
    return name(cls) + b")\x81" + mapping(state) + b"b"


def script(value: bytes, constants: bytes = b")", source: str = SOURCE) -> bytes:
    members = {
        "constants.pkl": made.pickle(constants), "code/__torch__/m.py": source.encode(),
        "code/__torch__/m/___torch_mangle_1.py": PART.encode(),
        "constants/0": np.ones(6, "<f4").tobytes(),
    }  # fmt: skip
    storages = {"0": np.arange(6, dtype="<f4").tobytes()}
    return made.Archive(made.pickle(value), storages, members=members).bytes()


def read_script(folder: Path, *arguments: bytes, **more: str) -> Model:
    (folder / "x.pt").write_bytes(script(*arguments, **more))
    return dcformat.read(folder / "x.pt")


def test_a_script_s_parameters_and_buffers(tmp_path: Path) -> None:
    part = made_object("__torch__.m.___torch_mangle_1.Part", {"b": ONE, "training": b"\x88"})
    helper = made_object("__torch__.m.Helper", {"held": ONE})
    root = made_object("__torch__.m.Net", {
        "inner": part, "mean": ONE, "state": ONE, "0": ONE, "weight": ONE, "helper": helper,
        "sizes": call("torch.jit._pickle.build_intlist", [sequence(integer(1))]),
        "more": call("torch.jit._pickle.build_tensorlist", [sequence(ONE)]),
        "tagged": call("torch.jit._pickle.restore_type_tag", [b"}", text("Dict[str, int]")]),
    })  # fmt: skip
    model = read_script(tmp_path, root, items([ONE]))
    assert [t.name for t in model.tensors] == ["0", "weight", "mean", "inner.b"]
    assert model.notes == ("left out: state, helper, more, CONSTANTS.c0",)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (ONE, "it holds a tensor, not a module"),
        (made_object("__torch__.m.Other", {}), "the archive has no class '__torch__.m.Other'"),
        (made_object("__torch__.n.Net", {}), "no member 'archive/code/__torch__/n.py'"),
        (made_object("__torch__.../data.Net", {}), "no member"),
        (name("__torch__.m.Net") + b")\x81" + items([ONE]) + b"b", "saves a state of its own"),
        (name("__torch__.m.Net") + b")\x81", "saves a state of its own"),
        (made_object("__torch__.m.Net", {}) + b"}b", "sets the state of an object of TorchScript"),
        (name("__torch__.m.Net") + items([integer(1)]) + b"\x81", "makes an object of"),
        (name("__torch__.m.Net") + items([]) + b"R", "it calls '__torch__.m.Net'"),
        (made_object("__torch__.m.Net", {"weight": text("x")}), "'weight' is a text, no tensor"),
        (made_object("__torch__.m.Net", {}), "no parameters, buffers or constants"),
        (
            made_object("__torch__.m.Net", {
                "packed": made_object("__torch__.torch.classes.quantized.Linear", {"w": ONE}),
            }),
            "packed has its weights packed in '__torch__.torch.classes.quantized.Linear'",
        ),
        (
            name("__torch__.m.Net") + b")\x81q\x00" + mapping({"w": ONE, "inner": b"h\x00"}) + b"b",
            "nested more than 256 deep, or in themselves",
        ),
        (name("os.system") + b")\x81", "it names 'os.system', which is refused"),
    ],
)  # fmt: skip
def test_scripts_that_are_refused(tmp_path: Path, value: bytes, words: str) -> None:
    with pytest.raises(ConvertError) as caught:
        read_script(tmp_path, value)
    assert words in str(caught.value)


EVIL = text("__torch__.m") + text("a\nfine\x1b[2J") + b"\x93"
PACKED = text("__torch__.torch.classes.q") + text("P\n") + b"\x93)\x81" + mapping({"w": ONE}) + b"b"


@pytest.mark.parametrize(
    "value",
    [
        call(
            "torch._tensor._rebuild_from_type_v2",
            [name("torch._utils._rebuild_tensor_v2"), EVIL, items([]), b"}"],
        ),
        items([text("storage"), EVIL, text("0"), text("cpu"), integer(2)]) + b"Q",
        call(
            "torch._utils._rebuild_tensor_v3",
            [made.storage("0", "Float", 2), integer(0), made.numbers([1]), made.numbers([1]),
             b"\x89", made.ORDERED, EVIL],
        ),
        made_object("__torch__.m.Net", {"inner\n": PACKED}),
        EVIL + b")\x81" + mapping({"w": ONE}) + b"b",
    ],
)  # fmt: skip
def test_names_of_classes_do_not_break_the_line(tmp_path: Path, value: bytes) -> None:
    with pytest.raises(ConvertError) as caught:
        read_script(tmp_path, value)
    assert str(caught.value).isprintable()


def test_modules_that_hold_one_module_too_often(tmp_path: Path) -> None:
    value = made_object("__torch__.m.Net", {"weight": ONE})
    for number in range(40):
        kept = b"q" + bytes([number])
        twice = {"a": b"h" + bytes([number]), "b": b"h" + bytes([number])}
        value += kept + b"0" + made_object("__torch__.m.Net", twice)
    with pytest.raises(ConvertError, match="the same values too often"):
        read_script(tmp_path, value)
