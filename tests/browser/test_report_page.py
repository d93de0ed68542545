"""The report in a browser: drawn, explorable, reachable by keyboard, light and dark, at both widths, silent."""

import os
import time
from pathlib import Path

import pytest

pytest.importorskip("playwright", reason="make test-browser installs it")

from drawn import fill, study
from playwright.sync_api import Browser
from test_diversity_report import asked
from test_diversity_report import fill as fill_spread
from watched import Watched

from netgain.report.html.page import render
from netgain.report.study import build
from netgain.spec.frontier import Decision

pytestmark = pytest.mark.browser

HOSTILE = '</script><script>alert(1)</script><img src=x onerror="alert(2)">\u202e'


def write(folder: Path, items: int, seeds: tuple[int, ...] = (0, 1), words: str = "") -> Path:
    asked = study(arms=("sft", "anchored", "reverse"), seeds=seeds)
    ledger = fill(folder / "ledger", asked, items, words=lambda arm, i: f"{arm} wrote answer {i} {words}")
    (folder / "report.html").write_text(render(build(asked, ledger), ledger).html, encoding="utf-8")
    return folder / "report.html"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("report"), 60, words=HOSTILE)


def test_it_is_silent_and_asks_for_nothing(watched: Watched, report: Path) -> None:
    watched.open(report)
    assert watched.complaints == []
    assert watched.requests == [report.as_uri()]


def test_it_never_scrolls_sideways(watched: Watched, report: Path) -> None:
    page = watched.open(report)
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def test_a_long_decision_breaks_into_lines(browser: Browser, tmp_path: Path) -> None:
    say = Decision(say="no evidence: keep plain fine-tuning and choose a temperature by hand")
    study = asked().model_copy(update={"decisions": (say,)})
    ledger = fill_spread(tmp_path)
    page = Watched(browser.new_context(viewport={"width": 390, "height": 900})).page
    (tmp_path / "report.html").write_text(render(build(study, ledger), ledger).html, encoding="utf-8")
    page.goto((tmp_path / "report.html").as_uri())
    wide = "[...document.querySelectorAll('.answer, .answer .verdict')].map(e => e.getBoundingClientRect().right)"
    assert len(page.evaluate(wide)) >= 4
    assert max(page.evaluate(wide)) <= 390


def test_every_chart_is_drawn_in_one_width(watched: Watched, report: Path) -> None:
    page = watched.open(report)
    boxes = page.evaluate(
        "[...document.querySelectorAll('figure')].map(f => [...f.querySelectorAll('svg')]"
        ".map(s => s.getBoundingClientRect()).filter(b => b.width > 200 && b.height > 80).length)"
    )
    assert len(boxes) >= 5
    assert set(boxes) == {1}
    sizes = page.evaluate(
        "[...document.querySelectorAll('svg text')].filter(t => t.getBoundingClientRect().width > 0)"
        ".map(t => t.getBoundingClientRect().height)"
    )
    assert min(sizes) > 9


def test_words_stay_inside_their_chart(watched: Watched, report: Path) -> None:
    page = watched.open(report)
    outside = page.evaluate(
        "[...document.querySelectorAll('svg text')].filter(t => { const b = t.getBoundingClientRect();"
        "const s = t.ownerSVGElement.getBoundingClientRect();"
        "return b.width > 0 && (b.right > s.right + 3 || b.left < s.left - 3 || b.bottom > s.bottom + 3); })"
        ".map(t => t.textContent)"
    )
    assert outside == []


def test_dark_mode_is_dark(browser: Browser, report: Path) -> None:
    shades = {}
    for scheme in ("light", "dark"):
        context = browser.new_context(color_scheme=scheme)
        page = Watched(context).open(report)
        shades[scheme] = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
        context.close()
    assert shades == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 23, 27)"}


