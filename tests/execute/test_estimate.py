"""What a plan says the rest will take rests on finished runs like the missing ones, and on nothing else."""

import time
from pathlib import Path
from typing import Any

import pytest

from netgain.execute.memory import Spent
from netgain.execute.plan import make
from netgain.ledger.store import Ledger
from netgain.spec.study import Study, planned


def study(**optim: Any) -> Study:
    """Three seeds of two arms that learn, and one that does not."""
    return Study.model_validate(
        {
            "name": "timed",
            "question": "How long?",
            "base": {
                "model": "tiny-llama", "method": {"kind": "lora", "r": 2},
                "data": {"sources": {"rows": {"kind": "embedded", "suite": "sentiment", "n": 20}}, "dev": 0},
                "optim": {"learning_rate": 1e-3, "steps": 10, "batch": 2, **optim},
                "tasks": {"target": {"kind": "sentiment"}},
            },
            "seeds": [0, 1, 2],
            "vary": {"arm": {"base": {"method": "none"}, "low": {}, "high": {"optim.learning_rate": 1e-2}}},
        }
    )  # fmt: skip


def finish(ledger: Ledger, asked: Study, arm: str, seed: int | None, **record: Any) -> None:
    folder = next(ledger.run(each.sig) for each in planned(asked) if (each.arm, each.seed) == (arm, seed))
    folder.start({"run": {}}, {})
    folder.finish({"steps": 10, "template": "t", "tasks": {}, **record})


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger")


def found(asked: Study, ledger: Ledger) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("netgain.execute.plan.drifted", lambda each, folder: "")
        return make(asked, ledger).estimate


def test_nothing_is_estimated_from_nothing(ledger: Ledger) -> None:
    assert found(study(), ledger) is None


def test_other_seeds_take_what_the_first_took(ledger: Ledger) -> None:
    asked = study()
    finish(ledger, asked, "base", None, seconds=3.0, peak_mb=500.0)
    finish(ledger, asked, "low", 0, seconds=10.0, train_seconds=4.0, peak_mb=700.0)
    finish(ledger, asked, "low", 1, seconds=12.0, train_seconds=4.0, peak_mb=800.0)
    made = found(asked, ledger)
    assert made.seconds == pytest.approx(11.0 + 3 * 11.0)  # low seed 2 by its arm, high by its kind
    assert (made.peak_mb, made.runs, made.unknown) == (800.0, 4, 0)
    assert "44 s for 4 missing runs" in made.sentence


def test_another_number_of_steps_scales_the_steps_alone(ledger: Ledger) -> None:
    asked = study(steps=40)
    finish(ledger, asked, "low", 1, seconds=10.0, train_seconds=4.0, peak_mb=1.0)  # stopped after 10 steps
    assert found(asked, ledger).seconds == pytest.approx(5 * (6.0 + 4 * 4.0))


def test_what_is_kept_is_not_paid_again(ledger: Ledger) -> None:
    asked = study(steps=20)
    finish(ledger, asked, "low", 0, seconds=10.0, once_seconds=3.0, train_seconds=4.0, peak_mb=1.0)
    assert found(asked, ledger).seconds == pytest.approx(5 * (7.0 + 4.0))


def test_what_is_measured_once_is_told_apart_in_each_share() -> None:
    spent = Spent(runs=4)
    with spent.once():
        time.sleep(0.04)
    said = spent()
    assert 0.01 <= said["once_seconds"] <= said["seconds"]
    assert said["once_seconds"] < 0.04


def test_runs_that_are_like_none_are_counted_and_not_guessed(ledger: Ledger) -> None:
    asked = study()
    finish(ledger, asked, "low", 0, seconds=8.0, train_seconds=1.0, peak_mb=500.0)
    made = found(asked, ledger)
    assert (made.seconds, made.runs, made.unknown) == (40.0, 5, 1)
