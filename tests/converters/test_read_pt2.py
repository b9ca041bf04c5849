"""Archives of torch.export with PyTorch: the graph answers the same, and is made safely."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pt2_files import edited
from torch_nets import NETS, answers, check_answers, check_weights, net, nn, run_onnx, torch

import dcformat
from dcformat.converters import pt2_graph, pt2_run
from dcformat.tools import dcconvert

pytestmark = pytest.mark.filterwarnings("ignore")  # what PyTorch's exporter warns of


def save(name: str, folder: Path, **options: Any) -> tuple[Path, Any, Any]:
    """Export a network; return the archive, the module and its inputs."""
    module, inputs = net(name)
    path = folder / f"{name}.pt2"
    torch.export.save(torch.export.export(module, inputs, **options), path)
    return path, module, inputs


def changed(path: Path, **edits: Callable[[Any], None] | bytes) -> Path:
    """Return a copy of an archive in which members, by the end of their name, are changed."""
    made = path.with_name("changed.pt2")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(made, "w") as new:
        for info in old.infolist():
            data = old.read(info)
            for end, edit in edits.items():
                if info.filename.endswith(end):
                    data = edit if isinstance(edit, bytes) else edited(data, edit)
            new.writestr(zipfile.ZipInfo(info.filename), data)
    return made


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process do what the child does, which need not import PyTorch again."""

    def convert(clean: Path, made: Path, weights: int) -> None:
        pt2_run.convert(clean, made)

    monkeypatch.setattr(pt2_graph, "_run", convert)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("name", NETS)
def test_an_archive_gives_its_parameters_and_its_answers(name: str, tmp_path: Path) -> None:
    path, module, inputs = save(name, tmp_path)
    model = dcformat.read(path)
    check_weights(model, module)
    check_answers(model, module, inputs, tmp_path)
    assert model.source.format == "pt2"
    assert model.source.file_bytes == path.stat().st_size


