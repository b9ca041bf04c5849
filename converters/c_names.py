"""C identifiers and comments from names that may hold anything.

Spec: C99 6.4 (tokens), 5.1.1.2 (translation phases: trigraphs and spliced lines come first).
Sister: write_c.py

A name reaches generated C in two ways: as part of an identifier, where only lower-case letters,
digits and single underscores are left of it, and inside a comment, quoted, where nothing is left
that could end the comment, splice lines or be a trigraph.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from dcformat.errors import ConvertError

MOST_CHARS = 40  #: of a name inside an identifier; the end of a longer one says more
_PREFIX = re.compile(r"[A-Za-z](_?[A-Za-z0-9])*")
_QUESTION, _APART = re.compile(r"\?(?=\?)"), r"?\\"
_OURS = re.compile(r"dcf(_|$)", re.IGNORECASE)

_WORDS = """
alignas alignof and and_eq asm auto bitand bitor bool break case catch char char16_t char32_t
char8_t class co_await co_return co_yield compl concept const const_cast consteval constexpr
constinit continue decltype default delete do double dynamic_cast else enum explicit export extern
false final float for friend goto if import inline int long module mutable namespace new noexcept
not not_eq nullptr operator or or_eq override private protected public register reinterpret_cast
requires restrict return short signed sizeof static static_assert static_cast struct switch
template this thread_local throw true try typedef typeid typename typeof typeof_unqual union
unsigned using virtual void volatile wchar_t while xor xor_eq int8_t int16_t int32_t int64_t
uint8_t uint16_t uint32_t uint64_t intptr_t uintptr_t intmax_t uintmax_t int_least8_t
int_least16_t int_least32_t int_least64_t uint_least8_t uint_least16_t uint_least32_t
uint_least64_t int_fast8_t int_fast16_t int_fast32_t int_fast64_t uint_fast8_t uint_fast16_t
uint_fast32_t uint_fast64_t size_t ptrdiff_t nullptr_t max_align_t wint_t aligned_alloc quick_exit
at_quick_exit main
"""
#: Whole words that are no free identifiers in C (to C23) or C++ (to C++23), or in <stdint.h>.
RESERVED = frozenset(_WORDS.split())
#: Macros of <stdint.h> and <limits.h> end so, where they begin with a type's name.
_LIMITS = re.compile(r"U?(INT|CHAR|SHRT|LONG|LLONG|SCHAR|PTRDIFF|SIZE|SIG|W)[A-Z0-9_]*_(MAX|MIN|C)")


def prefix_of(stem: str) -> str:
    """Return the prefix of symbols for a file name without its suffix: always a legal one."""
    words = _words(stem) or "model"
    if words[0].isdigit() or words in RESERVED or _OURS.match(words):
        words = f"m_{words}"
    return words


def check_prefix(prefix: str) -> str:
    """Return a prefix that was asked for; ConvertError where symbols cannot begin so."""
    if not _PREFIX.fullmatch(prefix) or len(prefix) > MOST_CHARS:
        raise ConvertError(
            f"prefix {prefix!r}: letters, digits and single underscores, a letter first, "
            f"at most {MOST_CHARS}"
        )
    if prefix.lower() in RESERVED or _OURS.match(prefix):
        raise ConvertError(f"prefix {prefix!r} is a word of C, C++ or of the decoder")
    return prefix


def _words(text: str) -> str:
    """Return `text` in lower case; a letter that is not ASCII as its number, the rest as `_`."""
    spelled = "".join(c if c.isascii() else f"_u{ord(c):x}_" for c in text)
    return re.sub(r"[^a-z0-9]+", "_", spelled.lower())[-MOST_CHARS:].strip("_")


@dataclass
class Names:
    """Hands out words for names, so that no two symbols made from them are equal.

    `derive(word)` gives every symbol that a word stands for.
    """

    derive: Callable[[str], Iterable[str]]
    taken: set[str] = field(default_factory=set)
    next_number: dict[str, int] = field(default_factory=dict)

    def word(self, name: str) -> str:
        """Return the first of `x`, `x_2`, `x_3` … whose symbols are all free, and take them."""
        start = _words(name) or "tensor"
        while True:
            number = self.next_number.get(start, 1)
            self.next_number[start] = number + 1
            word = start if number == 1 else f"{start}_{number}"
            symbols = set(self.derive(word))
            if not (symbols & self.taken or any(map(_is_reserved, symbols))):
                self.taken |= symbols
                return word

    def words(self, names: Sequence[str]) -> list[str]:
        return [self.word(name) for name in names]


def _is_reserved(symbol: str) -> bool:
    return symbol in RESERVED or _LIMITS.fullmatch(symbol) is not None


def quoted(name: str, most: int = 60) -> str:
    """Return `name` in quotes for a comment: ASCII, on one line, the middle of a long one cut."""
    if len(name) > most:
        name = f"{name[: most // 2]}...{name[-most // 2 :]}"
    safe = "".join(_shown(char) for char in name)
    # no end or begin of a comment, no trigraph; a backslash is never the last character
    safe = safe.replace("*/", "*\\/").replace("/*", "/\\*")
    return f'"{re.sub(_QUESTION, _APART, safe)}"'


def _shown(char: str) -> str:
    if char in '"\\':
        return f"\\{char}"
    if " " <= char <= "~":
        return char
    code = ord(char)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
