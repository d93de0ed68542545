"""`netgain verify` recomputes a report: every doctored number, figure, margin, item or ledger is named."""

import json
from pathlib import Path

import pytest
from drawn import doctor, fill, study

from netgain.errors import UserError
from netgain.ledger.store import Ledger
from netgain.report.html.page import maker, render
from netgain.report.study import build
from netgain.report.verify import Verified, verify


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    return fill(tmp_path_factory.mktemp("ledger"), study(), 50)


@pytest.fixture(scope="module")
def page(ledger: Ledger) -> str:
    return render(build(study(), ledger), ledger).html


def verified(html: str, folder: Path, ledger: Path | None = None) -> Verified:
    (folder / "report.html").write_text(html, encoding="utf-8")
    return verify(folder / "report.html", ledger)


def test_an_honest_report_holds(page: str, tmp_path: Path) -> None:
    found = verified(page, tmp_path)
    assert found.problems == ()
    assert found.compared > 20


def test_a_doctored_number_is_named(page: str, ledger: Ledger, tmp_path: Path) -> None:
    score = build(study(), ledger).scores[0].estimate.estimate
    found = verified(doctor(page, f"{100 * score:.1f} %", "99.9 %"), tmp_path)
    assert any(p.identity.startswith("score/base/label/accuracy") and "99.9 %" in p.report for p in found.problems)


def test_a_doctored_verdict_is_named(page: str, tmp_path: Path) -> None:
    found = verified(doctor(page, "Of 50 items", "Of 90 items"), tmp_path)
    assert any(p.identity.startswith("contrast/sft/base/label") for p in found.problems)


def test_a_figure_drawn_otherwise_is_named(page: str, tmp_path: Path) -> None:
    start = page.index('class="dot ')
    found = verified(page[:start] + 'r="1" ' + page[start:], tmp_path)
    assert any("drawn otherwise" in p.report for p in found.problems)


def test_a_number_bound_to_nothing_is_named(page: str, tmp_path: Path) -> None:
    found = verified(doctor(page, "</main>", "<p>It gained 25 points.</p></main>"), tmp_path)
    assert [p.identity for p in found.problems] == ["words bound to nothing"]


def test_a_doctored_answer_is_named(page: str, tmp_path: Path) -> None:
    start = page.index('<span class="verdict', page.index('<section id="answer">'))
    end = page.index("</span>", start)
    word = page[page.index(">", start) + 1 : end]
    found = verified(page[: end - len(word)] + "surely" + page[end:], tmp_path)
    assert [p.identity for p in found.problems] == ["answer/Gained?"]


def test_what_hovering_says_is_verified(page: str, tmp_path: Path) -> None:
    found = verified(page.replace('"n":"n = 50', '"n":"n = 5000', 1), tmp_path)
    assert any(p.identity.startswith("basis, ") for p in found.problems)


def test_a_doctored_item_is_named(page: str, tmp_path: Path) -> None:
    found = verified(page.replace("sft wrote answer 7", "sft wrote something else", 1), tmp_path)
    assert [p.identity for p in found.problems] == ["items, rows"]


def test_a_doctored_script_is_named(page: str, tmp_path: Path) -> None:
    found = verified(page.replace('"use strict";', '"use strict";document.title="x";', 1), tmp_path)
    assert [p.identity for p in found.problems] == ["the page's script or style"]


def test_a_widened_margin_is_named(page: str, tmp_path: Path) -> None:
    found = verified(page.replace('"retain":0.05', '"retain":0.5', 1), tmp_path)
    assert "study" in [p.identity for p in found.problems]


def test_a_changed_ledger_is_named(tmp_path: Path) -> None:
    ledger = fill(tmp_path / "ledger", study(), 30)
    html = render(build(study(), ledger), ledger).html
    run = next(run for run in ledger.runs() if (run.path / "metrics.jsonl").exists())
    with (run.path / "metrics.jsonl").open("a", encoding="utf-8") as out:
        out.write(json.dumps({"step": 99, "loss": 0.0, "terms": {}}) + "\n")
    found = verified(html, tmp_path)
    assert [p.identity for p in found.problems] == [f"run {run.sig}"]
    assert "metrics.jsonl: damaged" in found.problems[0].ledger


def test_a_ledger_that_moved_is_found_by_name(page: str, tmp_path: Path, ledger: Ledger) -> None:
    moved = page.replace(str(ledger.root), "/nowhere")
    with pytest.raises(UserError, match="--ledger"):
        verified(moved, tmp_path)
    assert verified(moved, tmp_path, ledger.root).problems == ()


def test_a_study_that_cannot_be_read_is_one_sentence(page: str, tmp_path: Path) -> None:
    other = page.replace('"name":"drawn"', '"name":"nobody"', 1).replace('"kind":"lora"', '"kind":"no_such"', 1)
    with pytest.raises(UserError, match="report again"):
        verified(other, tmp_path)


def test_another_file_is_no_report(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a report"):
        verified("<html></html>", tmp_path)


def test_another_netgain_s_page_says_so_before_any_difference(page: str, ledger: Ledger, tmp_path: Path) -> None:
    older = page.replace(f'"build":"{maker()["build"]}"', '"build":"abcdef012345"', 1)
    assert next(verified(page, tmp_path).lines()).endswith(f"hold in {ledger.root}.")
    found = list(verified(older, tmp_path).lines())
    assert "written by netgain 0.1.0 (build abcdef012345)" in found[0]
    found = list(verified(doctor(older, "Of 50 items", "Of 90 items"), tmp_path).lines())
    assert "written by netgain" in found[0]
    assert found[1].startswith("contrast/sft/base/label")
    start, stop = page.index('"maker":'), page.index('"study":')
    assert "an older netgain" in next(verified(page[:start] + page[stop:], tmp_path).lines())
