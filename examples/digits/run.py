"""Compress the digits network, verify the file, and count right answers before and after.

Runs the commands that it prints, from the project's root; what they write stays in build/digits/.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime

ROOT = Path(__file__).resolve().parents[2]
SOURCE = "examples/digits/digits.onnx"
FILE = "build/digits/digits.dcf"
BACK = "build/digits/digits.onnx"


def run(command: str, *arguments: str) -> None:
    """Print and run one of the installed commands; stop here if it fails."""
    print("$", command, *arguments, flush=True)
    script = Path(sys.executable).with_name(command)
    subprocess.run([script, *arguments], cwd=ROOT, check=True)
    print(flush=True)


def right_answers(model: Path, images: np.ndarray, labels: np.ndarray) -> int:
    """Return how many pictures (n, 1, 8, 8) onnxruntime classifies as labelled."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"image": images})
    return int((logits.argmax(axis=1) == labels).sum())


def main() -> None:
    (ROOT / FILE).parent.mkdir(parents=True, exist_ok=True)
    run("dcconvert", SOURCE, "-o", FILE)
    run("dcverify", FILE, "--against", SOURCE, "--run")
    run("dcconvert", FILE, "-o", BACK, "--quiet")

    with np.load(ROOT / "examples/digits/digits_test.npz") as data:
        images, labels = data["images"], data["labels"]
    print(f"before and after, on {len(labels)} pictures that training never saw:")
    for stored, runnable in ((SOURCE, SOURCE), (FILE, BACK)):
        right = right_answers(ROOT / runnable, images, labels)
        size = (ROOT / stored).stat().st_size
        print(f"{stored:28} {size:7} bytes {right:4} right ({right / len(labels):.2%})")


if __name__ == "__main__":
    main()
