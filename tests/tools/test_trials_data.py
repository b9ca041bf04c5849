"""Data and metrics of trials: real ones, and what does not fit."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from evaluation import RESNETS, cifar_task, mnist_task
from onnx import helper, numpy_helper
from trial_models import built, dense, few, normal, saved

import dcformat
from dcformat.errors import ConvertError
from dcformat.tools._trials import Trials
from dcformat.tools._trials_run import Bench, answer

pytest.importorskip("onnxruntime")

Array = npt.NDArray[Any]
RIGHT = {"resnet20": 698, "resnet32": 709}  # of 761 test images


@pytest.mark.realdata
@pytest.mark.parametrize("name", RESNETS)
def test_residual_networks_get_right_what_the_reference_says(
    name: str, data_dir: Path, tmp_path: Path
) -> None:
    task = cifar_task(data_dir, tmp_path, name)
    with Trials(task.model, [], task.calib, task.test) as trials:
        found = trials.evaluate({})
    assert (round(found.value * 761), found.samples, found.changed) == (RIGHT[name], 761, 0)
    assert found.scores is not None
    assert found.scores.sum() == RIGHT[name]
    assert not found.smaller


@pytest.mark.realdata
def test_two_trials_give_the_same_bytes(data_dir: Path, tmp_path: Path) -> None:
    task = mnist_task(data_dir, tmp_path)
    name = "conv3.weight"
    weight = np.asarray(dcformat.read(task.model)[name].data)
    coarse = np.round(weight * 8) / np.float32(8)
    found = []
    for _ in range(2):
        with Trials(task.model, [name], task.calib, task.test, most=1000) as trials:
            gram = trials.gram(name)
            assert gram is not None
            pieces = (gram.blocks[0].tobytes(), gram.means.tobytes())
            found.append((pieces, trials.divergence({name: coarse}), trials.evaluate({}).value))
    assert found[0] == found[1]
    assert found[0][2] == 0.9916


def test_a_dcf_a_model_and_external_data(tmp_path: Path) -> None:
    whole = tmp_path / "whole.onnx"
    whole.write_bytes(dense(columns=600))
    model = dcformat.read(whole)
    dcformat.save(model, tmp_path / "m.dcf")
    dcformat.write(model, tmp_path / "apart.onnx", external=True)
    calib = saved(tmp_path / "c.npz", x=normal(9, 600))
    found = []
    for source in (whole, whole.read_bytes(), model, tmp_path / "m.dcf", tmp_path / "apart.onnx"):
        with Trials(source, ["w"], calib) as trials:
            found.append(trials.divergence({"w": normal(4, 600, seed=3)}))
    assert len(set(map(str, found))) == 1
    assert found[0].noise > 0.1


def inside(condition: str) -> list[Any]:
    """An If whose branches multiply: with an initializer of theirs, and with a Constant."""
    branches = []
    for name, seed in (("inner", 1), ("other", 2)):
        weight = numpy_helper.from_array(normal(6, 4, seed=seed), name)
        out = [helper.make_empty_tensor_value_info(f"{name}_y")]
        nodes = [helper.make_node("MatMul", ["x", name], [f"{name}_y"])]
        if name == "other":
            nodes.insert(0, helper.make_node("Constant", [], [name], value=weight))
        held = [weight] if name == "inner" else []
        branches.append(helper.make_graph(nodes, name, [], out, held))
    return [helper.make_node("If", [condition], ["y"], "if", then_branch=branches[0],
                             else_branch=branches[1])]  # fmt: skip


@pytest.mark.parametrize(("flag", "name"), [(True, "inner"), (False, "other")])
def test_weights_of_subgraphs_are_varied_but_have_no_moments(
    flag: bool, name: str, tmp_path: Path
) -> None:
    model = built(inside("c"), ["N", 6], c=np.array(flag))
    x = normal(8, 6)
    with Trials(model, ["inner", "other"], saved(tmp_path / "c.npz", x=x)) as trials:
        assert trials.gram(name) is None
        own = normal(6, 4, seed=1 if flag else 2)
        found = trials.divergence({name: own * np.float32(1.5)})
        other = "other" if flag else "inner"
        assert trials.divergence({other: np.zeros((6, 4), np.float32)}).noise == 0
    assert found.noise == pytest.approx(0.25, rel=1e-5)
    assert found.changed == 0


def test_what_cannot_be_varied_is_named_with_the_reason(tmp_path: Path) -> None:
    weight = numpy_helper.from_array(normal(6, 4), "hidden")
    nodes = [
        helper.make_node("Constant", [], ["hidden"], value=weight),
        helper.make_node("MatMul", ["a", "hidden"], ["b"]),
    ]
    opset = [helper.make_opsetid("", 17)]
    function = helper.make_function("own", "f", ["a"], ["b"], nodes, opset)
    model = built([helper.make_node("f", ["x"], ["y"], domain="own")], ["N", 6], [function])
    with Trials(model, ["hidden"], saved(tmp_path / "c.npz", x=normal(3, 6))) as trials:
        assert trials.fixed == {"hidden": "is inside a function of the model"}
        assert trials.divergence({}).noise == 0
        for ask in (lambda: trials.divergence({"hidden": normal(6, 4)}),
                    lambda: trials.gram("hidden")):  # fmt: skip
            with pytest.raises(ConvertError, match=r"'hidden' is inside a function .* be varied"):
                ask()


def test_a_batch_of_one_is_opened_where_samples_stay_apart(tmp_path: Path) -> None:
    x = normal(40, 6)
    found = []
    for batch in (1, "N"):
        with Trials(dense(batch), ["w"], saved(tmp_path / "c.npz", x=x), batch=16) as trials:
            found.append(trials.divergence({"w": normal(4, 6, seed=9)}, most=5))
    assert found[0] == found[1]
    assert found[0].samples == 16


def test_a_batch_of_one_stays_where_samples_would_mix(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("ReduceMean", ["x"], ["m"], axes=[0], keepdims=1),
        helper.make_node("Add", ["x", "m"], ["a"]),
        helper.make_node("MatMul", ["a", "w"], ["y"]),
    ]
    model, x = built(nodes, [1, 6], w=normal(6, 4)), normal(12, 6)
    with Trials(model, ["w"], saved(tmp_path / "c.npz", x=x), batch=4) as trials:
        found = trials.divergence({"w": normal(6, 4, seed=2)}, most=5)
    both = [2 * x[:5].astype(float) @ normal(6, 4, seed=seed) for seed in (0, 2)]
    assert found.samples == 5
    noise = np.sum((both[1] - both[0]) ** 2) / np.sum(both[0] ** 2)
    assert found.noise == pytest.approx(noise, rel=1e-5)


def test_without_data_there_are_seeded_inputs(tmp_path: Path) -> None:
    changed = {"w": normal(4, 6, seed=3)}
    found = []
    for seed in (0, 0, 1):
        with Trials(dense(), ["w"], None, seed=seed) as trials:
            assert trials.synthetic
            found.append(trials.divergence(changed))
    assert found[0] == found[1] != found[2]
    assert found[0].samples == trials.samples == 64


def test_metrics(tmp_path: Path) -> None:
    x, labels = normal(50, 6), np.arange(50) % 4
    test, weight = saved(tmp_path / "t.npz", x=x, labels=labels), normal(4, 6, seed=3)
    wanted, got = (x.astype(np.float64) @ w.T for w in (normal(4, 6, seed=1), weight))
    own = tmp_path / "own.py"
    own.write_text(
        "def each(outputs, labels):\n"
        "    print('loud')\n"
        "    return outputs['y'][:, 0] + (labels if labels is not None else 100)\n"
        "def batch(outputs, labels):\n    return outputs['y'].mean()\n"
    )
    values = {
        "top1": np.asarray(got.argmax(1) == labels, np.float64),
        "mse": np.mean((got - wanted) ** 2, axis=1),
        "cosine": np.sum(got * wanted, 1) / np.sqrt(np.sum(got**2, 1) * np.sum(wanted**2, 1)),
        f"{own}:each": got[:, 0] + labels,
    }
    for metric, scores in values.items():
        with Trials(dense(), ["w"], few(tmp_path), test, metric, batch=16) as trials:
            found = trials.evaluate({"w": weight})
        assert found.scores is not None
        np.testing.assert_allclose(found.scores, scores, rtol=1e-4)
        assert found.value == pytest.approx(scores.mean(), rel=1e-5)
        assert found.smaller == (metric == "mse")
        assert found.changed == int((got.argmax(1) != wanted.argmax(1)).sum())
    with Trials(dense(), ["w"], few(tmp_path), test, f"{own}:batch", batch=16) as trials:
        found = trials.evaluate({"w": weight})
    assert found.scores is None
    assert found.value == pytest.approx(got.mean(), rel=1e-4)


def test_without_evaluation_data_calibration_data_serve(tmp_path: Path) -> None:
    with Trials(dense(), ["w"], few(tmp_path)) as trials:
        assert trials.evaluate({}).value == 1.0
        found = trials.evaluate({"w": -normal(4, 6, seed=1)})
    assert (found.value, found.changed, found.samples) == (0.0, 5, 5)


def test_an_output_that_is_no_number_is_infinitely_far(tmp_path: Path) -> None:
    weight = normal(4, 6, seed=1)
    weight[0, 0] = np.nan
    with Trials(dense(), ["w"], few(tmp_path)) as trials:
        assert trials.divergence({"w": weight}).noise == np.inf


def evaluated(folder: Path, test: Path | None, metric: str = "top1") -> dict[str, Any]:
    """Do in this process what the child does; return its answer, or the error in it."""
    (folder / "m.onnx").write_bytes(dense())
    asked = {
        "do": "open",
        "model": str(folder / "m.onnx"),
        "weights": ["w"],
        "calib": str(few(folder)),
        "evaluation": test and str(test),
        "metric": metric,
        "batch": 32,
        "seed": 0,
        "most": None,
    }
    bench = Bench()
    opened, _ = answer(bench, asked, {})
    return opened if "error" in opened else answer(bench, {"do": "evaluate"}, {})[0]


HOSTILE: dict[str, tuple[dict[str, Any], str]] = {
    "another name": ({"z": normal(3, 6)}, "no array 'x'; the model's inputs: 'x'"),
    "one too many": ({"x": normal(3, 6), "z": normal(3)}, "'z' is no input"),
    "a weight": ({"x": normal(3, 6), "w": normal(4, 6)}, "'w' is no input"),
    "another shape": ({"x": normal(3, 7)}, r"shape \(3, 7\); the model wants any x 6"),
    "another rank": ({"x": normal(3)}, "the model wants any x 6"),
    "complex": ({"x": np.ones((3, 6), complex)}, "is complex128, the model wants float32"),
    "text": ({"x": np.full((3, 6), "a")}, "the model wants float32"),
    "objects": ({"x": np.full((3, 6), None)}, "does not hold numbers"),
    "NaN": ({"x": np.where(np.arange(18).reshape(3, 6) == 14, np.nan, 1)}, "NaN .* in sample 2"),
    "infinite": ({"x": np.full((3, 6), np.inf)}, "holds NaN or infinity in sample 0"),
    "too large": ({"x": np.full((3, 6), 1e300)}, "holds NaN or infinity in sample 0"),
    "empty": ({"x": np.ones((0, 6))}, "there are no numbers in it"),
    "labels": ({"x": normal(3, 6), "labels": np.arange(2)}, "2 labels for 3 samples"),
    "real labels": ({"x": normal(3, 6), "labels": np.ones(3)}, "one whole number a sample"),
    "columns of labels": ({"x": normal(3, 6), "labels": np.ones((3, 1), int)}, "one whole number"),
    "labels beyond": ({"x": normal(3, 6), "labels": np.array([0, 1, 4])}, "not those of 4 classes"),
}


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.filterwarnings("ignore:overflow")
def test_data_that_do_not_fit(kind: str, tmp_path: Path) -> None:
    arrays, message = HOSTILE[kind]
    bad = saved(tmp_path / "bad.npz", **arrays)
    error = evaluated(tmp_path, bad)["error"]
    assert re.search(message, error)
    assert "\n" not in error


def test_files_that_are_no_data(tmp_path: Path) -> None:
    cut = tmp_path / "cut.npz"
    cut.write_bytes(few(tmp_path).read_bytes()[:200])
    with zipfile.ZipFile(tmp_path / "lies.npz", "w") as archive:
        head = b"\x93NUMPY\x01\x00v\x00" + b"{'descr': '<f4', 'fortran_order': False, 'shape': "
        archive.writestr("x.npy", (head + b"(9999999999, 6), }").ljust(127) + b"\n")
    for path, message in ((cut, "not an .npz file"), (tmp_path / "none.npz", "cannot read"),
                          (tmp_path / "lies.npz", "ends before its numbers do")):  # fmt: skip
        with pytest.raises(ConvertError, match=message), Trials(dense(), ["w"], path) as trials:
            trials.divergence({})


SCRIPTS: dict[str, tuple[str, str]] = {
    "raises": ("def f(outputs, labels):\n    raise KeyError('lost')", "failed: KeyError: 'lost'"),
    "gives text": ("def f(outputs, labels):\n    return 'good'", "failed: ValueError"),
    "gives NaN": ("def f(outputs, labels):\n    return float('nan')", "it gave nan"),
    "gives too many": ("def f(outputs, labels):\n    return [1, 2]", r"it gave shape \(2,\)"),
    "has another function": ("def g(outputs, labels):\n    return 1", "has no attribute 'f'"),
    "is no function": ("f = 1", "f is no function"),
    "is no Python": ("def f(:", "SyntaxError"),
}


@pytest.mark.parametrize("kind", SCRIPTS)
def test_metrics_that_fail(kind: str, tmp_path: Path) -> None:
    script, message = SCRIPTS[kind]
    (tmp_path / "own.py").write_text(script)
    error = evaluated(tmp_path, None, f"{tmp_path}/own.py:f")["error"]
    assert re.search(message, error)
    assert "\n" not in error


def test_unknown_metrics_and_wrong_weights(tmp_path: Path) -> None:
    calib = few(tmp_path)
    with pytest.raises(ConvertError, match="unknown metric 'best': cosine, mse, top1, or path"):
        Trials(dense(), ["w"], calib, metric="best")
    with pytest.raises(ConvertError, match="batch and the number of samples"):
        Trials(dense(), ["w"], calib, batch=0)
    with pytest.raises(ConvertError, match="not an ONNX model"):
        Trials(b"\x08\x07nonsense", ["w"], calib)
    with Trials(dense(), ["w"], calib) as trials:
        for array in (normal(4, 5), np.zeros((4, 6))):
            with pytest.raises(ConvertError, match=r"weight 'w' is float32 \(4, 6\), not"):
                trials.divergence({"w": array})
        with pytest.raises(ConvertError, match="'v' is none of the weights"):
            trials.divergence({"v": normal(4, 6)})
        with pytest.raises(ConvertError, match="'v' is none of the weights"):
            trials.gram("v")
        assert trials.divergence({}).samples == 5  # an error ends nothing


def test_a_weight_whose_numbers_cannot_be_read(tmp_path: Path) -> None:
    proto = onnx.load_from_string(dense(columns=600))
    proto.graph.initializer[0].segment.begin = 0
    with pytest.raises(ConvertError, match="the numbers of weight 'w' cannot be read"):
        Trials(proto.SerializeToString(), ["w"], few(tmp_path))


def test_a_fixed_batch_of_which_there_is_none(tmp_path: Path) -> None:
    with (
        Trials(dense(batch=8), ["w"], few(tmp_path)) as trials,
        pytest.raises(ConvertError, match="fewer samples than the model takes at once"),
    ):
        trials.divergence({})


def test_onnx_is_not_changed_by_trials(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(dense())
    before = sorted(tmp_path.iterdir()), path.read_bytes()
    with Trials(path, ["w"], None) as trials:
        trials.divergence({"w": np.zeros((4, 6), np.float32)})
    assert (sorted(tmp_path.iterdir()), path.read_bytes()) == before


def run_by_run() -> bytes:
    """A model whose inputs count different things first, and samples nowhere."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"], "mm"),
        helper.make_node("ReduceSum", ["h"], ["s"], "sum", keepdims=0),
        helper.make_node("Mul", ["m", "s"], ["y"], "mul"),
    ]
    ends = [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, s)
            for n, s in (("x", [5, 3, 4]), ("h", [2, 3, 4]))]  # fmt: skip
    weight = numpy_helper.from_array(normal(4, 6, seed=1), "w")
    out = [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [5, 3, 6])]
    graph = helper.make_graph(nodes, "g", ends, out, [weight])
    opsets = [helper.make_opsetid("", 17)]
    return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString())


