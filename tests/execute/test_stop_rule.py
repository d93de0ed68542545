"""A stop rule that cannot be evaluated ends its run as failed: it must not look like one that found nothing."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from netgain.errors import UserError
from netgain.execute import run as executing
from netgain.execute.local import execute
from netgain.ledger.items import Item
from netgain.ledger.store import Ledger
from netgain.spec.run import Runtime
from netgain.spec.study import Study, planned

Fake = Callable[..., Iterator[Item]]


def study() -> Study:
    text = {"kind": "embedded", "suite": "text", "n": 8, "seed": 3}
    sums = {"kind": "embedded", "suite": "arithmetic", "n": 24, "seed": 1}
    return Study.model_validate(
        {
            "name": "guarded",
            "question": "Is it stopped?",
            "base": {
                "model": "tiny-llama",
                "method": {"kind": "lora", "r": 2},
                "data": {"sources": {"sums": sums}, "dev": 4},
                "optim": {"learning_rate": 1e-3, "steps": 4, "batch": 4},
                "stop": {"task": "english", "metric": "nll", "margin": 0.05, "every": 2, "scale": 4},
                "tasks": {"english": {"kind": "ppl", "source": text, "characters": 80}},
            },
        }
    )


def looked(monkeypatch: pytest.MonkeyPatch, fake: Callable[[int], list[Item] | None]) -> None:
    """The measurement number k of the rule (0 is the base) gives fake(k), or what is really measured for None."""
    real, count = executing.evaluated, iter(range(99))

    def measured(job: Any, name: str, task: str, *more: Any) -> Iterator[Item]:
        found = fake(next(count)) if name == "look" else None
        yield from real(job, name, task, *more) if found is None else found

    monkeypatch.setattr(executing, "evaluated", measured)


def test_an_error_inside_a_look_is_a_failed_run_and_is_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(k: int) -> list[Item] | None:
        if k == 1:
            raise RuntimeError("the benchmark is gone")
        return None

    looked(monkeypatch, broken)
    ledger, (each,) = Ledger(tmp_path), planned(study())
    with pytest.raises(RuntimeError, match="benchmark is gone"):
        execute(study(), ledger, Runtime(threads=1))
    folder = ledger.run(each.sig)
    assert folder.state() == "failed"
    assert "the benchmark is gone" in folder.json("failure.json")["reason"]
    assert not (folder.path / "items.parquet").exists()
    monkeypatch.undo()
    assert execute(study(), ledger, Runtime(threads=1)) == 0
    assert ledger.run(each.sig).state() == "done"


@pytest.mark.parametrize("reason", ["oom", None])
def test_a_base_that_was_not_measured_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: str | None
) -> None:
    """All its items missing, or none at all: there is nothing to compare a look with."""
    missing = [Item("english", "nll", "a", "look", None, reason)] if reason else []
    looked(monkeypatch, lambda k: missing if k == 0 else None)
    ledger, (each,) = Ledger(tmp_path), planned(study())
    with pytest.raises(UserError, match=r'stop\.metric: task english gave no value of "nll"'):
        execute(study(), ledger, Runtime(threads=1))
    assert ledger.run(each.sig).state() != "done"


def test_a_look_that_shares_no_item_with_the_base_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = [Item("english", "nll", "another text", "look", 1.0)]
    looked(monkeypatch, lambda k: other if k == 1 else None)
    with pytest.raises(UserError, match="share no measured item"):
        execute(study(), Ledger(tmp_path), Runtime(threads=1))


def test_a_run_that_keeps_everything_has_both_checkpoints_and_its_looks(tmp_path: Path) -> None:
    ledger, (each,) = Ledger(tmp_path), planned(study())
    assert execute(study(), ledger, Runtime(threads=1)) == 0
    folder = ledger.run(each.sig)
    looks = [row for row in folder.metrics() if row.get("event") == "retain"]
    assert [(row["step"], row["looks"]) for row in looks] == [(2, 1)]
    assert (folder.path / "adapter").is_dir()
    assert (folder.path / "adapter-retained").is_dir()
    shown = {row["checkpoint"] for row in folder.items().select(["checkpoint"]).to_pylist()}
    assert shown == {"final", "retained"}
    assert folder.record()["stopped_early"] is False
