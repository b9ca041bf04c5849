"""Work on several threads whose results come in order, no further ahead than memory bears."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

_In = TypeVar("_In")
_Out = TypeVar("_Out")


def in_order(work: Callable[[_In], _Out], items: Iterable[_In], jobs: int) -> Iterator[_Out]:
    """Yield `work(item)` for each item, in their order, worked out on `jobs` threads.

    At most two items a thread are begun before their turn. What `work` raises is raised here;
    items that were not begun then never are.
    """
    if jobs <= 1:
        yield from map(work, items)
        return
    pool = ThreadPoolExecutor(jobs)
    ahead: deque[Future[_Out]] = deque()
    try:
        for item in items:
            ahead.append(pool.submit(work, item))
            if len(ahead) >= 2 * jobs:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
