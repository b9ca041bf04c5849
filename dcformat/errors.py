"""What can go wrong, as types with numbers.

The numbers are those of `spec/registry.md` (section "Error codes") and of `dcf.h`: Python and C
give the same code for the same fault.
"""

from __future__ import annotations

from enum import IntEnum


class Code(IntEnum):
    """Status codes shared with the C core; zero and above are not errors."""

    OK = 0
    ARGUMENT = -1
    TRUNCATED = -10
    MAGIC = -11
    VERSION = -12
    CHECKSUM = -13
    STRUCTURE = -14
    PADDING = -15
    RANGE = -16
    CODE = -17
    UNSUPPORTED = -20
    FEATURE = -21
    LIMIT = -30
    SPACE = -31


class DcfError(Exception):
    """Root of every error this package raises on purpose.

    `code` equals the C core's status; `place` says where (file, section, tensor, field).
    """

    code: Code = Code.ARGUMENT

    def __init__(self, message: str, *, code: Code | None = None, place: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.place = place
        if code is not None:
            self.code = code

    def __str__(self) -> str:
        return f"{self.place}: {self.message}" if self.place else self.message

    def at(self, place: str) -> DcfError:
        """Return self with `place` put in front of what is known of the place."""
        self.place = f"{place} / {self.place}" if self.place else place
        return self


class CorruptError(DcfError):
    """The bytes are not a valid file, or not the file that was written."""

    code = Code.STRUCTURE


class UnsupportedError(DcfError):
    """The bytes may be valid, but this reader does not know a feature they use."""

    code = Code.UNSUPPORTED


class LimitError(DcfError):
    """Something is larger than a limit of `spec/registry.md` or than the caller's budget."""

    code = Code.LIMIT


class ConvertError(DcfError):
    """A foreign file, a recipe or an argument cannot be used; the message names it and why."""

    code = Code.ARGUMENT


_UNSUPPORTED = {Code.VERSION, Code.UNSUPPORTED, Code.FEATURE}
_LIMIT = {Code.LIMIT, Code.SPACE}


def error_of(code: int, message: str, place: str = "") -> DcfError:
    """Return the exception that stands for status `code`."""
    status = Code(code)
    kind: type[DcfError] = CorruptError
    if status in _UNSUPPORTED:
        kind = UnsupportedError
    elif status in _LIMIT:
        kind = LimitError
    elif status is Code.ARGUMENT:
        kind = ConvertError
    return kind(message, code=status, place=place)
