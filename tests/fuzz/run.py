"""Fuzz the C core and every Python entry.

    python tests/fuzz/run.py --minutes 60            every target its share of an hour, in turn
    python tests/fuzz/run.py --minutes 10 --target rows
    python tests/fuzz/run.py --differential 1000000  the two decoders on as many mutated vectors
    python tests/fuzz/run.py --replay FILE --target rows
    python tests/fuzz/run.py --merge                 put into corpus/ what was learned, minimised

Targets of the C core (libFuzzer with AddressSanitizer and UndefinedBehaviorSanitizer, `memory`
with MemorySanitizer) are built below build/fuzz and go on from what they have learned there;
without clang and its runtime they are skipped, which is said. Targets `py-…` are the checks of
properties.py. `--seed` chooses other inputs; the same seed gives the same Python inputs again.

Exit code 0: nothing found; 1: something was, saved below build/fuzz/findings, and the command
that replays it is printed; 2: wrong usage.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import libfuzzer
import seeds
from drive import input_at_work
from properties import ENTRIES

HERE = Path(__file__).resolve().parent
WORK = HERE.parents[1] / "build" / "fuzz"
FINDINGS = WORK / "findings"
PYTHON = tuple(f"py-{name}" for name in ENTRIES)
MERGED = ("decode", "firmware", "check", "open")  #: what these reach is kept in corpus/
NAMES = (*libfuzzer.TARGETS, *PYTHON)


def main() -> int:
    """Do what the command line says; return the exit code."""
    options = _options()
    FINDINGS.mkdir(parents=True, exist_ok=True)
    if options.replay:
        return _replay(options.replay, options.target[0])
    if options.merge:
        return _merge()
    found: list[Path] = []
    if options.differential:
        found += _differential(options.differential, options.seed)
    elif options.minutes:
        names = options.target or list(NAMES)
        seconds = max(1, int(60 * options.minutes / len(names)))
        for name in names:
            found += _fuzz(name, seconds, options.seed)
    return 1 if found else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, help="in all, shared evenly")
    parser.add_argument("--target", action="append", choices=NAMES, metavar="NAME")
    parser.add_argument("--differential", type=int, metavar="INPUTS")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--replay", type=Path, metavar="FILE")
    parser.add_argument("--merge", action="store_true")
    parser.add_argument("--list", action="store_true", help="print the names of the targets")
    options = parser.parse_args()
    if options.list:
        print("\n".join(NAMES))
    elif options.replay and len(options.target or ()) != 1:
        parser.error("--replay needs one --target")
    elif not (options.minutes or options.differential or options.replay or options.merge):
        parser.error("one of --minutes, --differential, --replay, --merge, --list")
    return options


def _fuzz(name: str, seconds: int, seed: int) -> Iterator[Path]:
    if name in PYTHON:
        yield from _drive([(name, seed, seconds, 0)])
        return
    program = _built(name)
    if program is None:
        return
    seeds.write_all(WORK / "seeds")
    run = libfuzzer.fuzz(program, seconds, [WORK / "seeds", *_corpus()], FINDINGS, seed)
    print(f"{name}: {run.executions} inputs, coverage {run.coverage}, corpus {run.corpus}")
    if run.finding is not None:
        print(run.output[-6000:])
        yield _tell(name, run.finding)


def _corpus() -> list[Path]:
    return [libfuzzer.CORPUS] if libfuzzer.CORPUS.is_dir() else []


def _built(name: str) -> Path | None:
    """Return the program of a C target, or None, saying why."""
    clang = libfuzzer.find_clang(libfuzzer.TARGETS[name].sanitizers)
    if clang is None:
        print(f"{name}: skipped, no clang with libFuzzer and sanitizers here")
        return None
    return libfuzzer.build(name, WORK, clang)


def _differential(count: int, seed: int) -> Iterator[Path]:
    """Two processes, with half of the inputs each."""
    yield from _drive([("py-decoders", 2 * seed + i, 0, (count + i) // 2) for i in (0, 1)])


def _drive(jobs: list[tuple[str, int, int, int]]) -> Iterator[Path]:
    """Run a process for each (target, seed, seconds, inputs); yield what they found."""
    begun, total = time.monotonic(), 0
    current = [WORK / f"current-{name}-{seed}" for name, seed, _, _ in jobs]
    children = [
        subprocess.Popen(
            [sys.executable, HERE / "drive.py", name.removeprefix("py-"), *map(str, rest), file],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for (name, *rest), file in zip(jobs, current, strict=True)
    ]  # fmt: skip
    for (name, *_), child, file in zip(jobs, children, current, strict=True):
        said, wrong = child.communicate()
        if child.returncode == 0:
            total += int(said)
            continue
        print(f"{wrong}\n{name}: ended with {child.returncode}")
        data = input_at_work(file)
        finding = FINDINGS / f"{name}-{hashlib.sha256(data).hexdigest()[:16]}"
        finding.write_bytes(data)
        yield _tell(name, finding)
    seconds = time.monotonic() - begun
    print(f"{jobs[0][0]}: {total} inputs, {total / seconds:.0f} a second")


def _tell(name: str, finding: Path) -> Path:
    print(f"FOUND by {name}: {finding}")
    print(f"again: python tests/fuzz/run.py --target {name} --replay {finding}")
    return finding


def _replay(file: Path, name: str) -> int:
    if name in PYTHON:
        ENTRIES[name.removeprefix("py-")].check(file.read_bytes())
        print(f"{name}: passes")
        return 0
    program = _built(name)
    if program is None:
        return 2
    good, said = libfuzzer.replay(program, [file])
    print(said)
    return 0 if good else 1


def _merge() -> int:
    """Replace corpus/ by the smallest inputs that reach everything that was ever reached."""
    seeds.write_all(WORK / "seeds")
    fresh = WORK / "merged"
    shutil.rmtree(fresh, ignore_errors=True)
    sources = [WORK / "seeds", *WORK.glob("*/learned"), *_corpus()]
    for name in MERGED:
        program = _built(name)
        if program is None:
            return 2
        libfuzzer.merge(program, fresh, sources)
    shutil.rmtree(libfuzzer.CORPUS, ignore_errors=True)
    fresh.rename(libfuzzer.CORPUS)
    sizes = [path.stat().st_size for path in libfuzzer.CORPUS.iterdir()]
    print(f"{libfuzzer.CORPUS}: {len(sizes)} files, {sum(sizes)} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
