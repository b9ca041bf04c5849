"""Without PyTorch everything works but writing .pt, which says what to install."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from safetensors_files import file_of, sharded

CODE = """
import sys
sys.modules["torch"] = None
import dcformat
from dcformat.tools.dcconvert import main
folder = sys.argv[1]
def run(source, target):
    try:
        main([f"{folder}/{source}", "-o", f"{folder}/{target}", "-q"])
    except SystemExit as end:
        return end.code
assert run("model.safetensors.index.json", "m.dcf") == 0
for suffix in ("safetensors", "npz"):
    assert run("m.dcf", f"m.{suffix}") == 0
assert run("m.safetensors", "again.dcf") == 0
assert run("m.dcf", "m.pt") == 1
assert not any(name.split(".")[0] == "torch" for name in sys.modules if sys.modules[name])
"""


def test_everything_but_pt_works_without_torch(tmp_path: Path) -> None:
    shard = file_of({"a": ("F32", [2], bytes(8))})
    sharded(tmp_path, {"m1.safetensors": shard}, {"a": "m1.safetensors"})
    command = [sys.executable, "-c", CODE, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    place = f"dcconvert: {tmp_path}/m.dcf: {tmp_path}/m.pt: "
    reason = "writing .pt needs PyTorch: pip install 'dcformat[torch]'\n"
    assert done.stderr == place + reason
    assert not (tmp_path / "m.pt").exists()
