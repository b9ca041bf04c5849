"""Every tensor in every legal combination comes back to the bit, through both decoders."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from cases import forms, stored, tensors
from handmade import file_of_form

from dcformat import decode, native
from dcformat.canonical import faults
from dcformat.coded import CodedTensor
from dcformat.file import File
from dcformat.ids import Coder

TENSORS = list(tensors())


@pytest.mark.parametrize("tensor", TENSORS, ids=lambda t: t.name)
def test_every_form_of_a_tensor_is_read_back_exactly(tensor: CodedTensor) -> None:
    for name, form in forms(stored(tensor)):
        if form.legal():
            file = File(file_of_form(form))
            assert file.coded(tensor.name) == tensor, name
            decode.check_file(file.opened)


@pytest.mark.parametrize("tensor", TENSORS, ids=lambda t: t.name)
def test_every_form_counts_its_bytes_exactly(tensor: CodedTensor) -> None:
    for name, form in forms(stored(tensor)):
        assert form.payload_size() == len(form.payload()), name


@pytest.mark.parametrize("tensor", TENSORS, ids=lambda t: t.name)
def test_what_the_encoder_writes_is_canonical(tensor: CodedTensor) -> None:
    for name, form in forms(stored(tensor)):
        if form.legal():
            assert list(faults(File(file_of_form(form)))) == [], name


@pytest.mark.skipif(not native.AVAILABLE, reason="the C extension is not built")
@pytest.mark.parametrize("tensor", TENSORS, ids=lambda t: t.name)
def test_both_decoders_give_the_same_numbers(tensor: CodedTensor) -> None:
    for name, form in forms(stored(tensor)):
        if form.legal() and form.coder is not Coder.ZSTD:
            data = file_of_form(form)
            mine = decode.decode_numbers(decode.open_file(data), 0)
            theirs = native.decode_numbers(native.open_file(data), 0)
            assert mine.dtype == theirs.dtype, name
            assert mine.tobytes() == theirs.tobytes(), name


def test_rows_are_those_of_the_whole() -> None:
    tensor = next(t for t in TENSORS if t.name == "affine_axis")
    for name, form in forms(stored(tensor)):
        opened = decode.open_file(file_of_form(form))
        whole = decode.decode_numbers(opened, 0).reshape(16, -1)
        for start, stop in ((0, 16), (3, 4), (5, 11), (7, 7), (15, 16)):
            part = decode.decode_rows(opened, 0, start, stop)
            assert part.tobytes() == whole[start:stop].tobytes(), (name, start, stop)
            if native.AVAILABLE and form.coder is not Coder.ZSTD:
                theirs = native.decode_rows(native.open_file(file_of_form(form)), 0, start, stop)
                assert theirs.tobytes() == part.tobytes(), (name, start, stop)


def test_the_stored_crc_is_that_of_the_numbers_in_stored_order() -> None:
    tensor = next(t for t in TENSORS if t.name == "affine_axis")
    form = dict(forms(stored(tensor)))["dense_packed"]
    opened = decode.open_file(file_of_form(form))
    numbers = np.transpose(tensor.symbols, (0, 2, 3, 1)).tobytes()
    assert opened.records[0].head.numbers_crc == zlib.crc32(numbers)
