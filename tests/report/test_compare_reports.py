"""Two reports side by side: the same question paired on the same items, never across different ones or with itself."""

from pathlib import Path

import pytest
from drawn import fill, study

from netgain.errors import UserError
from netgain.report.beside import Beside, beside
from netgain.report.console import console


def shown(made: Beside, capsys: pytest.CaptureFixture[str]) -> str:
    made.render(console())
    return capsys.readouterr().out


def test_two_ledgers_are_subtracted_item_by_item(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(tmp_path / "a", study(arms=("sft", "anchored"), seeds=(0, 1, 2)), 60)
    fill(tmp_path / "b", study(arms=("sft",), seeds=(0, 1)), 60)
    made = beside(str(tmp_path / "a"), str(tmp_path / "b"))
    both = [pair for pair in made.pairs if pair.difference is not None]
    assert [pair.question[0] for pair in both] == ["sft", "sft"]
    first, second, found = both[0].first, both[0].second, both[0].difference
    assert first is not None
    assert second is not None
    assert found is not None
    assert found.estimate == pytest.approx(second.verdict.estimate - first.verdict.estimate)
    assert ("seeds", "[0, 1, 2]", "[0, 1]") in made.settings
    words = shown(made, capsys)
    assert "asked on one side only" in words
    assert max(map(len, words.splitlines())) <= 100


def test_different_items_are_never_subtracted(tmp_path: Path) -> None:
    fill(tmp_path / "a", study(), 60)
    fill(tmp_path / "b", study(), 50, texts=20)
    made = {pair.question[2]: pair for pair in beside(str(tmp_path / "a"), str(tmp_path / "b")).pairs}
    assert made["label"].difference is None
    assert "different items" in made["label"].why
    assert made["text"].difference is not None


def test_a_study_is_no_news_beside_itself(tmp_path: Path) -> None:
    fill(tmp_path / "a", study(), 40)
    made = beside(str(tmp_path / "a"), f"{tmp_path / 'a'}:drawn")
    assert {pair.why for pair in made.pairs} == {"both sides rest on the same runs"}
    assert made.settings == ()
    assert made.to_json()["contrasts"][0]["difference"] is None


def test_a_study_that_is_not_there_is_named(tmp_path: Path) -> None:
    fill(tmp_path / "a", study(), 20)
    fill(tmp_path / "a", study(name="other", seeds=(4, 5)), 20)
    with pytest.raises(UserError, match="holds drawn, other; say which"):
        beside(str(tmp_path / "a"), str(tmp_path / "a"))
    with pytest.raises(UserError, match="no ledger with a study"):
        beside(str(tmp_path / "nothing"), str(tmp_path / "a"))