def test_the_commands_take_it(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    path, module, inputs = save("cnn", tmp_path)
    made, back = tmp_path / "m.dcf", tmp_path / "back.onnx"
    for command in ([path, "-o", made], [made, "-o", back]):
        with pytest.raises(SystemExit) as done:
            dcconvert.main([str(word) for word in command])
        assert done.value.code == 0
    near = np.abs(run_onnx(back, inputs) - answers(module, inputs)).max()
    assert 0 < near < 0.1
    assert dcformat.verify(made, against=path, run=True).ok


def test_it_runs_and_is_verified_without_loss(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    path, _, _ = save("mlp", tmp_path)
    dcformat.save(dcformat.read(path), tmp_path / "m.dcf")
    report = dcformat.verify(tmp_path / "m.dcf", against=path, run=True)
    assert report.ok
    assert {"same graph", "rebuilt", "outputs"} <= {c.name for c in report.checks}


@pytest.mark.usefixtures("here")
def test_a_dynamic_dimension_stays_dynamic(tmp_path: Path) -> None:
    batch = torch.export.Dim("batch", min=1, max=64)
    path, module, _ = save("cnn", tmp_path, dynamic_shapes=({0: batch},))
    dcformat.write(dcformat.read(path), tmp_path / "m.onnx")
    other = (torch.randn(5, 1, 14, 14),)
    got = run_onnx(tmp_path / "m.onnx", other)
    np.testing.assert_allclose(got, answers(module, other), atol=1e-5)


@pytest.mark.usefixtures("here")
def test_an_archive_that_was_made_on_another_device_is_read(tmp_path: Path) -> None:
    path, module, inputs = save("mlp", tmp_path)

    def on_gpu(found: Any) -> None:
        text = json.dumps(found).replace('"type": "cpu"', '"type": "cuda"')
        found.clear()
        found.update(json.loads(text))

    moved = changed(path, **{"model.json": on_gpu, "_config.json": on_gpu})
    check_answers(dcformat.read(moved), module, inputs, tmp_path)


@pytest.mark.usefixtures("here")
def test_the_layout_until_2_7_is_read(tmp_path: Path) -> None:
    """Whose state dict is a pickle in a file of its own."""
    from torch._export.serde.serialize import serialize  # noqa: PLC0415 - not for all versions

    module, inputs = net("cnn")
    parts = serialize(torch.export.export(module, inputs))
    path = tmp_path / "old.pt2"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("version", "8.8")
        archive.writestr("serialized_exported_program.json", parts.exported_program)
        archive.writestr("serialized_state_dict.pt", parts.state_dict)
        archive.writestr("serialized_constants.pt", parts.constants)
        archive.writestr("serialized_example_inputs.pt", parts.example_inputs)
    model = dcformat.read(path)
    check_weights(model, module)
    check_answers(model, module, inputs, tmp_path)


@pytest.mark.usefixtures("here")
def test_the_layout_of_2_8_is_read(tmp_path: Path) -> None:
    """Whose weights are one .pt file in the archive."""
    path, module, inputs = save("mlp", tmp_path)
    state, empty = io.BytesIO(), io.BytesIO()
    torch.save(dict(module.state_dict()), state)
    torch.save({}, empty)
    made = tmp_path / "old.pt2"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(made, "w") as new:
        for info in old.infolist():
            if "/data/weights/" not in info.filename and "/data/constants/" not in info.filename:
                new.writestr(zipfile.ZipInfo(info.filename), old.read(info))
        new.writestr("mlp/data/weights/model.pt", state.getvalue())
        new.writestr("mlp/data/constants/model.pt", empty.getvalue())
    model = dcformat.read(made)
    check_weights(model, module)
    check_answers(model, module, inputs, tmp_path)


def test_a_program_without_its_operator_gives_weights_and_says_so(tmp_path: Path) -> None:
    path, module, _ = save("mlp", tmp_path)

    def unknown(found: Any) -> None:
        for node in found["graph_module"]["graph"]["nodes"]:
            node["target"] = node["target"].replace("relu", "no_such_operator")

    model = dcformat.read(changed(path, **{"model.json": unknown}))
    assert model.graph is None
    assert model.notes[0].startswith("no graph: PyTorch cannot load it: ")
    check_weights(model, module)


def test_code_in_an_expression_is_not_run(tmp_path: Path) -> None:
    path, module, _ = save("mlp", tmp_path)
    mark = tmp_path / "mark"

    def hostile(found: Any) -> None:
        values = found["graph_module"]["graph"]["tensor_values"]["p_0_weight"]
        code = f"open({str(mark)!r}, 'w')"
        values["sizes"][0] = {"as_expr": {"expr_str": code, "hint": {"as_int": 64}}}

    model = dcformat.read(changed(path, **{"model.json": hostile}))
    assert not mark.exists()
    assert model.graph is None
    assert "is refused" in model.notes[0]
    check_weights(model, module)


def test_sample_inputs_are_not_unpickled(tmp_path: Path) -> None:
    path, module, inputs = save("mlp", tmp_path)
    mark = tmp_path / "mark"
    code = f"cbuiltins\nopen\n(S{str(mark)!r}\nS'w'\ntR.".encode()
    model = dcformat.read(changed(path, **{"sample_inputs/model.pt": code}))
    check_answers(model, module, inputs, tmp_path)
    assert not mark.exists()


@pytest.mark.usefixtures("here")
def test_constants_of_the_program_are_kept(tmp_path: Path) -> None:
    class Shifted(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(20, 30)
            self.register_buffer("scale", torch.rand(30), persistent=False)
            self.shift = torch.arange(30.0)

        def forward(self, x: Any) -> Any:
            return self.fc(x) * self.scale + self.shift

    module, inputs = Shifted().eval(), (torch.randn(2, 20),)
    path = tmp_path / "m.pt2"
    torch.export.save(torch.export.export(module, inputs), path)
    model = dcformat.read(path)
    assert model["scale"].data.tobytes() == module.scale.numpy().tobytes()
    assert any(t.data.tobytes() == module.shift.numpy().tobytes() for t in model.tensors)
    got = tmp_path / "m.onnx"
    dcformat.write(model, got)
    np.testing.assert_allclose(run_onnx(got, inputs), answers(module, inputs), atol=1e-5)


@pytest.mark.usefixtures("here")
def test_names_that_the_graph_has_not_are_told(tmp_path: Path) -> None:
    class Odd(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.emb = nn.Embedding(50, 16)
            self.head = nn.Linear(16, 50, bias=False)
            self.head.weight = self.emb.weight
            self.register_buffer("small", torch.ones(2))
            self.register_buffer("spare", torch.arange(30.0))

        def forward(self, tokens: Any) -> Any:
            return self.head(self.emb(tokens)) * self.small[0]

    module, inputs = Odd().eval(), (torch.zeros(1, 3, dtype=torch.int64),)
    path = tmp_path / "m.pt2"
    torch.export.save(torch.export.export(module, inputs), path)
    for model in (dcformat.read(path), dcformat.from_torch(module, inputs)):
        (weight,) = [t.name for t in model.tensors if t.size == 800]
        (other,) = {"emb.weight", "head.weight"} - {weight}
        assert model.notes[-2:] == (
            "left out: spare: the graph does not use them",
            f"left out: {other} (as {weight}): tied, the graph has one name",
        )
        assert any(note.startswith("small: stays in the graph: ") for note in model.notes)
