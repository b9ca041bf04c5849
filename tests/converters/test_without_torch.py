"""What happens where PyTorch is not installed: the error says what to install."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import importlib.util, sys
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *a: None if name == "torch" else find(name, *a)
sys.modules["torch"] = None
import dcformat
try:
    dcformat.from_torch(object(), ())
except dcformat.ConvertError as error:
    print(error)
"""


def test_a_live_module_needs_torch() -> None:
    run = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert run.stdout == ("needs torch, which is not installed: pip install 'dcformat[torch]'\n")
