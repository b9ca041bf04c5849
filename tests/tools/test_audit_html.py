"""The page of dcaudit: its bytes, and what it does in a browser."""

from __future__ import annotations

import copy
import html
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from audit_reports import full, report
from browser import Browser, missing, started

from dcformat.tools._audit_html import render

HOSTILE = (
    "</script><script>document.title='owned'</script>",
    "<img src=x onerror=\"document.title='owned'\">",
    "a'b\"c`${document.title='owned'}`&lt;",
    "left\u202eright\u2066\u200f",
    "line\nbreak\x1b[31m\u2028",
    "<!--<script>",
    "∑ weights 重み",
)


def data_of(page: str) -> Any:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    assert found
    return json.loads(found[1])


def test_the_same_report_gives_the_same_bytes_and_is_left_alone() -> None:
    made = full()
    before = copy.deepcopy(made)
    assert render(made) == render(made)
    assert made == before


def test_a_model_of_a_hundred_layers_stays_small() -> None:
    made = full(100)
    for row in made["tensors"]:  # as large as they get: 256 levels everywhere
        row["level_values"] = [-0.41 + 0.84 * i / 255 for i in range(256)]
        row["histogram"] = [i * 977 % 1013 for i in range(48)]
        row["name"] = f"model/features/block/{row['index']:04}/convolution/{row['role']}"
    assert len(render(made).encode()) < 300_000


def test_histograms_are_for_the_largest_of_many_tensors() -> None:
    made = report(1000)
    data = data_of(render(made))
    drawn = [t for t in data["tensors"] if "histogram" in t]
    assert data["undrawn"] == 2000 - 400
    assert 0 < len(drawn) <= 400
    assert min(t["bytes"] for t in drawn) >= sorted(t["bytes"] for t in data["tensors"])[-400]


def test_levels_are_where_they_are_and_counts_that_are_there_are_seen() -> None:
    made = report(1)
    row = made["tensors"][0]
    row |= {"low": -1.0, "high": 3.0, "level_values": [-1.0, 0.0, 3.0], "histogram": [1, 0, 5000]}
    found = data_of(render(made))["tensors"][0]
    # 0, then 4 * 61 + 6 = 250, then 12 * 61 + 18 = 750
    assert (found["marks"], found["histogram"]) == ("0ZZZZ6ZZZZZZZZZZZZi", "10Z")


def test_a_tensor_of_one_value_has_no_axis() -> None:
    made = report(1)
    made["tensors"][0] |= {
        "low": 2.0,
        "high": 2.0,
        "level_values": [2.0],
        "histogram": [9] + [0] * 47,
    }
    assert data_of(render(made))["tensors"][0]["marks"] == ""


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_cannot_leave_the_data(name: str) -> None:
    page = render(report(2, name=name, names=[name, name + "2"]))
    assert page.count("<script") == page.count("</script>") == 2
    data = re.search(r'id="data">(.*?)</script>', page, re.S)
    assert data
    assert data[1].isascii()
    assert not set(data[1]) & set("<>&")
    shown = data_of(page)["file"]["name"]
    assert shown.isprintable()
    title = re.search(r"<title>(.*?)</title>", page, re.S)
    assert title
    assert html.unescape(title[1]) == f"{shown} · dcaudit"


def test_nothing_outside_is_named() -> None:
    page = render(full())
    assert re.findall(r"https?://[^\"' ]+", page) == ["http://www.w3.org/2000/svg"]
    assert not re.search(r"(src|href)=(?!\"data:,\")", page)
    assert "default-src 'none'" in page


def test_a_damaged_tensor_without_numbers_is_shown() -> None:
    made = report(2)
    nothing = dict.fromkeys(
        ("layout", "values", "coder", "number", "bits_per_element", "zeros", "distinct", "levels")
    )
    nothing |= dict.fromkeys(("efficiency", "low", "high", "histogram", "level_values"))
    made["tensors"][0] |= {**nothing, "status": "damaged", "reason": "CRC differs"}
    made["problems"] = [{"place": "a", "code": "CHECKSUM", "reason": "CRC differs"}]
    data = data_of(render(made))
    assert data["tensors"][0]["status"] == "damaged"
    assert data["problems"][0]["code"] == "CHECKSUM"


