"""The stop rule ends what has certainly been lost, keeps what was not, and never hides an error."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from netgain.errors import UserError
from netgain.ledger.items import Item
from netgain.models.lm import LM
from netgain.spec.stop import Retain
from netgain.training.loop import StepRecord, Training, train
from netgain.training.retain import Guard, compare, guard, units

Make = Callable[..., Training]
Model = Callable[..., LM]


def items(values: list[float | None], metric: str = "accuracy", clusters: list[str] | None = None) -> list[Item]:
    return [
        Item(
            "t", metric, f"i{n}", "look", value, None if value is not None else "oom",
            cluster=None if clusters is None else clusters[n],
        )
        for n, value in enumerate(values)
    ]  # fmt: skip


def rule(**fields: Any) -> Retain:
    return Retain.model_validate({"task": "t", "metric": "accuracy", "margin": 0.1, "every": 2, **fields})


def watched(
    training: Training, asked: Retain, base: list[Item], at: Callable[[int], list[Item]]
) -> tuple[list[StepRecord], list[dict[str, Any]], list[int]]:
    """(the records, the looks' rows, the steps at which the arm was kept)."""
    rows: list[dict[str, Any]] = []
    kept: list[int] = []
    own = Guard(
        asked,
        measure=lambda: at(training.step),
        base=lambda: base,
        keep=lambda: kept.append(training.step),
        note=rows.append,
    )
    return list(guard(train(training), training, [own])), rows, kept


def test_a_run_that_loses_half_is_stopped_at_that_look(make: Make, model: Model) -> None:
    base = items([1.0] * 200)
    lost = items([1.0] * 100 + [0.0] * 100)
    records, rows, kept = watched(make(model(), steps=12), rule(), base, lambda step: base if step < 6 else lost)
    assert records[-1].step == 6
    assert [(row["step"], row["word"]) for row in rows] == [(2, "retained"), (4, "retained"), (6, "forgotten")]
    assert kept == [2, 4]
    assert rows[-1]["gain"] == -0.5
    assert rows[-1]["looks"] == 5


def test_a_loss_that_may_be_chance_does_not_stop_a_run(make: Make, model: Model) -> None:
    base, slightly = items([1.0] * 30), items([1.0] * 25 + [0.0] * 5)
    records, rows, kept = watched(make(model(), steps=6), rule(), base, lambda step: slightly)
    assert records[-1].step == 6
    assert [row["word"] for row in rows] == ["cannot tell"] * 2
    assert kept == [2, 4]


def test_the_watch_changes_nothing_of_the_training(make: Make, model: Model) -> None:
    base = items([1.0] * 30)
    records, _, _ = watched(make(model()), rule(), base, lambda step: base)
    assert [r.arms for r in records] == [r.arms for r in train(make(model()))]


def test_an_error_while_measuring_is_raised(make: Make, model: Model) -> None:
    def broken(step: int) -> list[Item]:
        raise RuntimeError("the benchmark is gone")

    with pytest.raises(RuntimeError, match="benchmark is gone"):
        watched(make(model()), rule(), items([1.0]), broken)
    with pytest.raises(UserError, match='no value of "accuracy"; it has nll'):
        watched(make(model()), rule(), items([1.0], "nll"), lambda step: [])


def test_losses_are_turned_round_clusters_count_once_and_missing_items_are_left_out() -> None:
    found = units(items([1.0, 0.0, None, 1.0], clusters=["a", "a", "b", "c"]), rule())
    assert found == {"a": 0.5, "c": 1.0}
    worse = compare({"x": 1.0}, {"x": 1.4}, rule(metric="nll"), 10)
    assert worse.estimate == pytest.approx(-0.4)
    assert compare({"x": 1.0, "y": 0.0}, {"x": 0.0, "z": 9.0}, rule(), 10).n == 1


def test_a_loss_beyond_the_scale_is_cut_and_a_gain_beyond_it_refused() -> None:
    nll = rule(metric="nll", scale=2.0)
    assert compare({"x": 1.0}, {"x": 9.0}, nll, 10).estimate == -1.0
    with pytest.raises(UserError, match="scale"):
        compare({"x": 9.0}, {"x": 1.0}, nll, 10)


def test_bounded_losses_of_a_model_at_its_margin_seldom_stop_it() -> None:
    """nll differences of spread 0.3 around exactly the margin, cut at the scale: false stops stay below alpha."""
    rng, asked, stops = np.random.default_rng(0), rule(metric="nll", margin=0.1, scale=1.0), 0
    for _ in range(200):
        base = {str(i): float(v) for i, v in enumerate(rng.gamma(4, 0.5, 60))}
        looks = (
            compare(
                base, {k: v + 0.1 + float(np.clip(rng.normal(0, 0.3), -0.9, 0.9)) for k, v in base.items()}, asked, 11
            )
            for _ in range(5)
        )
        stops += any(look.word == "forgotten" for look in looks)
    assert stops / 200 <= 0.05
