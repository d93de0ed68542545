"""The HTML report: self-contained, inert whatever a model wrote, every number bound, small at any size."""

import importlib
import re
import sys
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from drawn import fill, payload, study
from markupsafe import escape

from netgain.ledger.store import Ledger
from netgain.report.figures import standalone
from netgain.report.html.charts import ForestRow, Range, forest
from netgain.report.html.page import Price, Rendered, render, sections
from netgain.report.paper import write_all
from netgain.report.study import build
from netgain.report.verify import parse
from netgain.spec.study import Contrast, planned

Uncounted = Callable[[Rendered], dict[str, str]]
HOSTILE = (
    "<script>alert(1)</script>",
    '</script><img src=x onerror="alert(2)">',
    "<!-- <script> ]]> -->",
    "\u202eevil\u202c \u2066hidden\u2069 \u200b\x00\x1b[31m",
    "x" * 100_000,
    "\ud800 half a pair",
    "&lt;b&gt; {{7*7}} ${7*7} \u2028 line",
)


def made(folder: Path, **how: object) -> str:
    asked = study(arms=("sft", "anchored"))
    ledger = fill(folder, asked, 60, **how)  # type: ignore[arg-type]
    return render(build(asked, ledger), ledger).html


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    return made(tmp_path_factory.mktemp("ledger"))


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def tags(html: str) -> Iterator[tuple[str, dict[str, str | None]]]:
    reader = Tags()
    reader.feed(html)
    yield from reader.tags


def test_a_page_fetches_nothing(page: str) -> None:
    fetching = {"src", "srcset", "action", "formaction", "poster", "data", "background"}
    for tag, attributes in tags(page):
        assert not fetching & set(attributes), (tag, attributes)
        assert tag not in ("link", "iframe", "object", "embed", "base", "img")
        if tag == "a":
            assert str(attributes["href"]).startswith("#")
    assert "@import" not in page
    assert "url(" not in page
    assert [found for found in re.findall(r"https?://[^\s\"'<]+", page) if found != "http://www.w3.org/2000/svg"] == []


def test_only_our_own_script_may_run(page: str) -> None:
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)
    assert policy is not None
    assert "default-src 'none'" in policy.group(1)
    assert "unsafe" not in policy.group(1)
    scripts = [a for tag, a in tags(page) if tag == "script"]
    assert sum(a.get("type") != "application/json" for a in scripts) == 1
    assert not any(name.startswith("on") for _, a in tags(page) for name in a)
    assert not any("style" in a for _, a in tags(page))


def test_the_sections_stand_in_the_order_that_was_asked(page: str) -> None:
    found = re.findall(r'<section id="(\w+)">', page)
    order = ["answer", "completeness", "findings", "contrasts", "frontier", "curves", "flips", "gradients", "explorer"]
    assert [name for name in found if name in order] == order
    assert found[-2:] == ["cost", "provenance"]
    assert [section.name for section in sections() if section.name in found] == found


def test_an_answer_names_the_baselines_where_they_differ(tmp_path: Path) -> None:
    asked = study(arms=("sft", "anchored"))
    gained = Contrast(arm="anchored", versus="sft", task="label", metric="accuracy")
    both = asked.model_copy(update={"contrasts": (asked.contrasts[0], gained)})
    ledger = fill(tmp_path, asked, 60)
    heads = [render(build(each, ledger), ledger).html.partition('id="completeness"')[0] for each in (asked, both)]
    assert "sft against base" not in heads[0]
    assert "anchored against base" in heads[1]
    assert "anchored against sft" in heads[1]


def test_of_many_arms_those_that_lack_something_stand_open(tmp_path: Path) -> None:
    asked = study(arms=[f"arm{i}" for i in range(13)], seeds=(0,))
    ledger = fill(tmp_path, asked, 20)
    gone = next(each for each in planned(asked) if each.arm == "arm3")
    (ledger.run(gone.sig).path / "record.json").unlink()
    html = render(build(asked, ledger), ledger).html
    there = html.partition('id="completeness"')[2].partition("</section>")[0]
    opened, folded = there.partition("<details")[::2]
    assert "13 of 14 arms are complete: 13 runs done" in opened
    assert ("arm3" in opened, "arm4" in opened) == (True, False)
    assert ("arm3" in folded, "arm4" in folded) == (False, True)


def test_a_study_adds_a_section_by_adding_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_section.py").write_text(
        'PLACE, TITLE = 710, "Our own"\n\ndef section(page):\n    yield page.paragraph(page.report.study.name + "!")\n',
        encoding="utf-8",
    )
    package = importlib.import_module("netgain.report.sections")
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
    page = made(tmp_path / "ledger")
    sys.modules.pop("netgain.report.sections.own_section")
    assert '<section id="own_section"><h2>Our own</h2><p>drawn!</p></section><section id="explorer">' in page


