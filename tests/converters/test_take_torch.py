"""Live PyTorch modules: names and bits of parameters, graphs that answer the same, no traces."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from torch_nets import (
    NETS,
    Cnn,
    answers,
    check_answers,
    check_weights,
    net,
    nn,
    run_onnx,
    torch,
)

import dcformat
from dcformat.converters import torch_export
from dcformat.errors import ConvertError


@pytest.mark.parametrize("name", NETS)
def test_a_module_gives_its_parameters_and_its_answers(name: str, tmp_path: Path) -> None:
    module, inputs = net(name)
    model = dcformat.from_torch(module, inputs)
    check_weights(model, module)
    check_answers(model, module, inputs, tmp_path)


@pytest.mark.parametrize("name", NETS)
def test_weights_have_their_roles(name: str) -> None:
    module, inputs = net(name)
    model = dcformat.from_torch(module, inputs)
    matrices = [t.name for t in model.tensors if len(t.shape) > 1 and t.name != "pos"]
    assert matrices
    assert {model.uses[n].role for n in matrices} == {"weight"}
    assert {model.uses[n].out_axis for n in matrices} == {0}


def test_a_file_of_it_is_verified_against_the_graph(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    module, inputs = net("cnn")
    model = dcformat.from_torch(module, inputs)
    dcformat.write(model, tmp_path / "m.onnx")
    dcformat.save(dcformat.compress(model, "int8"), tmp_path / "m.dcf")
    assert dcformat.verify(tmp_path / "m.dcf", against=tmp_path / "m.onnx", run=True).ok


def test_the_module_stays_as_it_was(capfd: Any) -> None:
    module, inputs = net("cnn")
    module.train()
    module.c2.eval()
    before = {n: (t.clone(), t.data_ptr()) for n, t in module.state_dict().items()}
    random = torch.get_rng_state()
    dcformat.from_torch(module, inputs)
    assert [module.training, module.bn.training, module.c2.training] == [True, True, False]
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, before[name][0])
        assert tensor.data_ptr() == before[name][1]
    assert all(p.grad is None and p.requires_grad for p in module.parameters())
    assert torch.equal(torch.get_rng_state(), random)
    assert torch.is_grad_enabled()
    assert capfd.readouterr() == ("", "")


def test_an_lstm_still_runs_and_learns() -> None:
    """The exporter puts other tensors into its list of weights meanwhile."""
    module, inputs = net("lstm")
    before, flat = answers(module, inputs), [id(w) for w in module.rnn._flat_weights]
    dcformat.from_torch(module, inputs)
    assert [id(w) for w in module.rnn._flat_weights] == flat
    np.testing.assert_array_equal(answers(module, inputs), before)
    module(*inputs).sum().backward()
    assert all(p.grad is not None for p in module.parameters())


def test_dropout_and_norms_are_as_in_evaluation(tmp_path: Path) -> None:
    module, inputs = net("cnn")
    module.train()
    dcformat.write(dcformat.from_torch(module, inputs), tmp_path / "m.onnx")
    got = run_onnx(tmp_path / "m.onnx", inputs)
    np.testing.assert_allclose(got, answers(module.eval(), inputs), atol=1e-5)


def test_a_tied_weight_is_one_tensor() -> None:
    module, inputs = net("transformer")
    model = dcformat.from_torch(module, inputs)
    assert sum(t.shape == (50, 16) for t in model.tensors) == 1


def test_weights_that_happen_to_be_equal_keep_their_names() -> None:
    module = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    module[1].load_state_dict(module[0].state_dict())
    model = dcformat.from_torch(module, torch.zeros(1, 8))
    assert {t.name for t in model.tensors} == {"0.weight", "0.bias", "1.weight", "1.bias"}


def test_nothing_of_the_source_code_is_in_the_graph() -> None:
    module, inputs = net("transformer")
    graph = dcformat.from_torch(module, inputs).graph
    assert graph is not None
    for word in (b"torch_nets", b".py", b"stack_trace", b"Transformer", b"metadata"):
        assert word not in graph.data


def test_the_same_module_gives_the_same_graph() -> None:
    graphs = [dcformat.from_torch(*net("lstm")).graph for _ in range(2)]
    assert graphs[0] == graphs[1]


def test_numbers_too_large_for_one_file_stand_beside_the_graph(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, inputs = net("cnn")
    plain = dcformat.from_torch(module, inputs)
    monkeypatch.setattr(torch_export, "_IN_ONE_FILE", 0)
    model = dcformat.from_torch(module, inputs)
    assert {t.name for t in plain.tensors} <= {t.name for t in model.tensors}
    check_weights(model, module)
    check_answers(model, module, inputs, tmp_path)


def test_a_dimension_may_be_dynamic(tmp_path: Path) -> None:
    module, inputs = net("cnn")
    batch = torch.export.Dim("batch")
    model = dcformat.from_torch(module, inputs, dynamic_shapes=({0: batch},))
    dcformat.write(model, tmp_path / "m.onnx")
    other = (torch.randn(5, 1, 14, 14),)
    got = run_onnx(tmp_path / "m.onnx", other)
    np.testing.assert_allclose(got, answers(module, other), atol=1e-5)


def test_keyword_arguments_and_the_version_of_onnx_are_passed_on(tmp_path: Path) -> None:
    class Scaled(Cnn):
        def forward(self, x: Any, *, scale: Any) -> Any:
            return super().forward(x) * scale

    module = Scaled().eval()
    inputs, scale = torch.randn(1, 1, 14, 14), torch.tensor(3.0)
    model = dcformat.from_torch(module, inputs, kwargs={"scale": scale}, opset=19)
    dcformat.write(model, tmp_path / "m.onnx")
    assert [i.name for i in onnx.load(tmp_path / "m.onnx").graph.input] == ["x", "scale"]
    assert onnx.load(tmp_path / "m.onnx").opset_import[0].version == 19


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_other_types_keep_their_bits(dtype: str) -> None:
    module = nn.Linear(16, 8).to(getattr(torch, dtype))
    model = dcformat.from_torch(module, torch.zeros(1, 16, dtype=getattr(torch, dtype)))
    raw = module.weight.detach().view(torch.uint8 if dtype == "float64" else torch.int16)
    assert model["weight"].data.tobytes() == raw.numpy().tobytes()


def test_a_module_that_cannot_be_exported_is_an_error_of_one_line() -> None:
    class Wayward(nn.Module):  # type: ignore[misc, name-defined]
        def forward(self, x: Any) -> Any:
            return x + len(set(x.flatten().tolist()))

    module = Wayward().train()
    with pytest.raises(ConvertError, match="PyTorch cannot make an ONNX graph of it: ") as error:
        dcformat.from_torch(module, torch.randn(2, 3))
    assert "\n" not in str(error.value)
    assert module.training


def test_wrong_inputs_are_an_error_that_says_so() -> None:
    with pytest.raises(ConvertError, match="PyTorch cannot make an ONNX graph of it: "):
        dcformat.from_torch(nn.Linear(4, 4), torch.zeros(2, 5))
    with pytest.raises(ConvertError, match=r"expected a torch\.nn\.Module, not dict"):
        dcformat.from_torch({}, torch.zeros(1))
