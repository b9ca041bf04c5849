"""The child of trials ends: by itself, with its parent, and leaves nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from trial_models import dense, few

from dcformat.errors import ConvertError
from dcformat.tools._trials import Trials

pytest.importorskip("onnxruntime")


@pytest.mark.parametrize(
    ("line", "message"),
    [("os._exit(3)", "cannot go on: exit code 3"), ("os.kill(os.getpid(), 9)", "SIGKILL")],
)
def test_metrics_that_end_the_child(line: str, message: str, tmp_path: Path) -> None:
    own = tmp_path / "own.py"
    own.write_text(f"import os\ndef f(outputs, labels):\n    {line}")
    with Trials(dense(), ["w"], few(tmp_path), metric=f"{own}:f") as trials:
        for _ in range(2):
            with pytest.raises(ConvertError, match=message):
                trials.evaluate({})


ASK_FOREVER = """
import sys, time
from pathlib import Path
from dcformat.tools._interrupt import ending_signals
from dcformat.tools._trials import Trials
from dcformat.tools._trials_run import Bench, answer
with ending_signals("trials"):
    with Trials(Path(sys.argv[1]), ["w"], Path(sys.argv[2]), metric=sys.argv[3]) as trials:
        print(trials._child._process.pid, flush=True)
        trials.evaluate({})
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_child_goes_when_its_parent_goes(number: int, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(dense())
    (tmp_path / "own.py").write_text("import time\ndef f(outputs, labels):\n    time.sleep(600)")
    (tmp_path / "temporary").mkdir()
    arguments = [tmp_path / "m.onnx", few(tmp_path), f"{tmp_path}/own.py:f"]
    with subprocess.Popen(
        [sys.executable, "-c", ASK_FOREVER, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(tmp_path / "temporary")},
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.send_signal(number)
        assert parent.wait(timeout=60) in (1, 130, 143, -number)
    assert is_gone(child)
    if number != signal.SIGKILL:
        assert list((tmp_path / "temporary").iterdir()) == []


def is_gone(process: int) -> bool:
    """Tell whether a process ends within a minute."""
    for _ in range(600):
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False
