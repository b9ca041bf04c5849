"""What disks and folders do to a command: full, read-only, killed half way, odd names.

Whatever it is, it is one line with file and reason, and the old file stays as it was.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dcformat import formats
from dcformat.tools import _chosen

pytest_plugins = ["command_fixtures"]
pytestmark = pytest.mark.skipif(os.name != "posix", reason="files as POSIX has them")

needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="needs pip install 'dcformat[torch]'"
)
PT = pytest.param("pt", marks=needs_torch)
ROOT_USER = hasattr(os, "getuid") and os.getuid() == 0
NOBODY = 65534


def check_one_line(result: Any, *words: str) -> None:
    lines = result.stderr.splitlines()
    assert (result.exit_code, len(lines)) == (1, 1), result.stderr
    assert lines[0].startswith("dcconvert: ")
    assert [word for word in words if word not in lines[0]] == []


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "dcformat-test", str(folder)]
    if not ROOT_USER or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("may not mount a small disk here")
    try:
        yield folder
    finally:
        subprocess.run([shutil.which("umount") or "umount", str(folder)], check=True)


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Drop root's rights for a while: root may write anywhere."""
    if not ROOT_USER:
        yield
        return
    os.setresuid(NOBODY, NOBODY, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


@pytest.fixture
def open_folder(net: Path, run: Any) -> Iterator[Path]:
    """A folder that nobody may enter, with net.onnx; pytest's own are closed to others."""
    for kind in (".dcf", ".npz", ".safetensors"):  # loads what nobody may not read
        run("dcconvert", net, "-o", net.with_suffix(kind))
    folder = Path(tempfile.mkdtemp(prefix="dcformat-test-"))
    shutil.copy(net, folder)
    for path in (folder, folder / "net.onnx"):
        os.chown(path, NOBODY if ROOT_USER else -1, -1)
    with as_nobody():
        if not formats.known("write"):
            pytest.skip("nobody may not read this Python's packages")
    try:
        yield folder
    finally:
        folder.chmod(0o700)
        shutil.rmtree(folder)


@pytest.mark.parametrize("kind", ["dcf", "onnx", "npz", "safetensors", PT])
def test_a_full_disk_leaves_the_old_file(
    run: Any, digits: Path, small_disk: Path, tmp_path: Path, kind: str
) -> None:
    source, out = tmp_path / "in.dcf", small_disk / f"x.{kind}"
    run("dcconvert", digits / "digits.onnx", "-o", source, "--preset", "lossless")
    out.write_bytes(b"old")
    check_one_line(
        run("dcconvert", source, "-o", out), f"{out}: cannot write: No space left on device"
    )
    assert out.read_bytes() == b"old"
    assert names(small_disk) == [out.name]


def test_a_full_disk_takes_no_temporary_files(
    start: Any, digits: Path, small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = digits / "digits.onnx", tmp_path / "x.dcf"
    monkeypatch.setenv("TMPDIR", str(small_disk))
    done = start("dcconvert", "-", "--from", "onnx", "-o", out, "-q", input=source.read_bytes())
    reason = "cannot copy it to a temporary file: No space left on device"
    assert done.stderr.decode() == f"dcconvert: standard input: {reason}\n"
    done = start("dcconvert", source, "-o", "-", "-q", "--preset", "lossless")
    reason = "cannot write a temporary file: No space left on device"
    assert done.stderr.decode() == f"dcconvert: {source}: standard output: {reason}\n"
    assert done.stdout == b""
    assert names(small_disk) == []
    assert not out.exists()


def test_a_limit_on_file_sizes_is_told(run: Any, digits: Path, tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    out = tmp_path / "x.dcf"
    out.write_bytes(b"old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20000, before[1]))
    try:
        result = run("dcconvert", digits / "digits.onnx", "-o", out, "--preset", "lossless")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    check_one_line(result, f"{out}: cannot write: File too large")
    assert out.read_bytes() == b"old"
    assert names(tmp_path) == ["x.dcf"]


@pytest.mark.parametrize("kind", ["dcf", "npz", "safetensors"])
def test_a_read_only_folder_is_told(run: Any, open_folder: Path, kind: str) -> None:
    out = open_folder / f"x.{kind}"
    open_folder.chmod(0o555)
    with as_nobody():
        result = run("dcconvert", open_folder / "net.onnx", "-o", out)
        made = run("dcconvert", open_folder / "net.onnx", "-o", f"{open_folder}/new/")
    check_one_line(result, f"{out}: cannot write: Permission denied")
    check_one_line(made, f"{open_folder}/new: cannot make: Permission denied")
    assert names(open_folder) == ["net.onnx"]


@pytest.mark.parametrize("kind", ["dcf", "npz", "safetensors"])
def test_a_read_only_file_is_not_replaced(run: Any, open_folder: Path, kind: str) -> None:
    out = open_folder / f"x.{kind}"
    out.write_bytes(b"old")
    out.chmod(0o444)
    with as_nobody():
        result = run("dcconvert", open_folder / "net.onnx", "-o", out)
    check_one_line(result, f"{out}: cannot write: Permission denied")
    assert out.read_bytes() == b"old"
    assert names(open_folder) == ["net.onnx", out.name]


def test_without_a_temporary_folder_nothing_is_spooled(
    run: Any, net: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "no"))
    result = run("dcconvert", net, "-o", "-")
    assert result.exit_code == 1
    assert "standard output: cannot write a temporary file: No such file" in result.stderr
    result = run(
        "dcconvert", "-", "--from", "onnx", "-o", tmp_path / "x.dcf", stdin=net.read_bytes()
    )
    check_one_line(result, "standard input: cannot make a temporary folder: No such file")
    assert names(tmp_path) == ["net.onnx"]


# Writes x again and again, whole a's and whole b's in turn, in many small pieces.
WRITER = """
import sys
from dcformat.files import atomic_output
print("ready", flush=True)
while True:
    for letter in b"ab":
        with atomic_output(sys.argv[1]) as stream:
            for _ in range(50):
                stream.write(bytes([letter]) * 4096)
"""


def test_killed_at_any_moment_there_is_one_whole_file(run: Any, net: Path, tmp_path: Path) -> None:
    """SIGKILL, which nothing can undo: only the temporary file may be left, by its own name."""
    moments = random.Random(4)
    out = tmp_path / "x.dcf"
    whole = [bytes([letter]) * (50 * 4096) for letter in b"ab"]
    out.write_bytes(whole[0])
    for _ in range(15):
        command = [sys.executable, "-c", WRITER, str(out)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"ready\n"
            time.sleep(0.05 * moments.random())
            writer.send_signal(signal.SIGKILL)
        assert out.read_bytes() in whole
    left = set(names(tmp_path)) - {"net.onnx", "x.dcf"}
    assert all(name.startswith(".dcformat-") and name.endswith(".part") for name in left)
    assert run("dcconvert", net, "-o", f"{tmp_path}/").exit_code == 0
    assert set(names(tmp_path)) == left | {"net.dcf", "net.onnx", "x.dcf"}


def test_a_link_stays_and_what_it_names_is_written(run: Any, net: Path, tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "real.dcf").write_bytes(b"old")
    for name in ("real.dcf", "new.dcf"):  # the second link leads to no file yet
        link = tmp_path / f"to_{name}"
        link.symlink_to(folder / name)
        assert run("dcconvert", net, "-o", link).exit_code == 0
        assert link.is_symlink()
        assert (folder / name).read_bytes().startswith(b"\x89DCF")
    assert names(folder) == ["new.dcf", "real.dcf"]


def test_a_link_to_itself_is_told(run: Any, net: Path, tmp_path: Path) -> None:
    link = tmp_path / "x.dcf"
    link.symlink_to(link)
    result = run("dcconvert", net, "-o", link)
    check_one_line(result, str(link))
    assert names(tmp_path) == ["net.onnx", "x.dcf"]


def test_another_name_of_the_input_is_written_without_the_input(
    run: Any, net: Path, tmp_path: Path
) -> None:
    before = net.read_bytes()
    other = tmp_path / "other.dcf"
    other.hardlink_to(net)
    assert run("dcconvert", net, "-o", other).exit_code == 0
    assert net.read_bytes() == before
    assert other.read_bytes().startswith(b"\x89DCF")


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize("what", ["removed", "cut", "longer", "replaced"])
def test_an_input_that_changes_while_it_is_read_is_told(
    run: Any, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, jobs: int
) -> None:
    source, out = tmp_path / "in.onnx", tmp_path / "x.dcf"
    shutil.copy(digits / "digits.onnx", source)
    out.write_bytes(b"old")
    compress = _chosen.compress

    def late(*given: Any, **more: Any) -> Any:
        change(source, what)
        return compress(*given, **more)

    monkeypatch.setattr(_chosen, "compress", late)
    result = run("dcconvert", source, "-o", out, "--jobs", jobs)
    words = "No such file" if what == "removed" else "has changed since it was first read"
    check_one_line(result, str(source), words)
    assert out.read_bytes() == b"old"
    assert set(names(tmp_path)) <= {"in.onnx", "x.dcf"}


def change(path: Path, what: str) -> None:
    data = path.read_bytes()
    if what in ("removed", "replaced"):
        path.unlink()
    if what != "removed":
        path.write_bytes({"cut": data[:-1], "longer": data + b"x", "replaced": data}[what])


@pytest.mark.parametrize(
    "name",
    [b"a b", b"a\nb", b"\xff\xfe", b"-", "\u202eü".encode(), b"a" * 251],
    ids=["space", "newline", "not UTF-8", "dash", "right to left", "255 bytes"],
)
def test_any_name_that_a_file_can_have_is_read_and_written(
    run: Any, net: Path, tmp_path: Path, name: bytes
) -> None:
    out = tmp_path / os.fsdecode(name + b".dcf")
    result = run("dcconvert", net, "-o", out)
    assert (result.exit_code, result.stderr) == (0, "")
    assert len(result.stdout.splitlines()) > 5
    assert run("dcconvert", out, "-o", tmp_path / "back.npz").exit_code == 0
    assert run("dcverify", out).exit_code == 0
    assert set(names(tmp_path)) == {"net.onnx", out.name, "back.npz"}


@pytest.mark.parametrize("name", ["a" * 252 + ".dcf", "a/" * 2100 + "x.dcf"])
def test_a_name_that_is_too_long_is_told(run: Any, net: Path, tmp_path: Path, name: str) -> None:
    check_one_line(run("dcconvert", net, "-o", tmp_path / name), "File name too long")
    check_one_line(run("dcconvert", tmp_path / name, "-o", tmp_path / "x.npz"), "name too long")
    assert names(tmp_path) == ["net.onnx"]
