"""Ways to write one tensor with coder_context: the parameters are tried, the smallest stays.

Spec: spec/encodings/coder_context.md
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .coded import Codebook
from .encodings import coder_context
from .encodings.coder_context import Context, Extents, Key
from .encodings.parts import Planes
from .forms import Form
from .ids import Coder, Layout
from .kernels import histogram
from .scratch import Scratch
from .stored import Stored

TRIED_MOST = 1 << 18  #: elements on which parameters are tried
BLOCK_MOST = 1 << 24  #: elements of a block, which is held while it is written


def context_forms(stored: Stored, row_access: bool, scratch: Scratch) -> Iterator[Form]:
    """Yield the form with the parameters that serve the first rows best, if there may be one."""
    if stored.plan.width != 1 or not stored.elements:
        return
    rows = max(1, min(stored.rows, TRIED_MOST // stored.columns))
    planes, _ = stored.piece(0, rows, rows)
    choices = [
        Context(centre, axes)
        for centre in centres(stored, planes)
        for axes in _axes(_extents(stored))
    ]
    best = choices[0]
    if len(choices) > 1:
        best = min(choices, key=lambda context: _size(stored, planes, context))
    block = min(stored.rows, max(1, BLOCK_MOST // stored.columns), (1 << 24) - 1)
    yield context_form(stored, best, 1 if row_access else block, scratch)


def context_form(
    stored: Stored, context: Context, block_rows: int, scratch: Scratch | None = None
) -> Form:
    """Return a form of coder_context with blocks of `block_rows` rows."""
    scratch = scratch or Scratch()
    frames: list[tuple[int, int]] = []
    for planes, ends in stored.pieces(block_rows):
        body, stops = coder_context.encode(planes, ends, _key(stored, context))
        place = scratch.keep(body)
        sizes = np.diff(stops, prepend=0).tolist()
        frames += zip((place + stops - sizes).tolist(), sizes, strict=True)
    return Form(
        stored,
        Layout.DENSE,
        None,
        Coder.CONTEXT,
        block_rows,
        scratch=scratch,
        frames=tuple(frames),
        context=context,
    )


def centres(stored: Stored, planes: Planes) -> list[int]:
    """Return the symbols that may be the centre: that nearest to zero, and the most frequent."""
    plan = stored.plan
    last = plan.alphabets[0] - 1
    zero = min(max(-plan.base, 0), last)
    if isinstance(plan.values, Codebook):
        levels = np.abs(np.asarray(plan.values.levels[: last + 1]).astype(np.float64))
        zero = int(np.argmin(np.where(np.isnan(levels), np.inf, levels)))
    frequent = int(histogram(np.ascontiguousarray(planes[:, 0])).argmax())
    return list(dict.fromkeys((zero, frequent)))


def _extents(stored: Stored) -> Extents:
    return coder_context.extents_of(stored.shape, stored.row_axes)


def _key(stored: Stored, context: Context) -> Key:
    return Key(stored.plan.alphabets[0], context, _extents(stored))


def _axes(extents: Extents) -> list[int]:
    """Return the axes whose scales are tried: none, and each that is longer than 1."""
    lengths = (extents.line, extents.lines, extents.planes)
    return [0, *(1 << i for i, length in enumerate(lengths) if length > 1)]


def _size(stored: Stored, planes: Planes, context: Context) -> int:
    ends = np.array([len(planes)], np.int64)
    return len(coder_context.encode(planes, ends, _key(stored, context))[0])
