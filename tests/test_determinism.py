"""The same model and settings give the same bytes, wherever and however dcformat runs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# Prints one digest a model, setting and target or C; arguments are the number of jobs and models.
CODE = """
import hashlib, sys
from pathlib import Path
import dcformat
jobs, *models = sys.argv[1:]
for number, path in enumerate(models):
    model = dcformat.read(path)
    for preset, more in (("lossless", {}), ("int8", {}), ("deep", {}), ("deep", {"prune": 0.5})):
        coded = dcformat.compress(model, preset, jobs=int(jobs), **more)
        for target in ("mcu", "host"):
            dcformat.save(coded, "out.dcf", target=target, jobs=int(jobs))
            digest = hashlib.sha256(Path("out.dcf").read_bytes()).hexdigest()
            print(number, preset, *more, target, digest)
        if not coded.tensors:
            continue
        dcformat.write(coded, "out.c", selftest=True, with_decoder=True)
        made = ("out.c", "out.h", "out_selftest.c", "dcf.h", "dcf.c")
        digest = hashlib.sha256(b"".join(Path(one).read_bytes() for one in made)).hexdigest()
        print(number, preset, *more, "C", digest)
"""
SETTINGS = 12
PRESETS = 4
#: Small models of differing types; without the extension they take seconds, not minutes.
REAL = (
    "all_dtypes", "lstm_1layer", "micro_kws_m_fp32", "mnist_int8_dynamic", "tiny_random_gpt2_fp16",
)  # fmt: skip


def digests(
    model: Path | list[Path],
    folder: Path,
    *,
    python: str = sys.executable,
    jobs: int = 1,
    **changed: str,
) -> list[str]:
    """Return the digests that a fresh interpreter computes in `folder`, environment changed."""
    environment = os.environ | {"PYTHONHASHSEED": "0"} | changed
    models = model if isinstance(model, list) else [model]
    done = subprocess.run(
        [python, "-c", CODE, str(jobs), *map(str, models)],
        cwd=folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def without_the_extension(folder: Path) -> dict[str, str]:
    """Return what hides the compiled core from a fresh interpreter."""
    hide = "import sys\nsys.modules['dcformat._core'] = None\n"
    (folder / "sitecustomize.py").write_text(hide)
    return {"PYTHONPATH": str(folder)}


def other_pythons() -> list[str]:
    """Return the interpreters that DCFORMAT_PYTHONS names; without any the test is skipped."""
    others = [path for path in os.environ.get("DCFORMAT_PYTHONS", "").split(os.pathsep) if path]
    if not others:
        pytest.skip("DCFORMAT_PYTHONS names no interpreters that have dcformat installed")
    return others


@pytest.fixture(scope="module")
def expected(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    found = digests(digits / "digits.onnx", tmp_path_factory.mktemp("plain"))
    assert len({line.split()[-1] for line in found}) == SETTINGS
    return found


@pytest.fixture(scope="module")
def real_models(data_dir: Path) -> list[Path]:
    return [data_dir / "onnx" / f"{name}.onnx" for name in REAL]


@pytest.fixture(scope="module")
def expected_of_real(
    real_models: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> list[str]:
    return digests(real_models, tmp_path_factory.mktemp("real"))


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
    hidden = without_the_extension(tmp_path)
    assert digests(digits / "digits.onnx", tmp_path, **hidden) == expected


@pytest.mark.slow
@pytest.mark.parametrize("extension", [True, False])
def test_other_pythons_write_the_same_bytes(
    digits: Path, tmp_path: Path, expected: list[str], extension: bool
) -> None:
    changed = {} if extension else without_the_extension(tmp_path)
    for python in other_pythons():
        found = digests(digits / "digits.onnx", tmp_path, python=python, jobs=2, **changed)
        assert found == expected, python


@pytest.mark.slow
@pytest.mark.realdata
def test_real_models_give_the_same_bytes_with_two_jobs_and_without_the_extension(
    real_models: list[Path], tmp_path: Path, expected_of_real: list[str]
) -> None:
    assert len(expected_of_real) == SETTINGS * len(REAL) - PRESETS  # one has no tensors: no C
    assert digests(real_models, tmp_path, jobs=2) == expected_of_real
    assert digests(real_models, tmp_path, **without_the_extension(tmp_path)) == expected_of_real


@pytest.mark.slow
@pytest.mark.realdata
def test_other_pythons_write_the_same_bytes_of_real_models(
    real_models: list[Path], tmp_path: Path, expected_of_real: list[str]
) -> None:
    for python in other_pythons():
        assert digests(real_models, tmp_path, python=python) == expected_of_real, python
