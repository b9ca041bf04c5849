"""Ctrl-C ends a command at once, wherever it is, and leaves nothing behind.

How soon is not judged: a command that goes on to its end, or hangs, fails its test.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from dcformat import files
from dcformat.tools import _interrupt

pytest_plugins = ["command_fixtures"]
pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")

# Runs a command in which one function says that it begins. Then it does its work, or it takes a
# minute: in Python, which notices a signal, or in one call into C, which does not.
CODE = """
import hashlib, importlib, os, signal, sys, time
place, how, command, *arguments = sys.argv[1:]
module, name = place.rsplit(".", 1)
module = importlib.import_module(module)
work = getattr(module, name)
def late(*given, **more):
    os.write(1, b"here\\n")  # print would mix what two threads write
    if how == "python":
        time.sleep(60)
    if how == "c":
        hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)
    return work(*given, **more)
setattr(module, name, late)
sys.argv = [command, *arguments]
importlib.import_module("dcformat.tools." + command).main()
"""

#: Where the stages of a conversion begin, and options with which it comes there.
STAGES = {
    "reading": ("dcformat.api.read", ["--preset", "int8"]),
    "clustering": ("dcformat.kernels.optimal_kmeans", ["--preset", "deep"]),
    "coding": ("dcformat.frames.compress", ["--preset", "lossless"]),
    "coding in a thread": ("dcformat.frames.compress", ["--preset", "lossless", "--jobs", "2"]),
    "writing": ("os.fsync", ["--preset", "int8"]),
}


def interrupted(
    folder: Path, place: str, how: str, *command: object, number: int = signal.SIGINT
) -> tuple[int, bytes]:
    """Run a command, send it a signal at `place`; return its exit code and its errors."""
    temporary = folder / "tmp"
    temporary.mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", CODE, place, how, *map(str, command)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(temporary)},
    ) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == b"here\n"
            child.send_signal(number)
            _, errors = child.communicate(timeout=50)
        finally:
            child.kill()
    assert list(temporary.iterdir()) == []
    temporary.rmdir()
    return child.returncode, errors


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize("how", ["python", "c"])
@pytest.mark.parametrize("stage", STAGES)
def test_dcconvert_ends_in_every_stage(net: Path, tmp_path: Path, stage: str, how: str) -> None:
    place, options = STAGES[stage]
    command = ["dcconvert", net, "-q", "--to", "dcf", "-o", f"{tmp_path}/new/", *options]
    code, errors = interrupted(tmp_path, place, how, *command)
    assert (code, errors) == (130, b"dcconvert: interrupted\n")
    assert names(tmp_path) == ["net.onnx"]


@pytest.mark.parametrize("how", ["python", "c"])
@pytest.mark.parametrize("place", ["decode.decode_numbers", "verify_source.check_outputs"])
def test_dcverify_ends_in_every_stage(
    run: Any, net: Path, tmp_path: Path, place: str, how: str
) -> None:
    out = tmp_path / "x.dcf"
    run("dcconvert", net, "-o", out)
    command = ["dcverify", out, "-q", "--against", net, "--run"]
    code, errors = interrupted(tmp_path, f"dcformat.{place}", how, *command)
    assert (code, errors) == (130, b"dcverify: interrupted\n")
    assert names(tmp_path) == ["net.onnx", "x.dcf"]


@pytest.mark.parametrize("how", ["python", "c"])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_other_endings_clean_up_without_a_word(
    net: Path, tmp_path: Path, number: int, code: int, how: str
) -> None:
    out = tmp_path / "x.dcf"
    out.write_bytes(b"old")
    command = ["dcconvert", net, "-q", "-o", out]
    assert interrupted(tmp_path, "os.fsync", how, *command, number=number) == (code, b"")
    assert names(tmp_path) == ["net.onnx", "x.dcf"]
    assert out.read_bytes() == b"old"


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of one tensor of 4 MiB: zstd takes seconds for it."""
    weights = np.random.default_rng(5).standard_normal((1024, 1024)).astype(np.float32)
    node = helper.make_node("Gemm", ["x", "w"], ["y"], "fc")
    given, made = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 1024]) for name in "xy"
    )
    constants = [numpy_helper.from_array(weights, "w")]
    graph = helper.make_graph([node], "net", [given], [made], constants)
    path = tmp_path_factory.mktemp("large") / "large.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    return path


@pytest.mark.parametrize("stage", ["clustering", "coding", "coding in a thread"])
def test_the_stages_themselves_let_go_of_the_interpreter(
    large: Path, tmp_path: Path, stage: str
) -> None:
    """The frame or the clustering that was begun is not waited for."""
    place, options = STAGES[stage]
    command = ["dcconvert", large, "-q", "-o", tmp_path / "x.dcf", *options]
    code, errors = interrupted(tmp_path, place, "real", *command)
    assert (code, errors) == (130, b"dcconvert: interrupted\n")
    assert names(tmp_path) == []


def test_what_was_begun_is_undone_once_and_newest_first() -> None:
    order: list[int] = []
    with files.undone(lambda: order.append(1)), files.undone(lambda: order.append(2)):
        files.undo_all()
        assert order == [2, 1]
    files.undo_all()
    assert order == [2, 1, 2, 1]


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    """As nohup asks for it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with _interrupt.ending_signals("dcconvert"):
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_handlers_and_threads_are_gone_after_the_block() -> None:
    numbers, threads = (signal.SIGINT, signal.SIGTERM), set(threading.enumerate())
    before = [signal.getsignal(number) for number in numbers]
    with _interrupt.ending_signals("dcconvert"):
        (watcher,) = set(threading.enumerate()) - threads
    watcher.join(timeout=60)
    assert not watcher.is_alive()
    assert [signal.getsignal(number) for number in numbers] == before