# In a browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if missing():
        pytest.skip(missing())
    with started() as found:
        yield found


@pytest.fixture
def page(browser: Browser, tmp_path: Path) -> Iterator[Any]:
    """Open a report; at the end nothing was asked for and the console said nothing."""

    def open_report(made: Any, width: int = 1280, scheme: str = "light") -> Browser:
        path = tmp_path / "report.html"
        path.write_text(render(made), "utf-8")
        browser.size(width, 900)
        browser.prefer(scheme)
        browser.open(path)
        return browser

    browser.messages()
    browser.requests()
    yield open_report
    assert browser.messages() == []
    asked = {address for address in browser.requests() if not address.startswith("data:,")}
    assert asked == {(tmp_path / "report.html").as_uri()}


MAP = "document.querySelector('.map')"
TABS = "return [...document.querySelectorAll('.tab')].map(e => e.textContent)"
CHOSEN = "return document.querySelector('.tab[aria-selected=true]').textContent"
CRUMBS = "return [...document.querySelectorAll('.crumbs li')].map(e => e.textContent)"
CELLS = "return [...document.querySelectorAll('.cell')].map(e => e.getAttribute('aria-label'))"
FIRST = "return [...document.querySelectorAll('tbody tr td:first-child')].map(e => e.textContent)"
FOCUS = "return document.activeElement.getAttribute('aria-label')"


def column(at: int) -> str:
    cells = f"document.querySelectorAll('tbody tr td:nth-child({at})')"
    return f"return [...{cells}].map(e => e.textContent)"


def test_a_click_goes_down_and_the_path_leads_back(page: Any) -> None:
    made = full()
    there = page(made)
    largest = max(made["layers"], key=lambda row: row["bytes"])
    assert there.run(CRUMBS) == ["model.dcf"]
    there.click(f".cell[aria-label^='{largest['name']},']")
    assert there.run(CRUMBS) == ["model.dcf", largest["name"]]
    biggest, size = max(largest["purposes"].items(), key=lambda item: item[1])
    assert there.run(CELLS)[0].startswith(f"{biggest}, {size:,} bytes")
    panel = there.run("return document.querySelector('.panel').innerText")
    assert largest["name"] in panel
    assert f"{largest['bytes']:,} B" in panel
    there.click(".cell")  # a purpose is the end
    assert len(there.run(CRUMBS)) == 2
    there.click(".crumbs button")
    assert there.run(CRUMBS) == ["model.dcf"]
    assert len(there.run(CELLS)) == 13


def test_the_cells_have_the_areas_of_their_bytes_and_do_not_overlap(page: Any) -> None:
    made = full()
    there = page(made)
    boxes = there.run(
        "return [...document.querySelectorAll('.cell')].map(e => [e.offsetLeft, e.offsetTop,"
        " e.offsetWidth + 1.5, e.offsetHeight + 1.5, parseInt(e.getAttribute('aria-label')"
        ".split(', ')[1].replaceAll(',', ''))])"
    )
    whole = there.run(
        "const m = document.querySelector('.map'); return m.clientWidth * m.clientHeight"
    )
    assert sum(box[4] for box in boxes) == made["file"]["bytes"]
    for _, _, width, height, size in boxes:
        wanted = whole * size / made["file"]["bytes"]
        assert abs(width * height - wanted) < 2 * (width + height) + 4
    for a in boxes:
        for b in boxes:
            apart = a[0] + a[2] < b[0] + 4 or b[0] + b[2] < a[0] + 4
            assert a is b or apart or a[1] + a[3] < b[1] + 4 or b[1] + b[3] < a[1] + 4


