"""The same model and settings give the same bytes, wherever and however dcformat runs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# Prints one digest a preset and target; the arguments are the model and the number of jobs.
CODE = """
import hashlib, sys
import dcformat
model = dcformat.read(sys.argv[1])
for preset in ("lossless", "int8", "deep"):
    coded = dcformat.compress(model, preset)
    for target in ("mcu", "host"):
        dcformat.save(coded, "out.dcf", target=target, jobs=int(sys.argv[2]))
        with open("out.dcf", "rb") as file:
            print(preset, target, hashlib.sha256(file.read()).hexdigest())
"""


def digests(
    model: Path, folder: Path, *, python: str = sys.executable, jobs: int = 1, **changed: str
) -> list[str]:
    """Return the digests that a fresh interpreter computes in `folder`, environment changed."""
    environment = os.environ | {"PYTHONHASHSEED": "0"} | changed
    done = subprocess.run(
        [python, "-c", CODE, str(model), str(jobs)],
        cwd=folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.fixture(scope="module")
def expected(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    found = digests(digits / "digits.onnx", tmp_path_factory.mktemp("plain"))
    assert len(set(found)) == 6
    return found


@pytest.mark.parametrize("seed", ["1", "random"])
def test_the_hash_seed_changes_nothing(
    seed: str, digits: Path, tmp_path: Path, expected: list[str]
) -> None:
    assert digests(digits / "digits.onnx", tmp_path, PYTHONHASHSEED=seed) == expected


def test_two_jobs_write_what_one_writes(digits: Path, tmp_path: Path, expected: list[str]) -> None:
    assert digests(digits / "digits.onnx", tmp_path, jobs=2) == expected


@pytest.mark.parametrize("locale", ["C", "de_DE.UTF-8", "tr_TR.UTF-8"])
def test_locale_and_time_zone_change_nothing(
    locale: str, digits: Path, tmp_path: Path, expected: list[str]
) -> None:
    there = {"LC_ALL": locale, "LANG": locale, "TZ": "Pacific/Kiritimati", "PYTHONUTF8": "0"}
    assert digests(digits / "digits.onnx", tmp_path, **there) == expected


def test_folder_and_name_of_the_source_change_nothing(
    digits: Path, tmp_path: Path, expected: list[str]
) -> None:
    folder = tmp_path / "ein anderer Ördner"
    folder.mkdir()
    shutil.copy(digits / "digits.onnx", folder / "other name.onnx")
    assert digests(Path("other name.onnx"), folder) == expected


@pytest.mark.parametrize("threads", ["1", "2", "3"])
def test_threads_of_the_linear_algebra_change_nothing(
    threads: str, digits: Path, tmp_path: Path, expected: list[str]
) -> None:
    limits = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), threads)
    assert digests(digits / "digits.onnx", tmp_path, **limits) == expected


def test_without_the_extension_the_bytes_are_the_same(
    digits: Path, tmp_path: Path, expected: list[str]
) -> None:
    hide = "import sys\nsys.modules['dcformat._core'] = None\n"
    (tmp_path / "sitecustomize.py").write_text(hide)
    assert digests(digits / "digits.onnx", tmp_path, PYTHONPATH=str(tmp_path)) == expected


@pytest.mark.slow
def test_other_pythons_write_the_same_bytes(
    digits: Path, tmp_path: Path, expected: list[str]
) -> None:
    others = [path for path in os.environ.get("DCFORMAT_PYTHONS", "").split(os.pathsep) if path]
    if not others:
        pytest.skip("DCFORMAT_PYTHONS names no interpreters that have dcformat installed")
    for python in others:
        assert digests(digits / "digits.onnx", tmp_path, python=python) == expected, python
