"""A verdict on evidence with an open error says so with the code; silenced with a reason, it counts."""

import io
import json
from pathlib import Path

import pytest
from drawn import fill, study
from rich.console import Console

from netgain.report.markdown import markdown
from netgain.report.study import Report, build
from netgain.report.terminal import show_report

ASKED = study(arms=("sft", "anchored"))


def told(report: Report) -> str:
    out = io.StringIO()
    show_report(report, Console(file=out, width=80, highlight=False))
    return out.getvalue()


def drawn(folder: Path) -> Report:
    """One arm of the drawn ledger writes nothing, and is given a score for it."""
    return build(ASKED, fill(folder, ASKED, 60, lambda arm, i: "" if arm == "anchored" else f"{arm} says {i}"))


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    return drawn(tmp_path_factory.mktemp("invalid") / "ledger")


def test_an_open_error_makes_the_verdicts_that_it_touches_invalid(report: Report) -> None:
    errors = [f for f in report.findings if f.severity == "error"]
    assert {f.code for f in errors} == {"NG501"}
    touched = [
        each
        for each in report.judged
        if any(f.concerns(arm, each.task) for f in errors for arm in (each.arm, each.versus))
    ]
    others = [each for each in report.judged if each not in touched]
    assert touched
    assert others
    assert {each.word for each in touched} == {"invalid: NG501"}
    assert {each.word for each in others} == {each.verdict.word for each in others}


def test_every_form_of_the_report_says_so(report: Report) -> None:
    for text in (told(report), markdown(report)):
        assert "invalid: NG501" in text
        assert "Open findings" in text
    tree = json.loads(json.dumps(report.to_json(), default=str))
    assert {f["code"] for f in tree["findings"]} >= {"NG501"}
    assert "invalid: NG501" in {each["word"] for each in tree["contrasts"]}
    assert any("invalid: NG501" in answer for answer in tree["answers"])
    assert max(map(len, told(report).splitlines())) <= 80


def test_a_silenced_error_invalidates_nothing(tmp_path: Path) -> None:
    beside = tmp_path / "ledger.netgain.yaml"
    beside.write_text("ignore: {NG501: the outputs are drawn alike on purpose}\n", encoding="utf-8")
    report = drawn(tmp_path / "ledger")
    assert all(each.invalid == () for each in report.judged)
    assert "invalid" not in told(report)