def test_every_number_is_bound_to_what_it_rests_on(page: str) -> None:
    """Numbers stand inside bound elements; outside of them only file names, commands and headings hold digits."""
    reader = parse(page)
    basis = payload(page, "basis")
    assert set(reader.bound) <= set(basis)
    assert len(reader.bound) > 30
    for identity in reader.bound:
        assert all(basis[identity][name] for name in ("what", "said", "interval", "n", "method", "rows")), identity
    loose = [words for words in reader.loose if re.search(r"\d", words)]
    loose = [words for words in loose if not words.startswith(("netgain run", "name: drawn"))]
    assert [words for words in loose if "%" not in words and "12 digits" not in words] == []


@pytest.mark.parametrize("hostile", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_words_are_inert(tmp_path: Path, hostile: str) -> None:
    text = hostile.encode("utf-8", "replace").decode()
    page = made(tmp_path, words=lambda arm, i: f"{text} {arm} {i}")
    scripts = [a for tag, a in tags(page) if tag == "script"]
    assert sum(a.get("type") != "application/json" for a in scripts) == 1
    assert "onerror" not in [name for _, a in tags(page) for name in a]
    assert not re.search("[\u202a-\u202e\u2066-\u2069\u200b\x00\x1b]", page)
    assert len(page) < 500_000
    shown = payload(page, "items")["rows"][0][5]
    assert shown.startswith(text[:4].replace("\u202e", "[U+202E]")[:4])


def test_hostile_names_are_inert(tmp_path: Path) -> None:
    asked = study(arms=("<script>alert(1)</script>",), question="</title><script>alert(2)</script>")
    ledger = fill(tmp_path, asked, 20)
    page = render(build(asked, ledger), ledger).html
    assert "<script>alert" not in page
    drawn = [standalone(draw) for draw in render(build(asked, ledger), ledger).figures.values()]
    assert all(ElementTree.fromstring(svg) is not None for svg in drawn)


def test_the_same_ledger_gives_the_same_bytes(tmp_path: Path) -> None:
    asked = study()
    ledger = fill(tmp_path, asked, 30)
    first, second = (render(build(asked, Ledger(tmp_path)), ledger, Price(2.0)).html for _ in range(2))
    assert first == second


def test_a_large_ledger_is_sampled_and_says_so(tmp_path: Path) -> None:
    asked = study(seeds=(0,))
    ledger = fill(tmp_path, asked, 20_000, words=lambda arm, i: f"{arm} answers at some length, number {i}; " * 4)
    page = render(build(asked, ledger), ledger).html
    items = payload(page, "items")
    assert items["total"] > 20_000
    assert len(items["rows"]) < items["total"]
    assert 0 < items["shown_changed"] < len(items["rows"])
    assert len(page.encode()) < 3_000_000
    assert f"This file carries {len(items['rows']):,} of them" in page


def test_every_form_is_written_from_the_ledger_alone(tmp_path: Path) -> None:
    asked = study()
    ledger = fill(tmp_path / "ledger", asked, 30)
    path = write_all(build(asked, ledger), ledger, tmp_path / "out", tmp_path / "figures", None)
    names = {file.name for file in path.parent.iterdir()}
    assert names == {"report.html", "report.md", "report.json", "tables.tex", "frame.parquet"}
    for file in (tmp_path / "figures").glob("*.svg"):
        assert ElementTree.parse(file).getroot().tag == "{http://www.w3.org/2000/svg}svg"


def test_a_forest_row_says_its_answer_in_words() -> None:
    row = ForestRow(
        "id", "tuned against base", "task/accuracy", Range(0.1, -0.2, 0.4), 0.02, "cannot tell", "open", "points"
    )
    for width in (350, 860):
        drawn = str(forest([row], width))
        assert "cannot tell" in drawn
        assert 'data-bound="id"' in drawn


def test_every_caption_says_n_and_how_many_seeds(tmp_path: Path, uncounted: Uncounted) -> None:
    asked = study(arms=("sft", "anchored", "reverse"))
    ledger = fill(tmp_path, asked, 40)
    made = render(build(asked, ledger), ledger)
    shown = re.findall(r"<figcaption>(.*?)</figcaption>", made.html, re.DOTALL)
    assert len(shown) >= 6
    assert [re.sub("<[^>]*>", "", words) for words in shown] == [str(escape(w)) for w in made.captions.values()]
    assert uncounted(made) == {}


def test_a_line_of_a_megabyte_is_cut_and_says_how_long_it_was(tmp_path: Path) -> None:
    asked = study(seeds=(0,))
    ledger = fill(tmp_path, asked, 12, words=lambda arm, i: "<script>" + "x" * 1_000_000 if i == 3 else "short")
    page = render(build(asked, ledger), ledger).html
    assert len(page) < 500_000
    shown = next(row for row in payload(page, "items")["rows"] if row[1] == "item-000003")
    assert shown[5].endswith("(1,000,008 characters)")
