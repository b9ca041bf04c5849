"""Names, sizes and errors as the commands show them."""

from __future__ import annotations

import io
import json
import subprocess
import sys

import pytest

from dcformat.errors import ConvertError
from dcformat.tools import _terminal as terminal


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("conv1.weight", "conv1.weight"),
        ("größe/重み", "größe/重み"),
        ("a\nb", "a\\x0ab"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\x9bb", "a\\x9bb"),
        ("a\u202eb", "a\\u202eb"),
        ("a\u2028b", "a\\u2028b"),
        ("a\udc80", "a\\udc80"),
        ("\U000e0041", "\\U000e0041"),
    ],
)
def test_names_that_could_steer_a_terminal_are_escaped(name: str, shown: str) -> None:
    assert terminal.safe_name(name) == shown


def test_markup_and_emoji_codes_in_names_are_printed_as_they_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    name = "[bold red]x[/] :smile: [link=file:///etc]y"
    terminal.Talk("dcconvert").say(terminal.safe_name(name))
    assert capsys.readouterr().out == name + "\n"


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0 B"),
        (1023, "1,023 B"),
        (12345, "12,345 B (12.1 KiB)"),
        (5 << 20, "5,242,880 B (5.0 MiB)"),
        (3 << 40, "3,298,534,883,328 B (3,072.0 GiB)"),
    ],
)
def test_sizes_are_exact_to_the_byte(count: int, shown: str) -> None:
    assert terminal.human_size(count) == shown


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (ConvertError("cut off", place="x.onnx / conv1"), "x.onnx: conv1: cut off"),
        (ConvertError("cut off", place="x.onnx"), "x.onnx: cut off"),
        (ConvertError("cut off", place="conv1"), "x.onnx: conv1: cut off"),
        (ConvertError("cut\noff"), "x.onnx: cut\\x0aoff"),
        (PermissionError(13, "Permission denied", "x.onnx"), "x.onnx: Permission denied"),
        (OSError(28, "No space left on device"), "x.onnx: No space left on device"),
        (MemoryError(), "x.onnx: out of memory"),
        (KeyError("k"), "x.onnx: internal error: KeyError: 'k'; please report it"),
    ],
)
def test_an_error_is_one_line_with_file_place_and_reason(error: Exception, shown: str) -> None:
    assert terminal.describe(error, "x.onnx") == shown


def test_a_traceback_is_shown_only_when_asked_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    error = ConvertError("cut off")
    monkeypatch.delenv("DCFORMAT_TRACEBACK", raising=False)
    terminal.Talk("dcconvert", verbose=1).fault(error, "x")
    assert capsys.readouterr().err == "dcconvert: x: cut off\n"
    monkeypatch.setenv("DCFORMAT_TRACEBACK", "1")
    terminal.Talk("dcconvert").fault(error, "x")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "dcformat.errors.ConvertError: cut off"
    assert lines[-1] == "dcconvert: x: cut off"


def test_json_is_one_object_and_silences_the_lines(capsys: pytest.CaptureFixture[str]) -> None:
    talk = terminal.Talk("dcconvert", json=True)
    talk.say("a line")
    talk.answer({"status": "ok"})
    assert json.loads(capsys.readouterr().out) == {"status": "ok"}


def test_progress_draws_nothing_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with terminal.progress(terminal.Talk("dcconvert")) as tick:
        tick("conv1", 1, 2)
    assert capsys.readouterr() == ("", "")


def test_progress_on_a_terminal_shows_names_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(screen, "isatty", lambda: True)
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setattr(terminal, "_PATIENCE", 0.0)
    monkeypatch.setenv("TERM", "xterm")
    with terminal.progress(terminal.Talk("dcconvert")) as tick:
        while "[b]x\\x07" not in screen.getvalue():
            tick("[b]x\x07", 1, 2)
    assert "\x07" not in screen.getvalue()


def test_nothing_is_searched_for_cycles_when_a_command_is_over() -> None:
    """It would take longer than converting a small model."""
    code = "import atexit, gc, sys; atexit.register(lambda: print(gc.get_freeze_count() > 10000))\n"
    code += "from dcformat.tools.dcconvert import main; main(['--version'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "True"
