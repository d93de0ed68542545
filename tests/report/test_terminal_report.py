"""The report in a terminal: at 80 columns and piped the same words, with each arm's learning in one line."""

from dataclasses import replace

import pytest
from drawn import fill, study

from netgain.audit.finding import Finding, Severity, Where
from netgain.report.markdown import markdown
from netgain.report.sparks import BLOCKS, PLAIN, learned, spark
from netgain.report.study import Report, build
from netgain.report.terminal import console, show_report


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    asked = study(arms=("sft", "anchored"))
    return build(asked, fill(tmp_path_factory.mktemp("ledger"), asked, 40))


def test_a_spark_falls_as_its_numbers_do() -> None:
    assert spark([3.0, 2.0, 1.0]) == "█▅▁"
    assert spark([1.0, 1.0]) == "▁▁"
    assert len(spark(list(range(1000)), width=24)) == 24
    heights = [BLOCKS.index(each) for each in spark(list(range(1000)))]
    assert heights == sorted(heights)


def test_every_arm_that_learned_has_a_line(report: Report) -> None:
    lines = {arm: (curve, words) for arm, curve, words in learned(report)}
    assert set(lines) == {"sft", "anchored"}
    assert lines["sft"] == ("█▃▁▁", "dev loss 1.4 to 1.1")


def test_it_fits_80_columns_and_says_the_same_when_piped(
    report: Report, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = []
    for width in ("80", "200"):
        monkeypatch.setenv("COLUMNS", width)
        show_report(report, console())
        said.append(capsys.readouterr().out)
    assert max(map(len, said[0].splitlines())) <= 80
    assert "\x1b" not in said[0]
    narrow, wide = ([line for line in each.splitlines() if "against base" in line and "? " in line] for each in said)
    assert narrow == wide
    assert len(narrow) == 4


def test_the_first_findings_of_a_kind_are_written_out_and_the_others_counted(
    report: Report, capsys: pytest.CaptureFixture[str]
) -> None:
    kinds = {("NG013", Severity.ERROR): 2, ("NG013", Severity.WARNING): 5, ("NG900", Severity.NOTE): 4}
    findings = [
        Finding(code, severity, "title", Where("ledger"), f"{severity} {i} of {code}", "mend it")
        for (code, severity), times in kinds.items()
        for i in range(times)
    ]
    show_report(replace(report, findings=tuple(findings)), console())
    said = capsys.readouterr().out
    assert [f"error {i} of NG013" in said for i in range(2)] == [True] * 2
    assert [f"warning {i} of NG013" in said for i in range(5)] == [True] * 3 + [False] * 2
    assert "and 2 more of NG013 warning." in said
    assert "4 notes besides" in said


def test_a_terminal_without_blocks_gets_plain_marks(report: Report) -> None:
    assert {mark for _, curve, _ in learned(report, PLAIN) for mark in curve} <= set(PLAIN)


def test_energy_is_said_where_it_was_read_and_nowhere_else(report: Report, capsys: pytest.CaptureFixture[str]) -> None:
    read = replace(report, cost={**report.cost, "joules": 7200.0})
    for each, wanted in ((read, True), (report, False)):
        show_report(each, console(), an_hour=2.0)
        printed = capsys.readouterr().out
        assert ("energy 2.0 Wh" in printed) is wanted
        assert ("energy 2.0 Wh" in markdown(each)) is wanted
        hours = (report.cost["train_seconds"] + report.cost["measure_seconds"]) / 3600
        assert f"price {2 * hours:,.4f}" in printed
