"""Small PyTorch networks for the tests of this folder, and how they are run and compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dcformat
from dcformat.ids import DType
from dcformat.model import Model

torch = pytest.importorskip("torch", reason="no PyTorch: pip install 'dcformat[torch]'")
pytest.importorskip("onnxscript", reason="no onnxscript: pip install 'dcformat[torch]'")
nn = torch.nn
torch.set_num_threads(1)

Inputs = tuple[Any, ...]


class Cnn(nn.Module):  # type: ignore[misc, name-defined]
    """Convolutions, one with a norm, and a dense layer."""

    def __init__(self) -> None:
        super().__init__()
        self.c1 = nn.Conv2d(1, 8, 3, padding=1)
        self.bn = nn.BatchNorm2d(8)
        self.c2 = nn.Conv2d(8, 16, 3, bias=False)
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(256, 10)

    def forward(self, x: Any) -> Any:
        x = torch.relu(self.bn(self.c1(x)))
        x = nn.functional.max_pool2d(torch.relu(self.c2(x)), 3)
        return self.fc(self.drop(torch.flatten(x, 1)))


class Lstm(nn.Module):  # type: ignore[misc, name-defined]
    """Two layers in both directions."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(8, 16, 2, batch_first=True, bidirectional=True)
        self.fc = nn.Linear(32, 3)

    def forward(self, x: Any) -> Any:
        return self.fc(self.rnn(x)[0][:, -1])


class Transformer(nn.Module):  # type: ignore[misc, name-defined]
    """Two layers of attention; the table of embeddings is the last layer too."""

    def __init__(self) -> None:
        super().__init__()
        self.emb = nn.Embedding(50, 16)
        self.pos = nn.Parameter(torch.randn(1, 7, 16))
        layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
        self.enc = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(16, 50, bias=False)
        self.head.weight = self.emb.weight

    def forward(self, tokens: Any) -> Any:
        return self.head(self.enc(self.emb(tokens) + self.pos))


NETS = ("cnn", "mlp", "lstm", "transformer")


def net(name: str) -> tuple[Any, Inputs]:
    """Return a seeded network in evaluation, and inputs for it."""
    torch.manual_seed(3)
    made: dict[str, Any] = {
        "cnn": (Cnn, lambda: torch.randn(2, 1, 14, 14)),
        "mlp": (_mlp, lambda: torch.randn(3, 20)),
        "lstm": (Lstm, lambda: torch.randn(2, 5, 8)),
        "transformer": (Transformer, lambda: torch.randint(0, 50, (2, 7))),
    }
    make, example = made[name]
    module = make()
    for buffer in module.buffers():  # statistics as after training
        if buffer.dtype == torch.float32:
            buffer.copy_(torch.rand_like(buffer) + 0.5)
    return module.eval(), (example(),)


def _mlp() -> Any:
    return nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 5))


def answers(module: Any, inputs: Inputs) -> Any:
    with torch.no_grad():
        return module(*inputs).numpy()


def run_onnx(path: Path, inputs: Inputs) -> Any:
    """Return the first output of an ONNX file in onnxruntime."""
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    fed = {i.name: t.numpy() for i, t in zip(session.get_inputs(), inputs, strict=True)}
    return session.run(None, fed)[0]


def check_weights(model: Model, module: Any) -> None:
    """All float tensors with a name of the module's are its own, to the bit; none is missing."""
    state = module.state_dict()
    found = {t.name: t for t in model.tensors if t.name in state}
    for name, tensor in found.items():
        wanted = state[name].numpy()
        assert (tensor.shape, tensor.data.dtype) == (wanted.shape, wanted.dtype)
        assert tensor.data.tobytes() == wanted.tobytes()
    reals = {t.name for t in model.tensors if t.dtype is DType.FLOAT and t.size > 1}
    assert reals <= set(state)
    places = {state[name].data_ptr() for name in found}
    assert {
        n for n, t in state.items() if t.is_floating_point() and t.data_ptr() not in places
    } == set()


def check_answers(model: Model, module: Any, inputs: Inputs, folder: Path) -> None:
    """The graph answers as the module does; also after .dcf, byte for byte the same file."""
    direct, back = folder / "direct.onnx", folder / "back.onnx"
    dcformat.write(model, direct)
    np.testing.assert_allclose(run_onnx(direct, inputs), answers(module, inputs), atol=1e-5)
    dcformat.save(model, folder / "x.dcf")
    dcformat.write(dcformat.expand(dcformat.load(folder / "x.dcf").coded_model()), back)
    assert back.read_bytes() == direct.read_bytes()