def test_hovering_a_number_shows_what_it_rests_on(desk: Watched, report: Path) -> None:
    page = desk.open(report)
    tip = page.locator("#tip")
    assert tip.is_hidden()
    page.locator("#contrasts svg .mark").first.hover()
    words = tip.inner_text()
    assert "interval" in words
    assert "95 %" in words
    assert "n = 60" in words
    assert "task label, metric accuracy" in words
    page.mouse.move(2, 2)
    assert tip.is_hidden()


def test_the_keyboard_reaches_every_number(desk: Watched, report: Path) -> None:
    page = desk.open(report)
    first = page.locator("#answer .bound").first
    first.focus()
    assert page.locator("#tip").is_visible()
    assert first.get_attribute("aria-describedby") == "tip"
    page.keyboard.press("Escape")
    assert page.locator("#tip").is_hidden()
    page.keyboard.press("Enter")
    assert page.locator("#tip").is_visible()
    reachable = page.evaluate("[...document.querySelectorAll('.bound,.mark')].every(e => e.tabIndex === 0)")
    assert reachable


def test_the_explorer_filters_and_searches(desk: Watched, report: Path) -> None:
    page = desk.open(report)
    count = page.locator("#items-count")
    everything = count.inner_text()
    page.select_option("#items-verdict", "right to wrong")
    assert count.inner_text() != everything
    assert set(page.locator("#items-list .verdict").all_inner_texts()) == {"right to wrong"}
    page.select_option("#items-arm", "anchored")
    assert all("anchored" in words for words in page.locator("#items-list article").all_inner_texts())
    page.select_option("#items-verdict", "")
    page.fill("#items-search", "answer 17 ")
    assert set(page.locator("#items-list .gold").all_inner_texts()) == {"right answer: yes"}
    assert "of 2" in count.inner_text()
    page.fill("#items-search", "from premise 21?")
    assert set(page.locator("#items-list .asked").all_inner_texts()) == {"What follows from premise 21?"}
    page.fill("#items-search", "no answer holds this")
    assert count.inner_text() == "No item matches."


def test_hostile_answers_are_shown_as_text(desk: Watched, report: Path) -> None:
    page = desk.open(report)
    said = page.locator("#items-list .said:not(.asked)").first.inner_text()
    assert "<script>alert(1)</script>" in said
    assert "[U+202E]" in said
    assert page.locator("#items-list img, #items-list script").count() == 0
    assert desk.complaints == []


def test_it_prints_what_it_says(desk: Watched, report: Path) -> None:
    page = desk.open(report)
    page.emulate_media(media="print")
    assert page.locator("#items-list").is_hidden()
    assert page.locator("figure .wide svg").first.is_visible()
    assert len(page.pdf()) > 10_000


def test_accessibility_has_no_serious_violation(watched: Watched, report: Path) -> None:
    axe = os.environ.get("NETGAIN_AXE", "")
    if not Path(axe).is_file():
        pytest.skip("axe-core is not here: npm install axe-core, then NETGAIN_AXE=.../axe.min.js")
    page = watched.open(report)
    page.evaluate(Path(axe).read_text(encoding="utf-8"))
    found = page.evaluate("axe.run(document)")["violations"]
    serious = {f"{v['id']}: {v['nodes'][0]['html'][:200]}" for v in found if v["impact"] in ("serious", "critical")}
    assert serious == set()


def test_two_hundred_thousand_rows_open_in_three_seconds(desk: Watched, tmp_path: Path) -> None:
    file = write(tmp_path, 29_000, seeds=(0,), words="at some length, to fill the file as real answers do. " * 3)
    assert file.stat().st_size < 3_000_000
    start = time.perf_counter()
    page = desk.open(file)
    page.locator("#items-list article").first.wait_for()
    assert time.perf_counter() - start < 3
    start = time.perf_counter()
    page.fill("#items-search", "answer 12")
    assert "of" in page.locator("#items-count").inner_text()
    assert time.perf_counter() - start < 1
    assert "This file carries" in page.locator("#explorer").inner_text()
