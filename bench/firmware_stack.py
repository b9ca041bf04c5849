"""The most stack that a function of a linked program can take, with everything that it calls.

Read from the machine code, so that what comes from libgcc counts too. A call through a register
or a recursion, which have no such bound, is an error, and so is a stack pointer that moves in a
way that is not known here. Calls through registers may be allowed: where they are of a function
of the caller, whose stack is the caller's business.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

# addresses, code bytes (in one group or more), mnemonic, operands
LINE = re.compile(r"^\s*[0-9a-f]+:\t[0-9a-f ]+\t(\S+)(?:\t([^;@]*))?")
HEAD = re.compile(r"^[0-9a-f]+ <([^.].*)>:$")  # not a label inside a function
TARGET = re.compile(r"<([^>+]+)>\s*$")
CALLS = {"bl", "blx", "jal", "jalr", "call"}
ARM_JUMPS = re.compile(r"^b(\.n|\.w)?$")
JUMPS = {"j", "tail"}
MOVES = {"add", "add.w", "addw", "addi", "sub", "sub.w", "subw", "mov", "mov.w", "mv"}


class UnknownStackError(Exception):
    """Code whose stack has no bound that can be read from it."""


@dataclass
class Function:
    """Bytes that a function takes, what it calls, and what it goes to in place of a return."""

    frame: int = 0
    calls: set[str] = field(default_factory=set)
    ends: set[str] = field(default_factory=set)
    unknown: str = ""  #: an instruction after which no bound is known
    pointer: str = ""  #: a call through a register


def read_listing(listing: str) -> dict[str, Function]:
    """Return the functions of a disassembly by `objdump -d`."""
    found: dict[str, Function] = {}
    name = ""
    for line in listing.splitlines():
        if head := HEAD.match(line):
            name = head[1]
            found.setdefault(name, Function())
        elif (code := LINE.match(line)) and name:
            _instruction(found[name], name, code[1], (code[2] or "").strip())
    return found


def _instruction(function: Function, name: str, word: str, operands: str) -> None:
    bytes_taken = taken(word, operands)
    target = TARGET.search(operands)
    if bytes_taken is None:
        function.unknown = f"{word} {operands}"
    if word in CALLS and target is None:
        function.pointer = f"{word} {operands}"
    function.frame += bytes_taken or 0
    if word in CALLS and target:
        function.calls.add(target[1])
    elif (word in JUMPS or ARM_JUMPS.match(word)) and target and target[1] != name:
        function.ends.add(target[1])


def taken(word: str, operands: str) -> int | None:
    """Return by how many bytes an instruction lowers the stack pointer, None if that is unknown."""
    if word.startswith("push") or (word in ("stmdb", "stmfd") and operands.startswith("sp!")):
        return 4 * _registers(operands)
    if pushed := re.search(r"\[sp, #-(\d+)\]!", operands):
        return int(pushed[1])
    if not re.match(r"sp\b", operands) or word not in MOVES:
        return 0
    constant = re.search(r",\s*#?(-?\d+)$", operands.partition(" # ")[0])
    if constant is None:
        return None
    step = int(constant[1])
    return max(0, step if word.startswith("sub") else -step)


def _registers(operands: str) -> int:
    """Return how many registers a list like {r4, r5, lr} has."""
    listed = operands[operands.index("{") + 1 : operands.index("}")]
    return len([register for register in listed.split(",") if register.strip()])


def worst(
    functions: Mapping[str, Function], entries: Iterable[str], pointers: bool = False
) -> tuple[int, list[str]]:
    """Return the most bytes that a call of an entry takes, and the calls that take them.

    With `pointers`, calls through registers are those of the caller's functions.
    """
    found = (_deepest(functions, entry, (), pointers) for entry in entries)
    return max(found, key=lambda one: one[0])


def _deepest(
    functions: Mapping[str, Function], name: str, above: tuple[str, ...], pointers: bool
) -> tuple[int, list[str]]:
    if name in above:
        raise UnknownStackError(f"recursion: {' '.join((*above, name))}")
    function = functions[name]
    unknown = function.unknown or ("" if pointers else function.pointer)
    if unknown:
        raise UnknownStackError(f"{name}: {unknown}")
    here = (*above, name)
    inner = [_deepest(functions, called, here, pointers) for called in sorted(function.calls)]
    found = [(function.frame, [name])]
    found += [(function.frame + most, [name, *chain]) for most, chain in inner]
    found += [_deepest(functions, other, here, pointers) for other in sorted(function.ends)]
    return max(found, key=lambda one: one[0])
