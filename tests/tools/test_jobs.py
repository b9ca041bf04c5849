"""--jobs 2 is --jobs 1, only sooner: the same bytes, the same progress, the same errors."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from dcformat import frames
from dcformat.compress import preset_recipe
from dcformat.errors import ConvertError
from dcformat.tools._convert import Wishes, convert
from dcformat.tools._plan import plan

pytest_plugins = ["command_fixtures"]


def ticks(source: Path, out: Path, preset: str, jobs: int) -> list[tuple[str, int, int]]:
    """Convert; return what the progress bar is told. It is told so by this thread alone."""
    told: list[tuple[str, int, int]] = []

    def tick(what: str, done: int, total: int) -> None:
        assert threading.current_thread() is threading.main_thread()
        told.append((what, done, total))

    (job,) = plan([str(source)], str(out), None, None)
    convert(job, Wishes(preset_recipe(preset), jobs=jobs), tick)
    return told


@pytest.mark.parametrize("preset", ["lossless", "int8", "deep"])
def test_bytes_and_progress_are_those_of_one_thread(
    digits: Path, tmp_path: Path, preset: str
) -> None:
    one, two = tmp_path / "1.dcf", tmp_path / "2.dcf"
    told = ticks(digits / "digits.onnx", one, preset, 1)
    assert ticks(digits / "digits.onnx", two, preset, 2) == told
    assert one.read_bytes() == two.read_bytes()
    assert told[-1][1] == told[-1][2] > 0


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ConvertError("no", place="w"), "w: no"),
        (MemoryError(), "out of memory"),
        (OSError(5, "Input/output error"), "Input/output error"),
    ],
)
def test_an_error_in_a_thread_is_one_line(
    run: Any,
    net: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    reason: str,
) -> None:
    def fail(*_: object) -> bytes:
        raise error

    monkeypatch.setattr(frames, "compress", fail)
    said = []
    for jobs in (1, 2):
        out = tmp_path / f"{jobs}.dcf"
        result = run("dcconvert", net, "-o", out, "--preset", "lossless", "-q", "--jobs", jobs)
        assert (result.exit_code, result.stdout) == (1, "")
        said.append(result.stderr.replace(str(out), "OUT"))
    assert said[0] == said[1]
    assert len(said[0].splitlines()) == 1
    assert reason in said[0]
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"]
