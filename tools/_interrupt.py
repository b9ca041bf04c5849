"""Leaving when a signal asks for it, also from inside a long call into C.

Spec: spec/SECURITY.md (S8).    Sister: dcformat/files.py, which knows what is to be undone
Python runs the handler of a signal between two of its own steps, and one step can take minutes:
a k-means, a sort, a zstd frame. All of them let other threads run; one of those leaves then.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Mapping
from types import FrameType
from typing import Any, NoReturn

from dcformat.files import undo_all

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")
_PATIENCE = 0.5  #: longer than subprocess.run waits for its child before it ends it


@contextlib.contextmanager
def ending_signals(program: str) -> Iterator[None]:
    """Let SIGINT, SIGTERM and SIGHUP end the block; one that the caller ignores stays ignored.

    The block ends with KeyboardInterrupt or SystemExit(128 + n). Where it has not after
    `_PATIENCE` seconds the process ends all the same: undone, one line, code 128 + n.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    bell, rope = socket.socketpair()
    over = threading.Event()
    watcher = threading.Thread(target=_watch, args=(bell, over, program), daemon=True)
    with contextlib.ExitStack() as last_first:
        last_first.enter_context(bell)
        watcher.start()
        last_first.callback(watcher.join)
        last_first.enter_context(rope)
        last_first.enter_context(_signals_to(rope))
        last_first.callback(over.set)
        yield


@contextlib.contextmanager
def _signals_to(rope: socket.socket) -> Iterator[None]:
    """Handle the signals here, and write the number of each that comes to `rope`."""
    rope.setblocking(False)
    old_rope = signal.set_wakeup_fd(rope.fileno(), warn_on_full_buffer=False)
    before = _take_signals()
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(old_rope)


def _take_signals() -> Mapping[int, Any]:
    """Set our handler; return the handlers that were there before."""
    numbers = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
    heeded = [n for n in numbers if signal.getsignal(n) != signal.SIG_IGN]
    return {number: signal.signal(number, _end) for number in heeded}


def _end(number: int, _frame: FrameType | None) -> NoReturn:
    for name in _NAMES:  # a second Ctrl-C must not stop the undoing
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    sys.exit(128 + number)


def _watch(bell: socket.socket, over: threading.Event, program: str) -> None:
    """Wait for a signal, then for the block to end; where it does not, leave without it."""
    number = _rung(bell)
    if number is None or over.wait(_PATIENCE):
        return
    undo_all()
    if number == signal.SIGINT:
        with contextlib.suppress(OSError):
            os.write(2, f"{program}: interrupted\n".encode())
    os._exit(128 + number)


def _rung(bell: socket.socket) -> int | None:
    """Return the first of our signals that comes, None where the block ended without one."""
    ours = {getattr(signal, name, None) for name in _NAMES}
    while rung := bell.recv(1):
        if rung[0] in ours:
            return rung[0]
    return None
