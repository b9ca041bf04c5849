"""Tensors share Huffman tables only where every one of them may name the table."""

from __future__ import annotations

import numpy as np

from dcformat.coded import Codebook, CodedModel, CodedTensor, Raw
from dcformat.encode import Settings, encode_model
from dcformat.encodings.coder_huffman import Table
from dcformat.file import File
from dcformat.ids import DType, Layout
from dcformat.tables import tables_of


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


def test_a_table_that_small_tensors_join_is_that_of_all_their_symbols() -> None:
    rng = np.random.default_rng(0)
    sizes = [40_000, *rng.integers(400, 500, 60).tolist()]
    parts = [np.round(rng.normal(0, 9, n)).astype(np.int8) for n in sizes]
    tensors = tuple(CodedTensor(f"t{i}", DType.INT8, p, Raw()) for i, p in enumerate(parts))
    file = File(encode_model(CodedModel(tensors), Settings(target="mcu")))
    (table,) = file.opened.tables
    assert isinstance(table, Table)
    whole = np.bincount(np.concatenate(parts).astype(np.int64) + 128, minlength=256)
    base = min(int(p.min()) for p in parts) + 128
    shifted = np.concatenate([whole[base:], np.zeros(base, np.int64)])
    assert table.lengths.tolist() == tables_of(shifted[None])[0].lengths.tolist()
    assert file.coded_model().tensors == tensors
