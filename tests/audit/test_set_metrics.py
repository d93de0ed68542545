"""A metric of several answers together may reach its end; that is a warning, and a score that stands still an error."""

from dataclasses import replace
from pathlib import Path

from ledgers import make

from netgain.audit import run
from netgain.audit.finding import Finding, Severity
from netgain.ledger.items import Item


def clusters(arm: str, seed: int, item: Item) -> tuple[Item, Item]:
    """Four different answers to everything, whatever the arm."""
    return item, Item("qa", "answer_clusters", item.item, item.checkpoint, 4.0)


def defaults(arm: str, seed: int, item: Item) -> Item:
    """Every answer is read as the first label."""
    return replace(item, prediction="yes", value=float(item.label == "yes"))


def constant(root: Path) -> list[Finding]:
    return [found for found in run([root]).findings if found.code == "NG001"]


def test_a_metric_at_its_end_beside_others_that_move_is_a_warning(tmp_path: Path) -> None:
    (found,) = constant(make(tmp_path / "a", clusters))
    assert found.severity is Severity.WARNING
    assert "answer_clusters is 4" in found.evidence
    assert "other metrics move" in found.evidence


def test_a_score_that_stands_still_is_an_error(tmp_path: Path) -> None:
    assert {found.severity for found in constant(make(tmp_path / "a", defaults))} == {Severity.ERROR}
    both = make(tmp_path / "b", lambda arm, seed, item: clusters(arm, seed, defaults(arm, seed, item)))
    assert {found.severity for found in constant(both)} == {Severity.ERROR}, "nothing of the task moves"