def test_a_sample_can_be_all_that_a_run_takes(tmp_path: Path) -> None:
    x, h = normal(7, 5, 3, 4, seed=2), normal(7, 2, 3, 4, seed=3)
    calib = saved(tmp_path / "c.npz", x=x, h=h)
    weight = normal(4, 6, seed=1)
    with Trials(run_by_run(), ["w"], calib) as trials:
        assert (trials.samples, trials.synthetic) == (7, False)
        found, gram = trials.divergence({"w": weight * 2}), trials.gram("w")
        assert trials.evaluate({"w": -weight}).changed == 7
    assert (found.samples, found.changed) == (7, 0)
    assert found.noise == pytest.approx(1.0, rel=1e-5)
    assert gram is not None
    np.testing.assert_allclose(gram.means[0], x.reshape(-1, 4).mean(axis=0), atol=2e-3)


def test_seeded_runs_where_no_axis_counts_samples(tmp_path: Path) -> None:
    with Trials(run_by_run(), ["w"], None) as trials:
        assert (trials.samples, trials.synthetic) == (64, True)
        assert trials.divergence({"w": np.zeros((4, 6), np.float32)}).noise == pytest.approx(1.0)


def test_runs_that_do_not_fit_or_hold_no_numbers(tmp_path: Path) -> None:
    x, h = normal(7, 5, 3, 4), normal(6, 2, 3, 4)
    with pytest.raises(ConvertError, match="different numbers of samples: 'x' 7, 'h' 6"):
        Trials(run_by_run(), ["w"], saved(tmp_path / "c.npz", x=x, h=h))
    h = normal(7, 2, 3, 4)
    h[4, 1, 2, 3] = np.nan
    with (
        Trials(run_by_run(), ["w"], saved(tmp_path / "d.npz", x=x, h=h)) as trials,
        pytest.raises(ConvertError, match="'h' holds NaN or infinity in sample 4"),
    ):
        trials.divergence({"w": normal(4, 6)})
    with pytest.raises(ConvertError, match=r"'x' has shape \(7, 4, 3, 4\)"):
        Trials(run_by_run(), ["w"], saved(tmp_path / "e.npz", x=x[:, :4], h=normal(7, 2, 3, 4)))
