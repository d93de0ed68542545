"""Prompts are kept once for all runs that asked them, sealed by their digest, and shown cut in the middle."""

from pathlib import Path

import pytest
from drawn import fill, payload, study

from netgain.ledger import prompts
from netgain.ledger.store import Corrupt, Ledger
from netgain.report.html.explorer import QUESTION
from netgain.report.html.page import render
from netgain.report.study import build

HOSTILE = "</script><script>alert(1)</script>\u202e"


def test_the_same_prompts_are_one_file(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    first = prompts.write(ledger, {"a": "one", "b": "two"})
    assert prompts.write(ledger, {"b": "two", "a": "one"}) == first
    assert prompts.write(ledger, {"a": "one"}) != first
    assert prompts.read(ledger, first) == {"a": "one", "b": "two"}
    assert len(list((tmp_path / "prompts").iterdir())) == 2


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    first, second = prompts.write(ledger, {"a": "one"}), prompts.write(ledger, {"a": "other"})
    place = tmp_path / "prompts"
    (place / f"{first}.parquet").write_bytes((place / f"{second}.parquet").read_bytes())
    with pytest.raises(Corrupt, match=first):
        prompts.read(ledger, first)
    (place / f"{first}.parquet").write_bytes(b"nothing")
    with pytest.raises(Corrupt, match=first):
        prompts.read(ledger, first)


def test_the_explorer_carries_each_prompt_once(tmp_path: Path) -> None:
    asked = study(arms=("sft", "anchored"))
    ledger = fill(tmp_path, asked, 30)
    found = payload(render(build(asked, ledger), ledger).html, "items")
    assert len(found["prompts"]["label"]) == 30
    assert {row[1] for row in found["rows"] if row[3] == "yes"} == set(found["prompts"]["label"])


def test_long_and_hostile_prompts_are_cut_and_inert(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = HOSTILE + "x" * 50_000 + "the question itself"
    monkeypatch.setattr("netgain.report.html.explorer.read", lambda ledger, digest: {"item-000001": long})
    asked = study()
    ledger = fill(tmp_path, asked, 30)
    page = render(build(asked, ledger), ledger).html
    shown = payload(page, "items")["prompts"]["label"]["item-000001"]
    assert shown.endswith("the question itself")
    assert "[U+202E]" in shown
    assert len(shown) < QUESTION + 60
    assert "<script>alert" not in page
