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
import time
from collections.abc import Iterator, Mapping
from types import FrameType
from typing import Any, NoReturn

from dcformat.files import undo_all

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")
_PATIENCE = 0.4  #: longer than subprocess.run waits for its child before it ends it


@contextlib.contextmanager
def ending_signals(program: str) -> Iterator[None]:
    """Let SIGINT, SIGTERM and SIGHUP end the block; one that the caller ignores stays ignored.

    The block ends with KeyboardInterrupt or SystemExit(128 + n), and is to be the last thing that
    the process does. Where it has not ended after `_PATIENCE` seconds, or the process not after
    as many more, that is done from here: what is begun is undone, one line, code 128 + n.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    bell, rope = socket.socketpair()
    over = threading.Event()
    watcher = threading.Thread(target=_watch, args=(bell, over, program), daemon=True)
    watcher.start()
    with rope, _signals_to(rope):
        try:
            yield
        finally:
            over.set()


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
            if signal.getsignal(number) == _end:  # not after a signal: the process is leaving
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
    """Wait for a signal, then for the process to end; where it does not, leave without it."""
    with bell:
        number = _rung(bell)
    if number is None:
        return
    ended = over.wait(_PATIENCE)
    if ended:
        time.sleep(_PATIENCE)  # Python does not exit before the last thread, which may be in C
    undo_all()
    if number == signal.SIGINT and not ended:
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
