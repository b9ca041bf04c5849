"""From a coded model back to dense numbers: what writers of foreign formats need.

Spec: spec/DCF.md ("Dequantization")
"""

from __future__ import annotations

from .coded import CodedModel, expand_tensor
from .model import Model, Tensor


def expand(coded: CodedModel) -> Model:
    """Return `coded` as dense numbers in the logical types, with its graph."""
    tensors = tuple(Tensor(t.name, t.dtype, expand_tensor(t)) for t in coded.tensors)
    return Model(tensors, coded.graph, source=coded.source, metadata=dict(coded.metadata))
