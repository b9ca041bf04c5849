"""Tensors share Huffman tables only where every one of them may name the table."""

from __future__ import annotations

import numpy as np

from dcformat.coded import Codebook, CodedModel, CodedTensor
from dcformat.encode import Settings, encode_model
from dcformat.file import File
from dcformat.ids import DType, Layout


def with_gaps(name: str, gaps: list[int]) -> CodedTensor:
    """Return a tensor with one of 16 levels after each gap of zeros."""
    rng = np.random.default_rng(len(gaps))
    symbols = np.zeros(sum(gaps) + len(gaps), np.uint8)
    symbols[np.cumsum(np.array(gaps) + 1) - 1] = rng.integers(1, 17, len(gaps))
    levels = Codebook(DType.FLOAT, np.arange(17, dtype=np.float32))
    return CodedTensor(name, DType.FLOAT, symbols, levels)


def test_gaps_of_different_ranges_share_no_table() -> None:
    # one table for both would pay, but reaches to gap 100, and the second one's end at 63
    rng = np.random.default_rng(0)
    often, rarely = (rng.integers(0, 8, n).tolist() for n in (4000, 250))
    often[::20] = [100] * 200
    rarely[10], rarely[25] = 90, 130
    tensors = with_gaps("often", often), with_gaps("rarely", rarely)
    file = File(encode_model(CodedModel(tensors), Settings()))
    records = file.opened.records
    assert [r.head.layout for r in records] == [Layout.GAP] * 2
    assert [r.layout.highest for r in records] == [255, 63]
    assert records[0].tables[0] != records[1].tables[0]
    assert file.coded_model().tensors == tensors