def test_the_keyboard_goes_down_along_and_back(page: Any) -> None:
    there = page(full())
    there.run("document.querySelector('.cell[tabindex=\"0\"]').focus()")
    first = there.run(FOCUS)
    there.type("ArrowRight")
    second = there.run(FOCUS)
    assert second != first
    there.type("ArrowLeft")
    there.type("Enter")
    assert there.run(CRUMBS)[1] == first.split(",")[0]
    assert there.run(FOCUS) == there.run(CELLS)[0]
    there.type("Escape")
    assert there.run(CRUMBS) == ["model.dcf"]
    assert there.run(FOCUS) == first
    assert there.run("return document.querySelectorAll('.cell[tabindex=\"0\"]').length") == 1


def test_a_row_of_the_table_leads_to_its_layer(page: Any) -> None:
    there = page(full())
    name = there.run(FIRST)[0]
    there.click("tbody td:first-child button")
    assert there.run(CRUMBS)[1] == name.rpartition(".")[0]


def test_the_table_sorts_by_each_column_both_ways(page: Any) -> None:
    made = full()
    there = page(made)
    sizes = [f"{n:,}" for n in sorted((t["bytes"] for t in made["tensors"]), reverse=True)]
    assert there.run(column(5)) == sizes
    there.click("thead th:nth-child(5) button")
    assert there.run(column(5)) == sizes[::-1]
    assert there.run("return document.querySelector('th[aria-sort]').ariaSort") == "ascending"
    there.click("thead th:nth-child(1) button")
    assert there.run(FIRST) == sorted(t["name"] for t in made["tensors"])
    there.run("document.querySelector('thead th:nth-child(1) button').focus()")
    there.type("Enter")
    assert there.run(FIRST) == sorted((t["name"] for t in made["tensors"]), reverse=True)


def test_the_table_shows_what_the_filter_finds(page: Any) -> None:
    made = full()
    there = page(made)
    there.run("document.querySelector('.filter').focus()")
    there.type(*"lstm")
    wanted = {t["name"] for t in made["tensors"] if t["op"] == "LSTM"}
    assert set(there.run(FIRST)) == wanted
    assert there.run("return document.querySelector('[role=status]').textContent") == (
        f"{len(wanted)} of {len(made['tensors'])}"
    )
    there.type(*"zz")
    assert there.run(FIRST) == ["No row has this text."]


def test_every_block_of_the_report_has_a_tab(page: Any) -> None:
    there = page(full())
    seen = {}
    for at, name in enumerate(
        there.run("return [...document.querySelectorAll('.tab')].map(e => e.textContent)")
    ):
        there.click(f"#tab{at}")
        seen[name] = there.run("return document.querySelector('table').innerText")
    assert list(seen) == ["Tensors", "Compute", "Separable", "Activations", "Changes", "Budget"]
    assert "108,000" in seen["Compute"]
    assert "924,844,032" in seen["Separable"]
    assert "49.8 %" in seen["Activations"]
    assert "-320" in seen["Changes"]
    assert "take bits = 4" in seen["Budget"]
    there.type("ArrowRight")
    assert (
        there.run("return document.querySelector('.tab[aria-selected=true]').textContent")
        == "Tensors"
    )


BACKGROUND = "return getComputedStyle(document.body).backgroundColor"


def test_dark_mode_follows_the_system_and_the_switch(page: Any) -> None:
    there = page(full(), scheme="dark")
    dark = there.run(BACKGROUND)
    there.click(".switch")
    light = there.run(BACKGROUND)
    assert dark != light
    there.prefer("light")
    there = page(full(), scheme="light")
    assert there.run(BACKGROUND) == light
    there.click(".switch")
    assert there.run(BACKGROUND) == dark


