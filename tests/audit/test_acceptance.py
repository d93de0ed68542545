"""What is wrong with the five documents is found, and cited; honest documents of the same shapes stay silent."""

import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from netgain.audit import Report, run

HERE = Path(__file__).parent
LISTS = sorted((HERE / "acceptance").glob("*.yaml"))
ORIGINALS = Path(os.environ.get("NETGAIN_SEEDS", HERE.parents[2] / "shared" / "seeds"))


def found_in(report: Report, entry: dict[str, Any]) -> bool:
    return any(
        f.code == entry["code"] and all(said in f.evidence for said in entry.get("says", [])) for f in report.findings
    )


def share_found(document: Path, expected: list[dict[str, Any]]) -> tuple[float, list[str]]:
    report = run([document])
    missed = [entry["defect"] for entry in expected if not found_in(report, entry)]
    return 1 - len(missed) / len(expected), missed


def expected_of(path: Path) -> list[dict[str, Any]]:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("listed", LISTS, ids=lambda p: p.stem)
def test_defects_of_the_originals_are_found(listed: Path) -> None:
    document = ORIGINALS / f"{listed.stem}.md"
    if not document.exists():
        pytest.skip(f"{document} is not here")
    share, missed = share_found(document, expected_of(listed))
    assert share >= 0.9, missed


@pytest.mark.parametrize("listed", sorted((HERE / "fixtures" / "seeds").glob("*.yaml")), ids=lambda p: p.stem)
def test_defects_of_their_likenesses_are_found(listed: Path) -> None:
    share, missed = share_found(listed.with_suffix(".md"), expected_of(listed))
    assert share == 1, missed


@pytest.mark.parametrize("document", sorted((HERE / "fixtures" / "clean").glob("*.*")), ids=lambda p: p.name)
def test_honest_documents_have_no_error_and_no_warning(document: Path) -> None:
    loud = [f for f in run([document]).findings if f.severity != "note"]
    assert [(f.code, f.evidence) for f in loud] == []


@pytest.mark.parametrize("document", sorted((HERE / "fixtures" / "seeds").glob("*.md")), ids=lambda p: p.stem)
def test_every_finding_cites_what_it_rests_on(document: Path) -> None:
    for found in run([document], ignore=["NG39"]).findings:
        assert found.where.line > 0 or found.where.table, found
        assert re.search(r"\d|\"| with ", found.evidence), found
        assert found.evidence.rstrip('"')[-1] in ".…)" or found.evidence.endswith('"'), found.evidence
        assert len(found.evidence) < 700, found.evidence
        assert found.fix
