"""Build and run the C targets under libFuzzer and sanitizers; clang with its runtime is needed."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CORE = ROOT / "dcformat" / "c"
HARNESS = HERE.parent / "c"
CORPUS = HERE / "corpus"

CLANGS = ("clang-16", "clang-17", "clang-18", "clang-19", "clang")
ADDRESS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
MEMORY = ("-fsanitize=memory", "-fsanitize-memory-track-origins")
#: both builds of the core take the same number of tensors, so that they answer LIMIT alike
COMMON = ("-std=c99", "-D_POSIX_C_SOURCE=200809L", "-g", "-O2", "-DDCF_MARKS=4096", "-DDCF_WIDE=1")
LIMITS = ("-max_len=8192", "-timeout=20", "-rss_limit_mb=2048", "-malloc_limit_mb=64")


@dataclass(frozen=True)
class Target:
    """A program: the file fuzz_<source>.c, with the core for hosts or for firmware."""

    source: str
    host: int = 1
    sanitizers: tuple[str, ...] = ADDRESS


TARGETS = {
    "open": Target("open"),
    "check": Target("check"),
    "decode": Target("decode"),
    "rows": Target("rows"),
    "firmware": Target("rows", host=0),
    "twins": Target("twins"),
    "memory": Target("decode", sanitizers=MEMORY),
}


@dataclass(frozen=True)
class Run:
    """What a run of a target did; `finding` is the saved input that broke it."""

    executions: int
    coverage: int
    corpus: str
    finding: Path | None
    output: str


@cache
def find_clang(flags: tuple[str, ...] = ADDRESS) -> str | None:
    """Return a clang that links and runs libFuzzer with these sanitizers, or None."""
    source = "int LLVMFuzzerTestOneInput(const char *d, unsigned long n) { return d == 0 && n; }\n"
    for name in CLANGS:
        if shutil.which(name) is None:
            continue
        with tempfile.TemporaryDirectory() as folder:
            code, program = Path(folder) / "empty.c", Path(folder) / "empty"
            code.write_text(source)
            command = [name, "-fsanitize=fuzzer", *flags, str(code), "-o", str(program)]
            built = subprocess.run(command, capture_output=True, check=False).returncode == 0
            if built and subprocess.run([program, "-runs=1"], capture_output=True).returncode == 0:  # noqa: PLW1510
                return name
    return None


def build(name: str, folder: Path, clang: str) -> Path:
    """Return the program of target `name`, built below `folder`."""
    target = TARGETS[name]
    place = folder / name
    flags = (clang, *COMMON, *target.sanitizers, f"-I{CORE}", f"-I{HARNESS}")
    kind = "memory" if target.sanitizers is MEMORY else "address"
    objects = _core(flags, folder / f"core-{kind}-{target.host}", target.host)
    if target.source == "twins":
        objects += _twin(flags, folder / "core-renamed")
    own = (HERE / "parts.c", HERE / "mutator.c", HERE / f"fuzz_{target.source}.c")
    objects += _compile(flags, own, place, 1)
    program = place / f"fuzz_{name}"
    _run([clang, "-fsanitize=fuzzer", *target.sanitizers, *objects, "-o", program])
    return program


@cache
def _core(flags: tuple[str, ...], place: Path, host: int) -> tuple[Path, ...]:
    """Return the objects of the core and of what exercises it; targets share them."""
    return _compile(flags, (*sorted(CORE.glob("*.c")), HARNESS / "exercise.c"), place, host)


def _twin(flags: tuple[str, ...], place: Path) -> tuple[Path, ...]:
    """Return the firmware's core once more, with names that do not meet those of the host's."""
    place.mkdir(parents=True, exist_ok=True)
    renamed = place / "renamed.h"
    renamed.write_text("".join(f"#define {n} {n}_firmware\n" for n in _functions()))
    return _core((*flags, "-include", str(renamed)), place, 0)


def _functions() -> Iterator[str]:
    """Yield the names of everything in the core that a linker sees, and of what exercises it."""
    yield "exercise"
    text = (CORE / "dcf.h").read_text() + (CORE / "dcf_internal.h").read_text()
    yield from sorted(set(re.findall(r"\b(dcf_\w+)\(", text)))


def _compile(
    flags: Sequence[str], sources: Sequence[Path], place: Path, host: int
) -> tuple[Path, ...]:
    place.mkdir(parents=True, exist_ok=True)
    objects = tuple(place / f"{source.stem}.o" for source in sources)
    rest = ("-fsanitize=fuzzer-no-link", f"-DDCF_HOST={host}", "-DDCF_WITH_CONTEXT=1", "-c")
    pairs = zip(sources, objects, strict=True)
    commands = [[*flags, *rest, str(source), "-o", str(out)] for source, out in pairs]
    with ThreadPoolExecutor() as pool:
        list(pool.map(_run, commands))
    return objects


def _run(command: Sequence[str | Path]) -> None:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}\n{done.stderr[-4000:]}")


def fuzz(program: Path, seconds: int, seeds: Sequence[Path], findings: Path, seed: int) -> Run:
    """Run `program` for `seconds` from `seeds`; a finding is saved below `findings`.

    What it learns stays beside the program, for the next run and for `merge`.
    """
    learned = program.with_name("learned")
    learned.mkdir(exist_ok=True)
    findings.mkdir(parents=True, exist_ok=True)
    before = set(findings.iterdir())
    command = [
        program, *LIMITS, f"-max_total_time={seconds}", f"-seed={seed or 1}",
        "-print_final_stats=1", f"-artifact_prefix={findings}/{program.name}-", learned, *seeds,
    ]  # fmt: skip
    done = subprocess.run(
        list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    return _parsed(done.stdout.decode(errors="replace"), done.returncode, findings, before)


def _parsed(output: str, status: int, findings: Path, before: set[Path]) -> Run:
    executed = re.search(r"stat::number_of_executed_units: (\d+)", output)
    states = re.findall(r"cov: (\d+) .*?corp: (\S+)", output)
    coverage, corpus = states[-1] if states else ("0", "?")
    new = sorted(set(findings.iterdir()) - before)
    if status and not new:
        raise RuntimeError(f"the fuzzer stopped without a finding\n{output[-4000:]}")
    count = int(executed.group(1)) if executed else 0
    return Run(count, int(coverage), corpus, new[0] if new else None, output)


def replay(program: Path, inputs: Sequence[Path]) -> tuple[bool, str]:
    """Tell whether `program` passes on `inputs`, with what it said."""
    done = subprocess.run(
        [str(program), *LIMITS[1:], *map(str, inputs)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
    )  # fmt: skip
    return done.returncode == 0, done.stdout.decode(errors="replace")


def merge(program: Path, into: Path, sources: Sequence[Path]) -> None:
    """Add to `into` the inputs of `sources` that reach something new in `program`."""
    into.mkdir(parents=True, exist_ok=True)
    _run([program, "-merge=1", "-use_counters=0", *LIMITS, into, *sources])
