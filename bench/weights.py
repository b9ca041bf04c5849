"""The weights of the five networks whose sizes are compared.

Counted are the weights of convolutions, dense and recurrent layers with more than 100 elements:
no biases, no norms, and of silero the branch for 16 kHz without the fixed basis of its Fourier
transform.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from foreign import read_checkpoint, read_tflite

import dcformat
from dcformat.ids import DType

F32 = npt.NDArray[np.float32]
ROOT = Path(__file__).resolve().parents[1]
LEAST_ELEMENTS = 101
OHWI, OWI = (0, 2, 3, 1), (0, 2, 1)  #: kernel order of convolutions stored output, input, kernel


@dataclass(frozen=True, eq=False)
class Layer:
    """One layer's weights and the axis order in which a kernel walks them."""

    name: str
    weights: F32
    order: tuple[int, ...] | None


def data_folder() -> Path | None:
    """Return the folder of real models: DCFORMAT_DATA, else ../shared/data if it is there."""
    given = os.environ.get("DCFORMAT_DATA")
    folder = Path(given) if given else ROOT.parent / "shared" / "data"
    return folder if folder.is_dir() else None


def _checkpoint(path: Path) -> list[Layer]:
    tensors = read_checkpoint(path)
    return [
        Layer(name, weights, OHWI if weights.ndim == 4 else None)
        for name, weights in tensors.items()
        if weights.ndim in (2, 4)
    ]


def _tflite(path: Path) -> list[Layer]:
    return [Layer(name, weights, None) for name, weights in read_tflite(path)]


def _int8(path: Path) -> list[Layer]:
    """Return the integers of an int8 network as its weights."""
    model = dcformat.read(path)
    found = []
    for tensor in model.tensors:
        use = model.uses.get(tensor.name)
        if tensor.dtype is DType.INT8 and use is not None and use.role == "weight":
            found.append(Layer(tensor.name, tensor.data.astype(np.float32), use.order))
    return found


def _silero(path: Path) -> list[Layer]:
    model = dcformat.read(path)
    found = []
    for tensor in model.tensors:
        use = model.uses.get(tensor.name)
        counted = tensor.name.startswith("If_0_then_branch") and "stft" not in tensor.name
        if counted and use is not None and use.role == "weight":
            found.append(Layer(tensor.name, tensor.data.astype(np.float32), use.order))
    return found


@dataclass(frozen=True)
class Source:
    """One network: its file in the data folder, and how its layers are read."""

    name: str
    path: str
    read: Callable[[Path], list[Layer]]

    def layers(self, folder: Path) -> list[Layer]:
        """Return the layers that count."""
        layers = self.read(folder / self.path)
        return [layer for layer in layers if layer.weights.size >= LEAST_ELEMENTS]


NETWORKS = (
    Source("resnet20", "pytorch/resnet20-12fca82f.th", _checkpoint),
    Source("resnet32", "pytorch/resnet32-d509ac18.th", _checkpoint),
    Source("silero", "onnx/silero_vad_v6.onnx", _silero),
    Source("ad01", "tflite/ad01_fp32.tflite", _tflite),
    Source("resnet8", "tflite/pretrainedResnet.tflite", _tflite),
)
#: Networks of which only the comparison with the coders of others tells.
MORE = (
    Source("kws", "tflite/kws_ref_model.tflite", _int8),
    Source("vww", "tflite/vww_96_int8.tflite", _int8),
)
