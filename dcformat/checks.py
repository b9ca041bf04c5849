"""What a check says: the values that `verify` returns.

Spec: spec/DCF.md ("Full check", "Canonical form").    Sister: dcformat/verify.py, which makes them
"""

from __future__ import annotations

from dataclasses import dataclass

OK = "ok"
FAILED = "failed"
SKIPPED = "skipped"


@dataclass(frozen=True)
class Check:
    """One question and its answer: `status` is "ok", "failed" or "skipped".

    `detail` says what was looked at, or what is wrong and where, `notes` the same tensor by
    tensor. They may hold names as they stand in the file, so whoever prints them escapes them.
    """

    name: str
    status: str
    detail: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """All checks of one file, in the order in which they were made.

    `largest_error` is that of all elements against the source, in the elements' own unit; None
    without a source.
    """

    checks: tuple[Check, ...]
    largest_error: float | None = None

    @property
    def ok(self) -> bool:
        """Whether no check failed; a skipped check does not fail."""
        return all(check.status != FAILED for check in self.checks)

    def __getitem__(self, name: str) -> Check:
        for check in self.checks:
            if check.name == name:
                return check
        raise KeyError(name)


def passed(name: str, detail: str = "", notes: tuple[str, ...] = ()) -> Check:
    """Return a check that says yes."""
    return Check(name, OK, detail, notes)


def failed(name: str, detail: str) -> Check:
    """Return a check that says no, with the place and the reason."""
    return Check(name, FAILED, detail)


def skipped(name: str, detail: str) -> Check:
    """Return a check that could not be made, with the reason."""
    return Check(name, SKIPPED, detail)


def verdict(name: str, faults: list[str], detail: str, notes: tuple[str, ...] = ()) -> Check:
    """Return a failed check with the first of `faults`, the others in its notes, or a yes."""
    if not faults:
        return passed(name, detail, notes)
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return Check(name, FAILED, faults[0] + more, tuple(faults[1:]))
