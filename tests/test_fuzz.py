"""What the fuzzers do, in short and always the same: the corpus, and mutants at every entry."""

from __future__ import annotations

import random
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from comparing import compare
from hypothesis import given, settings
from hypothesis import strategies as st

from dcformat import native
from dcformat.errors import Code

FUZZ = Path(__file__).parent / "fuzz"
sys.path.insert(0, str(FUZZ))

from drive import input_at_work  # noqa: E402
from properties import ENTRIES, Entry  # noqa: E402

EXAMPLES = 250


@cache
def seeds_of(entry: Entry) -> list[bytes]:
    return entry.seeds()


@pytest.mark.skipif(not native.AVAILABLE, reason="the C extension is not built")
def test_both_decoders_say_the_same_of_the_corpus() -> None:
    said = {path.name: compare(path.read_bytes()) for path in (FUZZ / "corpus").iterdir()}
    assert len(said) > 100
    for code in (Code.OK, Code.TRUNCATED, Code.STRUCTURE, Code.PADDING, Code.RANGE, Code.LIMIT):
        assert code in said.values()


@pytest.mark.parametrize("name", ENTRIES)
def test_seeds_keep_the_promise(name: str) -> None:
    for data in seeds_of(ENTRIES[name]):
        ENTRIES[name].check(data)


@pytest.mark.parametrize("name", ENTRIES)
@settings(max_examples=EXAMPLES)
@given(seed=st.integers(0, 1 << 32))
def test_mutants_keep_the_promise(name: str, seed: int) -> None:
    """Mutants of a seed, chosen by a number: what a fuzzer would try."""
    rng, entry = random.Random(seed), ENTRIES[name]
    entry.check(entry.change(rng.choice(seeds_of(entry)), rng))


@pytest.mark.parametrize("name", ENTRIES)
@settings(max_examples=EXAMPLES // 5)
@given(data=st.binary(max_size=300))
def test_any_bytes_keep_the_promise(name: str, data: bytes) -> None:
    ENTRIES[name].check(data)


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(FUZZ)!r})\n{code}"]
    return subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)


def test_the_same_seed_drives_the_same_inputs(tmp_path: Path) -> None:
    code = """
import hashlib, properties, drive
seen = hashlib.sha256()
entry = properties.ENTRIES["json"]
properties.ENTRIES["json"] = properties.replace(entry, check=seen.update)
drive.main("json", sys.argv[1], "0", "500", sys.argv[2])
print(seen.hexdigest())
"""
    one, two, three = (run(code, seed, str(tmp_path / "x")).stdout for seed in "112")
    assert one == two != three
    assert one.startswith("500\n")


@pytest.mark.parametrize("fault", ["1 / 0", "import os; os.abort()", "bytearray(1 << 40)"])
def test_an_input_that_breaks_a_promise_is_there_afterwards(tmp_path: Path, fault: str) -> None:
    code = f"""
import properties, drive
def check(data):
    if b"bits" in data and b"deep" in data:
        {fault}
properties.ENTRIES["json"] = properties.replace(properties.ENTRIES["json"], check=check)
drive.main("json", "1", "0", "100000", sys.argv[1])
"""
    done = run(code, str(tmp_path / "x"))
    assert done.returncode != 0
    assert b"bits" in input_at_work(tmp_path / "x")