def test_colours_by_a_measure_are_from_its_least_to_its_greatest(page: Any) -> None:
    made = full()
    for row in made["tensors"]:
        row["zeros"] = row["elements"] * row["index"] // len(made["tensors"])
    there = page(made)
    there.run(
        "const s = document.querySelector('.shade select'); s.value = 'zeros';"
        "s.dispatchEvent(new Event('change'))"
    )
    found = there.run(
        "return [...document.querySelectorAll('.cell')].map(e =>"
        " [e.getAttribute('aria-label').split(',')[0], e.style.background])"
    )
    shades = {name: shade for name, shade in found if name != "container"}
    first, last = made["layers"][0]["name"], made["layers"][-1]["name"]
    assert (shades[first], shades[last]) == ("var(--r0)", "var(--r4)")
    assert set(shades.values()) == {f"var(--r{i})" for i in range(5)}
    assert "not measured" in there.run("return document.querySelector('.legend').textContent")
    assert there.run(CONTRAST) == []
    there.click(".cell")
    assert there.run(CRUMBS)[1:]


CONTRAST = """
const lum = (c) => c.match(/\\d+/g).slice(0, 3).map(Number).map((v) => v / 255)
  .map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
  .reduce((t, v, i) => t + v * [0.2126, 0.7152, 0.0722][i], 0);
const back = (e) => { for (; e; e = e.parentElement) {
  const c = getComputedStyle(e).backgroundColor;
  if (!c.endsWith(', 0)')) return c; } };
const own = (e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
return [...document.querySelectorAll('main *')].filter((e) => own(e) && e.offsetParent).map((e) => {
  const [a, b] = [lum(getComputedStyle(e).color), lum(back(e))].sort((x, y) => y - x);
  return [Math.round(100 * (a + 0.05) / (b + 0.05)) / 100, e.tagName + '.' + e.className]; })
  .filter(([c]) => c < 4.5);
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out_from_what_is_behind_it(scheme: str, page: Any) -> None:
    there = page(full(), scheme=scheme)
    assert there.run(CONTRAST) == []
    there.click(".cell")
    assert there.run(CONTRAST) == []


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_no_width_needs_scrolling_sideways(width: int, page: Any) -> None:
    there = page(full(), width=width)
    page_ = "document.documentElement"
    beyond = f"return {page_}.scrollWidth - {page_}.clientWidth"
    assert there.run(beyond) == 0
    there.click(".cell")
    assert there.run(beyond) == 0
    assert there.run("return innerWidth") == width


def test_hostile_names_are_shown_and_do_nothing(page: Any) -> None:
    there = page(report(len(HOSTILE), name=HOSTILE[0], names=list(HOSTILE)))
    assert "owned" not in there.run("return document.title").replace("document.title='owned'", "")
    assert there.run("return document.querySelectorAll('img').length") == 0
    assert "left\\u202eright\\u2066\\u200f.weight" in there.run(FIRST)
    for _ in HOSTILE:
        there.click(".cell")
        there.click(".crumbs button")


def test_five_thousand_tensors_can_be_used(page: Any) -> None:
    made = report(2500)
    there = page(made)
    assert len(there.run(FIRST)) == 200
    cells = there.run(CELLS)
    assert 2 < len(cells) < 800
    assert "layers 1 \N{EN DASH} 150" in cells[0]
    there.click(".cell")
    there.click(".cell")
    assert len(there.run(CRUMBS)) == 3
    there.click(".more")
    assert len(there.run(FIRST)) == 5000


def test_a_file_without_tensors_has_a_page(page: Any) -> None:
    made = report(1)
    made |= {"tensors": [], "layers": []}
    made["frame"] = [{"purpose": "header", "bytes": 48}]
    made["purposes"] = [{"purpose": "header", "bytes": 48, "share": 1.0}]
    made["file"]["bytes"] = 48
    made["totals"] = {"tensors": 0, "elements": 0, "zeros": 0}
    made["totals"] |= dict.fromkeys(
        ("bits_per_element", "entropy_bits", "coded_bytes", "efficiency")
    )
    assert page(made).run(CELLS) == ["container, 48 bytes, 100.0 % of the file"]
