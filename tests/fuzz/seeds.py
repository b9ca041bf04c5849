"""Files to start from: the vectors, and small files of many elements for the fast loops."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS))

from cases import forms, stored  # noqa: E402
from handmade import file_of  # noqa: E402

from dcformat.coded import Affine, Codebook, CodedModel, CodedTensor, Raw  # noqa: E402
from dcformat.encode import Settings, encode_model, write_tensors  # noqa: E402
from dcformat.ids import NUMPY, DType, Section  # noqa: E402

MOST = 8192  #: bytes of an input
SHAPES = ((40, 32), (130, 128))  #: above the two sizes from which hosts use lookup tables


def vectors() -> Iterator[bytes]:
    """Yield the test vectors, valid and not, that are small enough."""
    for path in sorted((TESTS / "vectors").rglob("*.dcf")):
        if path.stat().st_size <= MOST:
            yield path.read_bytes()


def many_elements(shapes: Sequence[tuple[int, ...]] = SHAPES) -> Iterator[bytes]:
    """Yield files of more elements than bytes: every form of a few tensors."""
    for shape in shapes:
        for tensor in _dull(shape):
            for tag, form in forms(stored(tensor)):
                if form.legal() and "zstd" not in tag:
                    records, tables, payload = write_tensors([form], {}, 1, 4)
                    data = file_of(
                        [], payload, sections={Section.RECORDS: records, Section.TABLES: tables}
                    )
                    if len(data) <= MOST:
                        yield data


def _dull(shape: tuple[int, ...]) -> Iterator[CodedTensor]:
    """Yield tensors that say little about each of their elements."""
    rng = np.random.default_rng(3)
    kept = rng.random(shape) < 0.02
    numbers = np.where(kept, rng.integers(-9, 9, shape), 0).astype(np.int8)
    one = Affine(DType.INT8, np.asarray(0.5, "<f4"), np.asarray(0, np.int32))
    yield CodedTensor("int8", DType.FLOAT, numbers, one)
    levels = np.linspace(-1, 1, 5).astype("<f4")
    index = np.where(kept, rng.integers(0, 5, shape), 2).astype(np.uint8)
    for dtype in (DType.FLOAT, DType.FLOAT16, DType.DOUBLE):
        of_type = levels.astype(NUMPY[dtype])
        yield CodedTensor("shared", dtype, index, Codebook(dtype, of_type))
    yield CodedTensor("half", DType.FLOAT16, np.where(kept, 1.5, 0).astype("<f2"), Raw())
    yield CodedTensor("float", DType.FLOAT, np.where(kept, 0.1, 0).astype("<f4"), Raw())
    yield CodedTensor("double", DType.DOUBLE, np.where(kept, 0.1, 0).astype("<f8"), Raw())


def more() -> Iterator[bytes]:
    """Yield what no vector has: a hash that targets look for, and unsigned zero points."""
    numbers = np.arange(12, dtype=np.uint8).reshape(3, 4)
    weight = CodedTensor("weight", DType.UINT8, numbers, Raw())
    yield encode_model(CodedModel((weight,)), Settings(names=False))
    for number in (DType.UINT8, DType.UINT16):
        values = Affine(number, np.asarray(0.5, "<f4"), np.asarray(3, np.int32))
        tensor = CodedTensor("a", DType.FLOAT, numbers.astype(NUMPY[number]), values)
        yield encode_model(CodedModel((tensor,)))


def write_all(folder: Path) -> int:
    """Write every seed into `folder`, named by its content; return how many there are."""
    folder.mkdir(parents=True, exist_ok=True)
    count = 0
    for data in (*vectors(), *many_elements(), *more()):
        (folder / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
        count += 1
    return count


if __name__ == "__main__":
    print(write_all(Path(sys.argv[1])))
