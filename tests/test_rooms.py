"""One stem, five places: a room is a page, a module, a C file, a test and vectors."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
STEMS = sorted(page.stem for page in (ROOT / "spec" / "encodings").glob("*.md"))
HOST_ONLY = {"coder_zstd"}


@pytest.mark.parametrize("stem", STEMS)
def test_a_room_has_its_five_places(stem: str) -> None:
    places = [
        ROOT / "dcformat" / "encodings" / f"{stem}.py",
        ROOT / "tests" / "encodings" / f"test_{stem}.py",
        ROOT / "tests" / "vectors" / stem,
    ]
    if stem not in HOST_ONLY:
        places.append(ROOT / "dcformat" / "c" / f"dcf_{stem}.c")
    assert [str(p.relative_to(ROOT)) for p in places if not p.exists()] == []


def test_no_module_is_a_room_without_a_page() -> None:
    folder = ROOT / "dcformat" / "encodings"
    kinds = ("layout_", "values_", "coder_")
    rooms = {p.stem for p in folder.glob("*.py") if p.stem.startswith(kinds)}
    assert rooms == set(STEMS)
