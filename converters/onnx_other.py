"""What a file is that was taken for ONNX and is not, told by its first bytes.

Sister file: read_onnx.py, whose errors say it.
"""

from __future__ import annotations

import re

#: First bytes of other files; what follows is what they are and what to do with them.
_OTHERS = (
    (
        rb".{4}ORTM",
        "onnxruntime's own format (.ort): convert the .onnx file that it was made from",
    ),
    (rb".{4}TFL3", "a TensorFlow Lite model (.tflite)"),
    (
        rb"PK\x03\x04",
        "a zip archive, as of PyTorch (.pt) or Keras (.keras): name PyTorch's .pt, or export ONNX",
    ),
    (
        rb"\x80[\x02-\x05]",
        "a pickle, as of PyTorch (.pt, .pth): name it so, or export with torch.onnx.export",
    ),
    (rb"\x89HDF\r\n", "an HDF5 file, as of Keras (.h5): export the model with tf2onnx"),
    (
        # field 1: schema version 1; field 2: a message that begins with its field 1
        rb"\x08\x01\x12[\x80-\xff]{0,4}[\x00-\x7f]\x0a",
        "a TensorFlow SavedModel (.pb): export it with tf2onnx",
    ),
    (
        # field 1: a node, which begins with its name
        rb"\x0a[\x80-\xff]{0,4}[\x00-\x7f]\x0a",
        "a TensorFlow graph (.pb): export it with tf2onnx",
    ),
    (rb"GGUF", "a GGUF file, which has weights but no graph"),
    (rb".{7}\x00\{", "a safetensors file: name it .safetensors"),
    (rb"\x89DCF\r\n", "a .dcf file"),
    (rb"version https://git-lfs", "a pointer of Git LFS: fetch the file itself (git lfs pull)"),
    (rb"<(!DOCTYPE|html|\?xml)", "a web page: fetch the file itself"),
)


def explain(head: bytes) -> str:
    """Say what a file that begins with `head` seems to be; empty where that is not known."""
    for pattern, words in _OTHERS:
        if re.match(pattern, head, re.DOTALL):
            return f"it seems to be {words}"
    return ""
