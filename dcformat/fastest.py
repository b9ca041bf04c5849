"""The form that decodes fastest, of those that are nearly as small as the smallest."""

from __future__ import annotations

from collections.abc import Sequence

from .forms import Form
from .ids import Coder, Layout

#: Fastest first, as `python bench/run.py decoding` has it.
BY_SPEED = (
    (Layout.DENSE, Coder.PACKED),
    (Layout.DENSE, Coder.HUFFMAN),
    (Layout.DENSE, Coder.ZSTD),
    (Layout.GAP, Coder.HUFFMAN),
    (Layout.GAP, Coder.PACKED),
    (Layout.RUN, Coder.HUFFMAN),
    (Layout.DENSE, Coder.CONTEXT),
)
SPEED_MARGIN = 1.05  #: `prefer="speed"` takes a faster form that is at most this much larger


def fastest(forms: Sequence[Form]) -> Form:
    """Return the form that decodes fastest of those that are nearly as small as the smallest."""
    most = SPEED_MARGIN * min(form.size() for form in forms)
    near = [form for form in forms if form.size() <= most]
    return min(near, key=lambda form: (BY_SPEED.index((form.layout, form.coder)), form.size()))
