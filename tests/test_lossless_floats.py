"""Lossless float32 of real networks, against ZipNN and against zstd over shuffled bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zstandard

import dcformat
from dcformat.ids import DType, Section
from dcformat.model import Model

pytestmark = pytest.mark.realdata

#: Bytes that ZipNN 0.5.4 (float32, one thread) makes of all float32 numbers of a model together.
ZIPNN = {
    "onnx/cct2_32_opset20_untrained.onnx": 725_474,
    "onnx/fastestdet.onnx": 814_114,
    "onnx/lstm_1layer.onnx": 16_786,
    "onnx/micro_kws_m_fp32.onnx": 90_567,
    "onnx/mnist_cntk.onnx": 20_062,
    "onnx/super_resolution.onnx": 203_474,
    "onnx/yunet_n_320.onnx": 250_400,
    "pytorch/resnet20-12fca82f.th": 912_515,
    "pytorch/silero_vad_16k.safetensors": 1_046_018,
    "tflite/ad01_fp32.tflite": 896_843,
}


@pytest.mark.parametrize("name", ZIPNN)
def test_numbers_take_less_than_elsewhere(data_dir: Path, tmp_path: Path, name: str) -> None:
    source = dcformat.read(data_dir / name)
    tensors = tuple(
        t for t in source.tensors if t.dtype is DType.FLOAT and t.name not in source.ties
    )
    dcformat.save(Model(tensors), tmp_path / "x.dcf")
    file = dcformat.load(tmp_path / "x.dcf")
    raw = b"".join(tensor.data.tobytes() for tensor in tensors)
    assert b"".join(file[tensor.name].tobytes() for tensor in tensors) == raw
    shuffled = np.frombuffer(raw, np.uint8).reshape(-1, 4).T.tobytes()
    others = min(ZIPNN[name], len(zstandard.ZstdCompressor(19).compress(shuffled)))
    entries = file.opened.container.entries
    used = sum(entries[s].stored_size for s in (Section.TABLES, Section.PAYLOAD) if s in entries)
    assert used <= others
