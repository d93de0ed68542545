"""What an audit gives back: codes chosen and silenced, exit codes, JSON, SARIF, and a light start."""

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from netgain.audit import Severity, run
from netgain.errors import UserError

HERE = Path(__file__).parent
SWEEP = HERE / "fixtures" / "seeds" / "sweep.md"
CLEAN = HERE / "fixtures" / "clean" / "sweep.md"


def test_a_silence_with_a_reason_moves_the_finding_aside(tmp_path: Path) -> None:
    path = tmp_path / "sweep.md"
    text = SWEEP.read_text(encoding="utf-8")
    path.write_text(
        text + "\n<!-- netgain: ignore NG108, NG107 because the words are generated -->\n", encoding="utf-8"
    )
    report = run([path])
    assert not {"NG107", "NG108"} & {f.code for f in report.findings}
    assert {s.reason for s in report.silenced} == {"the words are generated"}
    assert report.to_sarif()["runs"][0]["results"][-1]["suppressions"][0]["justification"] == "the words are generated"


def test_a_sidecar_silences_sets_roles_and_n(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("who,what\nx,61.3\ny,62.0\n", encoding="utf-8")
    beside = tmp_path / "t.csv.netgain.yaml"
    beside.write_text("columns: {who: arm, what: score}\nn: 30\nignore: {NG2: no family}\n", encoding="utf-8")
    report = run([tmp_path])
    assert [f.code for f in report.findings] == ["NG202"]
    beside.write_text("ignore: {NG202: one run is all we have}\n", encoding="utf-8")
    assert [s.finding.code for s in run([path]).silenced] == ["NG202"]


def test_codes_are_chosen_by_prefix() -> None:
    assert {f.code for f in run([SWEEP], select=["NG1"]).findings} >= {"NG101", "NG108"}
    assert all(f.code.startswith("NG1") for f in run([SWEEP], select=["NG1"]).findings)
    assert "NG108" not in {f.code for f in run([SWEEP], ignore=["ng108"]).findings}
    with pytest.raises(UserError, match="no rule begins with"):
        run([SWEEP], select=["NG99"])


def test_the_exit_code_follows_the_severity() -> None:
    assert run([SWEEP]).exit_code == 1
    assert run([CLEAN], fail_on=Severity.WARNING).exit_code == 0
    assert run([SWEEP], select=["NG104"]).exit_code == 0
    assert run([SWEEP], select=["NG104"], fail_on=Severity.NOTE).exit_code == 1


def test_the_report_is_json_sarif_and_text() -> None:
    report = run([SWEEP, CLEAN])
    tree = json.loads(json.dumps(report.to_json()))
    assert tree["counts"]["error"] == sum(f["severity"] == "error" for f in tree["findings"])
    sarif = json.loads(json.dumps(report.to_sarif()))
    rules = {r["id"] for r in sarif["runs"][0]["tool"]["driver"]["rules"]}
    assert {r["ruleId"] for r in sarif["runs"][0]["results"]} == rules
    out = io.StringIO()
    report.render(Console(file=out, width=80))
    assert "NG001 error" in out.getvalue()
    assert "fix:" in out.getvalue()


def test_errors_come_first_within_a_file() -> None:
    ranks = [f.severity.rank for f in run([SWEEP]).findings]
    assert ranks == sorted(ranks)


def test_a_missing_file_is_one_sentence() -> None:
    with pytest.raises(UserError, match="no such file"):
        run(["nowhere.md"])


def test_auditing_a_document_loads_nothing_heavy() -> None:
    code = (
        f"import sys; from netgain.audit import run; run([{str(SWEEP)!r}]); "
        "sys.exit(str({'numpy', 'scipy', 'pyarrow', 'duckdb', 'pandas', 'torch'} & set(sys.modules) or ''))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).stderr in (b"", b"\n")
