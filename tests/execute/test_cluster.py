"""Bundles keep packs together and dependencies in order; a worker that falls silent loses its bundle, and no run."""

from collections.abc import Collection, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from netgain.errors import UserError
from netgain.execute import cluster
from netgain.execute.cluster import Bundle, bundled, drive, perform, pool_of
from netgain.execute.events import Event
from netgain.execute.slurm import _parameters
from netgain.ledger.store import Ledger
from netgain.spec.run import Runtime
from netgain.spec.study import Planned, Study, planned

BASE = {
    "model": "tiny-llama",
    "method": {"kind": "lora", "r": 2, "alpha": 4},
    "data": {"sources": {"s": {"kind": "embedded", "suite": "sentiment", "n": 24, "seed": 1}}, "dev": 4},
    "optim": {"learning_rate": 1e-3, "steps": 2, "batch": 4},
    "tasks": {"s": {"kind": "sentiment", "source": {"kind": "embedded", "suite": "sentiment", "n": 6, "seed": 2}}},
}


def study(arms: dict[str, Any], seeds: Sequence[int] = (0, 1)) -> Study:
    return Study.model_validate(
        {"name": "spread", "question": "Where?", "base": BASE, "seeds": list(seeds), "vary": {"arm": arms}}
    )


RATES = {f"lr {k}": {"optim.learning_rate": k * 1e-3} for k in range(1, 5)}


def test_arms_that_can_be_one_pack_stay_together_and_every_slot_has_work() -> None:
    runs = planned(study({"base": {"method": "none"}, **RATES}))
    whole = bundled(runs, 1)
    assert sorted(map(len, whole)) == [1, 4, 4]
    assert sorted(map(len, bundled(runs, 3))) == [1, 2, 2, 2, 2]
    assert sorted(each.sig for bundle in whole for each in bundle) == sorted(each.sig for each in runs)


class Here:
    """A pool of this process: bundles are done when they are asked after. The first `silent` of them are begun and
    never end; the first `queued` wait for a worker until they have been asked after so often."""

    def __init__(self, silent: int = 0, queued: int = 0) -> None:
        self.silent = silent
        self.queued = queued
        self.held: dict[int, ExitStack] = {}
        self.given: list[Bundle] = []
        self.cancelled: list[int] = []
        self.closed = False

    def slots(self) -> int:
        return 2

    def submit(self, bundles: Sequence[Bundle]) -> list[int]:
        for bundle in bundles:
            if len(self.given) < self.silent:
                locks = self.held[len(self.given)] = ExitStack()
                for each in bundle.runs:
                    locks.enter_context(Ledger(bundle.root).run(each.sig).claim())
            self.given.append(bundle)
        return list(range(len(self.given) - len(bundles), len(self.given)))

    def ended(self, handles: Collection[int]) -> list[tuple[int, str]]:
        self.queued -= 1
        if self.queued >= 0:
            return []
        return [(handle, perform(self.given[handle])) for handle in list(handles) if handle >= self.silent]

    def cancel(self, handle: int) -> None:
        self.cancelled.append(handle)
        if handle in self.held:
            self.held[handle].close()

    def close(self) -> None:
        self.closed = True


def driven(
    asked: Study, root: Path, pool: Here, mirror: str | None = None, silence: float | None = None
) -> list[Event]:
    told: list[Event] = []
    whole = Bundle((), root, Runtime(device="cpu", threads=1), asked, mirror)
    drive(planned(asked), whole, pool, told.append, silence)
    return told


def test_every_run_is_done_once_and_told_of(tmp_path: Path) -> None:
    asked, pool = study({"base": {"method": "none"}, **RATES}, seeds=[0]), Here()
    told = driven(asked, tmp_path, pool)
    runs = planned(asked)
    assert sorted(e.sig for e in told if e.kind == "done") == sorted(r.sig for r in runs)
    assert sorted(r.sig for b in pool.given for r in b.runs) == sorted(r.sig for r in runs)
    assert pool.closed
    assert pool.cancelled == []


def test_a_silent_worker_loses_its_bundle_and_no_run(tmp_path: Path) -> None:
    asked, pool = study({"sft": {}}), Here(silent=1)
    told = driven(asked, tmp_path, pool, silence=0.0)
    assert pool.cancelled == [0]
    assert [r.sig for r in pool.given[0].runs] == [r.sig for r in pool.given[2].runs]
    assert sum(e.kind == "done" for e in told) == 2


def test_runs_that_wait_for_a_worker_are_not_silent(tmp_path: Path) -> None:
    asked, pool = study({"sft": {}}, seeds=[0]), Here(queued=10)
    driven(asked, tmp_path, pool, silence=0.0001)
    assert pool.cancelled == []
    assert len(pool.given) == 1


def test_a_run_that_no_worker_ever_does_ends_in_one_sentence(tmp_path: Path) -> None:
    pool = Here(silent=99)
    with pytest.raises(UserError, match=f"silent {cluster.TRIES + 1} times"):
        driven(study({"sft": {}}, seeds=[0]), tmp_path, pool, silence=0.0)
    assert pool.closed


def test_workers_with_ledgers_of_their_own_bring_their_runs_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "_scratch", lambda url: tmp_path / "worker")
    asked = study({"base": {"method": "none"}, "sft": {}}, seeds=[0])
    driven(asked, tmp_path / "home", Here(), mirror=f"file://{tmp_path}/mirror")
    for each in planned(asked):
        Ledger(tmp_path / "home").run(each.sig).verify()
        assert (tmp_path / "worker" / "runs" / each.sig / "record.json").exists()


def test_what_a_worker_cannot_do_is_told_in_one_sentence(tmp_path: Path) -> None:
    asked = study(
        {"sft": {"data.sources.s": {"kind": "jsonl", "path": "gone.jsonl", "prompt": "{p}", "answer": "{a}"}}}
    )
    with pytest.raises(UserError, match=r"gone\.jsonl"):
        driven(asked, tmp_path, Here())


@pytest.mark.parametrize(
    ("text", "says"), [("kubernetes", "--on takes"), ("slurm-local:speed=9", "speed=9"), ("slurm-local:gpus=x", "gpus")]
)
def test_a_wrong_place_is_one_sentence(text: str, says: str, tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    with pytest.raises(UserError, match=says):
        pool_of(text, Runtime(), Ledger(tmp_path))


def test_options_of_the_queue_reach_it() -> None:
    assert _parameters("partition=gpu,minutes=30,gpus=1", local=False) == {
        "slurm_partition": "gpu", "timeout_min": 30, "gpus_per_node": 1
    }  # fmt: skip
    assert _parameters("partition=gpu", local=True) == {"timeout_min": 24 * 60}


def test_runs_wait_for_those_that_they_need(tmp_path: Path) -> None:
    first, second = planned(study({"sft": {}}))
    later = Planned(second.arm, second.seed, second.run, second.sig, needs=(first.sig,))
    pool = Here()
    whole = Bundle((), tmp_path, Runtime(device="cpu", threads=1), study({"sft": {}}))
    drive([later, first], whole, pool, lambda _: None)
    assert [[r.sig for r in b.runs] for b in pool.given] == [[first.sig], [second.sig]]
