"""Roles from names and shapes: the conventions, what a bias proves, and a graph for comparison."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from nets import tensor, weights

import dcformat
from dcformat.coded import Affine
from dcformat.compress import (
    Recipe,
    Rule,
    assumptions,
    compress,
    preset_recipe,
    read_recipe,
    recipe_from_json,
    recipe_json,
    report,
)
from dcformat.compress.names import NO_RULE, RULES, assume, uses_of
from dcformat.errors import ConvertError
from dcformat.model import Model, Use
from dcformat.verify import verify

OIHW, IOHW, HWIO, HWOI = (0, 2, 3, 1), (1, 2, 3, 0), (3, 0, 1, 2), (2, 0, 1, 3)


def taken(**shapes: tuple[int, ...]) -> dict[str, Use]:
    """Return what is assumed of tensors; `__` stands for a dot in their names."""
    made = [tensor(np.zeros(s), name.replace("__", ".")) for name, s in shapes.items()]
    return {name: found.use for name, found in assume(made).items()}


@pytest.mark.parametrize(
    ("name", "shape", "use"),
    [
        ("module.conv1.weight", (16, 3, 3, 3), ("module.conv1", "Conv", 0, OIHW)),
        ("conv.weight", (16, 8, 5), ("conv", "Conv", 0, (0, 2, 1))),
        ("conv.weight", (4, 2, 3, 3, 3), ("conv", "Conv", 0, (0, 2, 3, 4, 1))),
        ("up.deconv1.weight", (16, 8, 2, 2), ("up.deconv1", "ConvTranspose", 1, IOHW)),
        ("up.conv_transpose.0.weight", (8, 4, 2, 2), (None, "ConvTranspose", 1, IOHW)),
        ("tconv2.weight", (8, 4, 2, 2), ("tconv2", "ConvTranspose", 1, IOHW)),
        ("conv_transformer.proj.weight", (8, 4, 2, 2), (None, "Conv", 0, OIHW)),
        ("fc.weight", (10, 64), ("fc", "Gemm", 0, None)),
        ("attn.in_proj_weight", (24, 8), ("attn", "Gemm", 0, None)),
        ("rnn.weight_ih_l0", (64, 8), ("rnn", "LSTM", 0, None)),
        ("rnn.weight_hh_l1_reverse", (64, 16), ("rnn", "LSTM", 0, None)),
        ("cell.weight_hh", (64, 16), ("cell", "LSTM", 0, None)),
        ("transformer.wte.weight", (100, 8), ("transformer.wte", "Gather", 0, None)),
        ("embedding.weight", (100, 8), ("embedding", "Gather", 0, None)),
        ("tokens/embedding", (100, 8), ("tokens", "Gather", 0, None)),
        ("dense/kernel:0", (64, 10), ("dense", "MatMul", 1, (1, 0))),
        ("conv2d/kernel:0", (3, 3, 8, 16), ("conv2d", "Conv", 3, HWIO)),
        ("conv2d_transpose/kernel", (3, 3, 8, 16), (None, "ConvTranspose", 2, HWOI)),
        ("conv/depthwise_kernel:0", (3, 3, 8, 1), ("conv", "Conv", 2, HWOI)),
        ("lstm/recurrent_kernel", (16, 64), ("lstm", "LSTM", 1, (1, 0))),
        ("W1", (64, 10), ("", "MatMul", 1, (1, 0))),
        ("c.parametrizations.weight.original1", (8, 4, 3), ("c", "Conv", 0, (0, 2, 1))),
        ("c.weight_v", (8, 4, 3), ("c", "Conv", 0, (0, 2, 1))),
    ],
)
def test_weights_by_convention(name: str, shape: tuple[int, ...], use: tuple[object, ...]) -> None:
    (found,) = assume([tensor(np.zeros(shape), name)]).values()
    node, *rest = use
    assert found.use.role == "weight"
    assert [found.use.op, found.use.out_axis, found.use.order] == rest
    assert node is None or found.use.node == node


@pytest.mark.parametrize(
    ("name", "shape", "role"),
    [
        ("bn1.weight", (16,), "norm"),
        ("bn1.bias", (16,), "bias"),
        ("bn1.running_mean", (16,), "norm"),
        ("bn1.running_var", (16,), "norm"),
        ("bn1.num_batches_tracked", (), "norm"),
        ("bn/gamma:0", (16,), "norm"),
        ("bn/beta:0", (16,), "bias"),
        ("bn/moving_variance:0", (16,), "norm"),
        ("prelu.weight", (16,), "norm"),
        ("norm.weight", (7, 7), "norm"),
        ("h.0.ln_1.weight", (7, 7), "norm"),
        ("h.0.attn.bias", (1, 1, 64, 64), "bias"),
        ("rnn.bias_ih_l0", (64,), "bias"),
        ("b1", (64,), "bias"),
        ("c.parametrizations.weight.original0", (8, 1, 1), "norm"),
    ],
)
def test_what_stays_exact(name: str, shape: tuple[int, ...], role: str) -> None:
    (found,) = assume([tensor(np.zeros(shape), name)]).values()
    assert (found.use.role, found.use.out_axis, found.use.order) == (role, None, None)


@pytest.mark.parametrize(
    ("name", "shape"),
    [("pos_embed", (1, 64, 8)), ("arr_0", (64, 8)), ("scales", (64, 8)), ("cls_token", (1, 1, 8))],
)
def test_what_no_rule_knows_is_left_as_it_is(name: str, shape: tuple[int, ...]) -> None:
    model = Model((tensor(weights(*shape), name),))
    assert assume(model.tensors) == {}
    (line,) = report(model, compress(model, preset_recipe("deep")))
    assert line.reason == "not a weight"
    assert assumptions(model, preset_recipe("deep")) == {NO_RULE: 1}


def test_a_bias_goes_before_the_convention() -> None:
    assert taken(c__weight=(8, 24), c__bias=(24,))["c.weight"] == Use(
        "c", "MatMul", "weight", 1, (1, 0)
    )
    assert taken(d__kernel=(8, 24), d__bias=(8,))["d.kernel"].out_axis == 0
    assert taken(w1=(8, 24), b1=(8,))["w1"].out_axis == 0
    up = taken(up__weight=(8, 4, 2, 2), up__bias=(4,))["up.weight"]
    assert up == Use("up", "ConvTranspose", "weight", 1, IOHW)
    deconv = taken(deconv__weight=(8, 4, 2, 2), deconv__bias=(8,))["deconv.weight"]
    assert deconv == Use("deconv", "Conv", "weight", 0, OIHW)


def test_a_bias_that_fits_no_axis_leaves_one_scale() -> None:
    grouped = taken(deconv__weight=(8, 4, 2, 2), deconv__bias=(16,))["deconv.weight"]
    assert grouped == Use("deconv", "ConvTranspose", "weight", None, None)


def test_a_bias_of_the_same_shape_makes_a_norm() -> None:
    assert taken(n__weight=(7, 7), n__bias=(7, 7))["n.weight"].role == "norm"


def test_axes_are_those_of_the_tensor() -> None:
    for rule in RULES:
        for rank in rule.ranks:
            if rule.layout:
                (name,) = [n for n in SAMPLES if re.fullmatch(rule.name, n.split(".")[-1])][:1]
                shape = tuple(range(2, 2 + rank))
                use = assume([tensor(np.zeros(shape), name)])[name].use
                assert use.out_axis in range(rank)
                assert use.order is None or sorted(use.order) == list(range(rank))


SAMPLES = ("x.weight", "x.weight_ih", "x.embedding", "x.kernel", "x.recurrent_kernel",
           "x.depthwise_kernel")  # fmt: skip


def graphless(model: Model) -> Model:
    return replace(model, graph=None, uses={})


@pytest.mark.parametrize("preset", ["lossless", "int8", "deep"])
def test_numbers_are_those_that_the_graph_gives(digits: Path, preset: str) -> None:
    model = dcformat.read(digits / "digits.onnx")
    told, assumed = (dcformat.compress(m, preset) for m in (model, graphless(model)))
    assert [t.name for t in told.tensors if "weight" in t.name]
    assert told.tensors == assumed.tensors


def test_a_graph_is_believed_and_nothing_is_assumed_beside_it(digits: Path) -> None:
    model = dcformat.read(digits / "digits.onnx")
    assert uses_of(model) is model.uses
    assert assumptions(model, preset_recipe("int8")) == {}


def test_a_recipe_goes_before_names() -> None:
    model = Model((tensor(weights(64, 48), "table"), tensor(weights(64, 64), "fc.weight")))
    rules = (Rule("table", {"layout": "IO"}), Rule("fc.*", {"method": "exact"}))
    recipe = Recipe(rules=rules)
    table, dense = compress(model, recipe).tensors
    assert isinstance(table.values, Affine)
    assert (table.values.axis, table.order) == (1, (1, 0))
    assert dense.exact
    assert assumptions(model, recipe) == {"the recipe: IO": 1, "weight of 2 axes: dense, OI": 1}
    assert report(model, compress(model, recipe))[0].op == "MatMul"


def test_a_layout_with_more_axes_than_the_tensor_is_refused() -> None:
    model = Model((tensor(weights(64, 48), "fc.weight"),))
    with pytest.raises(ConvertError, match=r"fc\.weight.*'OIHW' is for 3 axes or more; it has 2"):
        compress(model, Recipe(rules=(Rule("*", {"layout": "OIHW"}),)))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('[defaults]\nlayout = "OI"\n', "unknown key 'layout'"),
        ('[[layer]]\nmatch = "x"\nlayout = "XY"\n', "expected one of OI, IO, OIHW"),
    ],
)
def test_a_layout_is_one_of_a_few_and_for_single_layers(
    tmp_path: Path, text: str, problem: str
) -> None:
    path = tmp_path / "r.toml"
    path.write_text("version = 1\n" + text)
    with pytest.raises(ConvertError, match=problem):
        read_recipe(path)


def test_a_layout_travels_with_the_recipe() -> None:
    recipe = Recipe(rules=(Rule("t", {"layout": "OI"}),))
    assert recipe_from_json(recipe_json(recipe)) == recipe


CONV, DENSE = "weight of 3 to 5 axes: convolution, OIHW", "weight of 2 axes: dense, OI"
BIAS, NORM = "bias, beta, b: bias", "weight, scale, gamma of one axis: norm"


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "counts"),
    [
        (
            "silero_vad_16k.safetensors",
            {BIAS: 7, CONV: 6, "weight_ih, weight_hh: LSTM or GRU, OI": 2},
        ),
        (
            "resnet20-12fca82f.th",
            {"statistics of a norm": 38, BIAS: 20, CONV: 19, NORM: 19, DENSE: 1},
        ),
        ("mnist_cnn_bn_burn.pt", {BIAS: 7, "statistics of a norm": 6, CONV: 3, DENSE: 2, NORM: 2}),
    ],
)
def test_real_state_dicts(
    data_dir: Path, tmp_path: Path, name: str, counts: dict[str, int]
) -> None:
    path = data_dir / "pytorch" / name
    model = dcformat.read(path)
    assert assumptions(model, preset_recipe("int8")) == counts
    sizes = [path.stat().st_size / 4]
    for preset in ("int8", "deep"):
        sizes.append(dcformat.save(dcformat.compress(model, preset), tmp_path / "x.dcf"))
        assert verify(tmp_path / "x.dcf", against=path).ok
    assert sizes == sorted(sizes, reverse=True)
