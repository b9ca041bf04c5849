"""Filters of zeros taken out of graphs: what is left answers the same, and what stays says why."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from shrink_nets import Net, damaged, random_net

import dcformat
from dcformat import formats
from dcformat.coded import Raw, expand_tensor
from dcformat.compress import read_recipe
from dcformat.errors import ConvertError
from dcformat.formats import Shrunk

ort = pytest.importorskip("onnxruntime")


def outputs(path: Path, seed: int = 0) -> list[Any]:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(seed)
    feed = {
        one.name: rng.standard_normal([n if isinstance(n, int) else 1 for n in one.shape]).astype(
            np.float32
        )
        for one in session.get_inputs()
    }
    found: list[Any] = session.run(None, feed)
    return found


def same_answers(coded: Any, shrunk: Any, folder: Path) -> None:
    """Run both; float32 rounds otherwise where a sum has fewer terms."""
    dcformat.write(coded, folder / "whole.onnx")
    dcformat.write(shrunk, folder / "small.onnx")
    onnx.checker.check_model(folder / "small.onnx", full_check=True)
    for seed in range(3):
        pairs = zip(outputs(folder / "whole.onnx", seed), outputs(folder / "small.onnx", seed),
                    strict=True)  # fmt: skip
        for wanted, got in pairs:
            assert got.shape == wanted.shape
            np.testing.assert_allclose(
                got, wanted, rtol=0, atol=2e-5 * max(1, np.abs(wanted).max())
            )


def shrunk_net(model: onnx.ModelProto, folder: Path, preset: str = "lossless") -> Shrunk:
    (folder / "net.onnx").write_bytes(model.SerializeToString())
    coded = dcformat.compress(dcformat.read(folder / "net.onnx"), preset)
    found = formats.shrink(coded)
    same_answers(coded, found.coded, folder)
    return found


def shapes(found: Shrunk) -> dict[str, tuple[int, ...]]:
    return {tensor.name: tensor.shape for tensor in found.coded.tensors}


#: Some always, and more where tests may take long.
SEEDS = [range(40), pytest.param(range(40, 400), marks=pytest.mark.slow)]


@pytest.mark.parametrize("seeds", SEEDS, ids=["some", "many"])
def test_random_networks_answer_the_same(seeds: range, tmp_path: Path) -> None:
    filters = channels = 0
    reasons: set[str] = set()
    for seed in seeds:
        found = shrunk_net(random_net(seed), tmp_path)
        filters, channels = filters + found.filters, channels + found.channels
        reasons |= set(found.staying)
    assert filters > 3 * len(seeds)
    assert channels > len(seeds)
    assert "padding meets a number that is not zero" in reasons


@pytest.mark.parametrize("seeds", SEEDS, ids=["some", "many"])
def test_damaged_graphs_are_refused_in_a_line_or_answer_as_they_did(
    seeds: range, tmp_path: Path
) -> None:
    verdicts: Counter[str] = Counter()
    lines: set[str] = set()
    for seed in seeds:
        path = tmp_path / "net.onnx"
        path.write_bytes(damaged(random_net(seed % 40), random.Random(seed)).SerializeToString())
        try:
            coded = dcformat.compress(dcformat.read(path), "lossless")
            found = formats.shrink(coded)
        except ConvertError as error:
            lines.add(str(error))
            verdicts["refused"] += 1
            continue
        verdicts["shrunk"] += 1
        if runs(path):
            verdicts["runs"] += found.filters > 0
            dcformat.write(found.coded, path.with_name("small.onnx"))
            for wanted, got in zip(outputs(path), outputs(path.with_name("small.onnx")),
                                   strict=True):  # fmt: skip
                most = 2e-5 * max(1, np.abs(wanted).max(initial=0))
                np.testing.assert_allclose(got, wanted, rtol=0, atol=most)
    assert not any("\n" in line for line in lines)
    assert verdicts["refused"] > 0
    assert verdicts["shrunk"] > len(seeds) // 2
    assert verdicts["runs"] > len(seeds) // 50


def runs(path: Path) -> bool:
    try:
        return all(np.isfinite(one).all() for one in outputs(path))
    except Exception:
        return False


def two_convs(pad: int, bias: float) -> Net:
    """A convolution of 8 filters, of which two are zero, and another that takes them."""
    net = Net(np.random.default_rng(1), zeros=0)
    first = net.conv("x", 8, 3, 1)
    net.tensors["t0"][[2, 5]] = 0
    net.tensors["t1"][:] = 0.25
    net.tensors["t1"][[2, 5]] = bias
    net.conv(net.add("Relu", [first], net.shapes[first]), 4, 3, pad)
    return net


@pytest.mark.parametrize(
    ("pad", "bias", "left"), [(0, 0.5, 6), (1, 0.0, 6), (1, -1.0, 6), (1, 0.5, 8)]
)
def test_a_number_goes_into_the_next_bias_where_no_padding_meets_it(
    pad: int, bias: float, left: int, tmp_path: Path
) -> None:
    net = two_convs(pad, bias)
    found = shrunk_net(net.model([f"v{len(net.nodes) - 1}"]), tmp_path, "int8")
    assert shapes(found)["t0"] == (left, 3, 3, 3)
    assert shapes(found)["t2"] == (4, left, 3, 3)
    assert found.filters == 8 - left
    why = {"padding meets a number that is not zero": 2} if left == 8 else {}
    assert found.staying == why
    assert found.bytes == (0 if left == 8 else 4 * (2 * 27 + 2 * 36 + 2))


METHODS = ("int8", "affine", "fixed", "pow2", "ternary", "binary", "codebook")


@pytest.mark.parametrize("scales", ["channel", "tensor"])
@pytest.mark.parametrize("method", METHODS)
def test_numbers_that_stay_are_those_that_were_chosen(
    method: str, scales: str, tmp_path: Path
) -> None:
    net = Net(np.random.default_rng(4), zeros=0)
    first = net.conv("x", 64, 3, 0)
    net.tensors["t0"][[2, 5]] = 0
    out = net.conv(first, 32, 1, 0)
    (tmp_path / "net.onnx").write_bytes(net.model([out]).SerializeToString())
    model = dcformat.read(tmp_path / "net.onnx")
    more = {} if method in ("int8", "codebook") else {"scales": scales}
    coded = dcformat.compress(model, "int8", method=method, **more)
    whole = {tensor.name: tensor for tensor in coded.tensors}
    part = {tensor.name: tensor for tensor in formats.shrink(coded).coded.tensors}
    gone = [] if method == "binary" else [2, 5]  # which has no zero
    for name, axis in (("t0", 0), ("t2", 1)):
        assert not isinstance(whole[name].values, Raw)
        assert type(part[name].values) is type(whole[name].values)
        assert part[name].order == whole[name].order
        for made in (lambda tensor: tensor.symbols, expand_tensor):
            wanted = np.delete(made(whole[name]), gone, axis)
            assert made(part[name]).tobytes() == wanted.tobytes()


def test_a_layer_keeps_one_filter(tmp_path: Path) -> None:
    net = two_convs(0, 0.5)
    net.tensors["t0"][:] = 0
    found = shrunk_net(net.model(["v2"]), tmp_path)
    assert (found.filters, found.staying) == (7, {"it is the last one of its layer": 1})


def test_channels_that_nobody_takes_go(tmp_path: Path) -> None:
    net = two_convs(1, 0.5)
    net.tensors["t0"][[2, 5]] = 1
    net.tensors["t2"][:, [0, 7]] = 0
    found = shrunk_net(net.model(["v2"]), tmp_path)
    assert (found.filters, found.channels, found.layers) == (0, 2, 1)


def test_both_sides_of_a_sum_go_together_or_not_at_all(tmp_path: Path) -> None:
    net = Net(np.random.default_rng(2), zeros=0)
    one, other = net.conv("x", 6, 3, 1), net.conv("x", 6, 1, 0)
    total = net.add("Add", [one, other], net.shapes[one])
    out = net.conv(total, 3, 1, 0)
    for name in ("t1", "t3"):
        net.tensors[name][:] = 0.5
    net.tensors["t0"][[0, 1]] = net.tensors["t2"][[1, 2]] = 0
    found = shrunk_net(net.model([out]), tmp_path)
    assert found.filters == 2
    assert shapes(found)["t2"] == (5, 3, 1, 1)
    assert found.staying == {"it is not the same everywhere": 2}


def test_what_several_nodes_take_is_cut_for_each(tmp_path: Path) -> None:
    """Two norms that share their vectors, of which one loses channels."""
    net = Net(np.random.default_rng(3), zeros=0)
    vectors = [net.tensor(np.full(8, n, np.float32)) for n in (0.5, 0.25, -1, 2)]
    ends = []
    for zero in ([], [1, 4, 6]):
        made = net.conv("x", 8, 3, 0, biased=False)
        net.tensors[net.nodes[-1].input[1]][zero] = 0
        normed = net.add("BatchNormalization", [made, *vectors], net.shapes[made])
        ends.append(net.conv(normed, 2, 1, 0))
    found = shrunk_net(net.model(ends), tmp_path)
    assert found.filters == 3


@pytest.mark.parametrize("op", ["Softmax", "LRN", "InstanceNormalization"])
def test_operators_that_mix_channels_hold_them(op: str, tmp_path: Path) -> None:
    net = two_convs(0, 0.0)
    last = net.nodes.pop()
    more: dict[str, Any] = {"axis": 1} if op == "Softmax" else {"size": 3} if op == "LRN" else {}
    vectors = [net.tensor(np.ones(8, np.float32))] * 2 if op == "InstanceNormalization" else []
    net.add(op, ["v1", *vectors], net.shapes["v1"], **more)
    last.input[0] = "v2"
    last.output[0] = "v3"
    net.nodes.append(last)
    net.shapes["v3"] = (1, 4, 6, 6)
    found = shrunk_net(net.model(["v3"]), tmp_path)
    assert (found.filters, found.staying) == (0, {f"it goes into {op}": 2})


def test_what_an_inner_graph_takes_stays(tmp_path: Path) -> None:
    net = two_convs(0, 0.0)
    inner = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["v1"], ["inside"])], "then", [],
        [onnx.helper.make_tensor_value_info("inside", 1, None)])  # fmt: skip
    yes = net.tensor(np.array(True))
    net.add("If", [yes], net.shapes["v1"], then_branch=inner, else_branch=inner)
    found = shrunk_net(net.model(["v2", "v3"]), tmp_path)
    assert (found.filters, found.staying) == (0, {"it goes into If": 2})


def test_models_without_such_a_graph_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConvertError, match="has no graph"):
        formats.shrink(dcformat.compress(dcformat.model.Model(), "int8"))
    (tmp_path / "net.onnx").write_bytes(two_convs(0, 0).model(["v2"]).SerializeToString())
    model = dcformat.read(tmp_path / "net.onnx")
    with pytest.raises(ConvertError, match="shrink changes numbers, preset lossless none"):
        dcformat.compress(model, "lossless", shrink=True)


def test_a_recipe_shrinks_and_the_verifier_follows_it(tmp_path: Path) -> None:
    net = Net(np.random.default_rng(4), zeros=0)
    out = net.conv(net.conv("x", 64, 3, 0), 32, 1, 0)
    path, made = tmp_path / "net.onnx", tmp_path / "net.dcf"
    path.write_bytes(net.model([out]).SerializeToString())
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        'version = 1\n[defaults]\nprune = 0.25\nprune_unit = "filter"\nshrink = true\n'
    )
    coded = dcformat.compress(dcformat.read(path), read_recipe(recipe))
    assert {t.name: t.shape for t in coded.tensors}["t0"] == (48, 3, 3, 3)
    dcformat.save(coded, made)
    report = dcformat.verify(made, against=path, run=True)
    checks = {check.name: check for check in report.checks}
    assert report.ok, report
    assert (
        "shrunk by 16 filters and 0 channels: followed again, the same" in checks["tensors"].detail
    )
    assert "signal-to-noise" in checks["outputs"].detail
    skipped = {check.name: check for check in dcformat.verify(made, against=path).checks}
    assert (skipped["outputs"].status, "was shrunk" in skipped["outputs"].detail) == (
        "skipped",
        True,
    )
    net.tensors["t0"][7] *= 3
    path.write_bytes(net.model([out]).SerializeToString())
    wrong = {check.name: check for check in dcformat.verify(made, against=path).checks}
    assert [wrong[name].status for name in ("source", "tensors")] == ["failed", "failed"]


REAL = {  # filters and channels that go at the least, of a third of each
    "mnist_cnn_bn_burn": (22, 18),
    "micro_kws_m_fp32": (26, 19),
    "fastestdet": (131, 263),
    "ultraface_rfb320": (1, 1),
    "yunet_n_320": (1, 157),
    "super_resolution": (21, 48),
    "mnist_cntk": (0, 2),
}


@pytest.mark.realdata
@pytest.mark.parametrize("unit", ["filter", "channel"])
@pytest.mark.parametrize("name", REAL)
def test_real_models_pruned_by_filters_and_channels(
    name: str, unit: str, data_dir: Path, tmp_path: Path
) -> None:
    model = dcformat.read(data_dir / "onnx" / f"{name}.onnx")
    coded = dcformat.compress(model, "int8", prune=0.3, prune_unit=unit)
    found = formats.shrink(coded)
    same_answers(coded, found.coded, tmp_path)
    assert found.filters + found.channels >= REAL[name][unit == "channel"]
    sizes = [dcformat.save(one, tmp_path / "m.dcf") for one in (coded, found.coded)]
    assert sizes[1] <= sizes[0]
