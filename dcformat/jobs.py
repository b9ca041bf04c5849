"""Work on several threads whose results come in order, no further ahead than memory bears."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

_In = TypeVar("_In")
_Out = TypeVar("_Out")


def in_order(work: Callable[[_In], _Out], items: Iterable[_In], jobs: int) -> Iterator[_Out]:
    """Yield `work(item)` for each item, in their order, worked out on `jobs` threads.

    At most two items a thread are begun before their turn; of a sequence of tensors also large
    ones that one thread would else be left alone with. What `work` raises is raised here; items
    that were not begun then never are.
    """
    if jobs <= 1:
        yield from map(work, items)
        return
    pool, turn = ThreadPoolExecutor(jobs), 0
    ahead: dict[int, Future[_Out]] = {}
    try:
        for place, item in _as_begun(items, jobs):
            ahead[place] = pool.submit(work, item)
            while all(i in ahead for i in range(turn, turn + 2 * jobs)):
                yield ahead.pop(turn).result()
                turn += 1
        while ahead:
            yield ahead.pop(turn).result()
            turn += 1
    finally:
        pool.shutdown(cancel_futures=True)


def _as_begun(items: Iterable[_In], jobs: int) -> Iterator[tuple[int, _In]]:
    """Yield the items as they are to be begun, each with the place of its result."""
    if not isinstance(items, Sequence):
        yield from enumerate(items)
        return
    sizes = [getattr(item, "size", 0) for item in items]
    yield from ((place, items[place]) for place in order_of(sizes, jobs))


def order_of(sizes: Sequence[int], jobs: int) -> Iterator[int]:
    """Yield the places of items as they are to be begun: in turn, but none of them too late.

    It would be, were the rest of the work too little for the other threads meanwhile.
    """
    left, begun = sum(sizes), set[int]()
    rising = list(reversed(range(len(sizes))))
    falling = sorted(rising, key=sizes.__getitem__)
    while len(begun) < len(sizes):
        for stack in rising, falling:
            while stack[-1] in begun:
                stack.pop()
        late = jobs * sizes[falling[-1]] >= left
        place = falling[-1] if late else rising[-1]
        begun.add(place)
        left -= sizes[place]
        yield place
