"""Write picture.h and activations.json for the programs of this folder.

    python examples/firmware/prepare.py [NUMBER] [--picture-only]

picture.h is one of the 450 pictures of examples/digits/digits_test.npz, 0 unless a NUMBER is given.
activations.json says between which values the layers' outputs lie on the first 200 of them, as
scales of int8. Needs onnxruntime.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper

HERE = Path(__file__).resolve().parent
DIGITS = HERE.parent / "digits"
MEASURED = 200
#: layer -> the value that is its output, after ReLU where there is one
LAYERS = {"conv1": "a1", "conv2": "a2", "fc1": "a3", "fc2": "logits"}


def images() -> Any:
    with np.load(DIGITS / "digits_test.npz") as data:
        return data["images"]


def picture_header(number: int) -> str:
    """Return C for a picture: 8 rows of 8 pixels from 0 to 16."""
    pixels = np.rint(images()[number, 0] * 16).astype(int)
    rows = "\n".join(f"    {', '.join(f'{p:2}' for p in row)}," for row in pixels.tolist())
    return (
        f"/* Picture {number} of examples/digits/digits_test.npz. Made by prepare.py. */\n"
        f"#include <stdint.h>\n\nstatic const uint8_t picture[64] = {{\n{rows}\n}};\n"
    )


def outputs() -> dict[str, Any]:
    """Return what onnxruntime computes for the values of LAYERS."""
    import onnxruntime  # noqa: PLC0415 - not needed for a picture

    model = onnx.load(DIGITS / "digits.onnx")
    named = {output.name for output in model.graph.output}
    missing = [name for name in LAYERS.values() if name not in named]
    model.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in missing)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    values = list(LAYERS.values())
    found = session.run(values, {"image": images()[:MEASURED]})
    return dict(zip(values, found, strict=True))


def scale_of(values: Any) -> dict[str, Any]:
    """Return scale and zero point of int8 for these values; those of a ReLU use all 256 numbers."""
    if values.min() >= 0:
        return {"scale": float(np.float32(values.max() / 255)), "zero_point": -128}
    return {"scale": float(np.float32(np.abs(values).max() / 127)), "zero_point": 0}


def activations() -> dict[str, Any]:
    """Return the scales of every layer; the input's numbers are pixels of 0 to 16."""
    found = outputs()
    before: dict[str, Any] = {"scale": 1 / 16, "zero_point": 0}
    layers = []
    for layer, value in LAYERS.items():
        after = scale_of(found[value])
        names = {"weight": f"{layer}.weight", "bias": f"{layer}.bias"}
        layers.append({**names, "input": before, "output": after})
        before = after
    return {"version": 1, "layers": layers}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("number", nargs="?", type=int, default=0)
    parser.add_argument("--picture-only", action="store_true")
    options = parser.parse_args()
    (HERE / "picture.h").write_text(picture_header(options.number))
    if not options.picture_only:
        (HERE / "activations.json").write_text(json.dumps(activations(), indent=1) + "\n")


if __name__ == "__main__":
    main()
