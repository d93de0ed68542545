"""Summaries come from the rows alone: weighted, with missing values counted and never read as 0."""

import pytest

from netgain.ledger.items import Item
from netgain.measure.summary import summary


def item(i: int, value: float | None, metric: str = "accuracy", **more) -> Item:
    return Item("t", metric, f"i{i}", "final", value, reason=None if value is not None else "oom", **more)


def test_missing_rows_are_counted_and_leave_the_mean_alone() -> None:
    found = summary([item(0, 1.0, parsed=True), item(1, None), item(2, 0.0, parsed=False, truncated=True)])
    only = found["t", "accuracy", "final"]
    assert (only.mean, only.n, only.missing) == (0.5, 2, 1)
    assert only.parse_failures == 0.5
    assert only.truncated == 1.0


def test_nothing_but_missing_rows_has_no_mean() -> None:
    only = summary([item(0, None)])["t", "accuracy", "final"]
    assert only.mean is None
    assert only.parse_failures is None


def test_nll_is_weighted_by_tokens() -> None:
    found = summary([item(0, 2.0, "nll", weight=1), item(1, 1.0, "nll", weight=3)])
    assert found["t", "nll", "final"].mean == pytest.approx(1.25)


def test_span_f1_is_micro() -> None:
    counts = [(1, 0, 0), (0, 2, 1)]
    rows = [
        item(i, float(value), metric)
        for i, row in enumerate(counts)
        for metric, value in zip(("span_tp", "span_fp", "span_fn"), row, strict=True)
    ]
    assert summary(rows)["t", "span_f1", "final"].mean == pytest.approx(2 / (2 + 2 + 1))


def test_checkpoints_and_tasks_stay_apart() -> None:
    rows = [item(0, 1.0), Item("t", "accuracy", "i0", "base", 0.0), Item("u", "accuracy", "i0", "final", 0.0)]
    assert {key: found.mean for key, found in summary(rows).items()} == {
        ("t", "accuracy", "final"): 1.0,
        ("t", "accuracy", "base"): 0.0,
        ("u", "accuracy", "final"): 0.0,
    }
