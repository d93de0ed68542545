"""No numbers and no memory, at a moment of our choosing: what is lost is said, and everything else comes out the same.

The runs are made in this process, so that the fault strikes the very pass that is meant.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from harm import RUNS, fault, items, same
from torch import nn

from netgain.errors import UserError
from netgain.execute import cost
from netgain.execute.local import execute
from netgain.ledger.store import Ledger
from netgain.spec.load import load
from netgain.spec.run import Runtime
from netgain.spec.study import planned
from netgain.training import loop

pytestmark = pytest.mark.chaos
SAMPLED = """
name: sampled
question: What survives?
base:
  model: tiny-llama
  method: {kind: lora, r: 2, alpha: 4}
  data: {sources: {replies: {kind: embedded, suite: replies, n: 24, seed: 1}}, dev: 4}
  objective:
    ce: ce
    diversity: {term: {kind: diversity, embedder: hashed, prompts: 2, samples: 4, max_new_tokens: 6}, weight: 0.5}
  optim: {learning_rate: 2e-3, steps: 4, batch: 4}
  tasks: {sums: {kind: arithmetic, source: {kind: embedded, suite: arithmetic, n: 8, seed: 2}, samples: 4,
    temperature: 1.0, max_new_tokens: 6}}
"""
Hook = Callable[[nn.Module, tuple[Any, ...]], None]


def done(study: Path, ledger: Path, failed: int = 0, **runtime: Any) -> Ledger:
    settings = Runtime(**{"device": "cpu", "threads": 1, "pack": "off", **runtime})
    assert execute(load(study), Ledger(ledger), settings) == failed
    return Ledger(ledger)


@contextmanager
def no_memory(limit: int, learning: bool, times: list[int]) -> Iterator[None]:
    """A pass of more than so many rows does not fit: of those that learn, or of those that do not. The few tokens on
    which a method's cost is counted always do."""
    counted = cost.ROWS, cost.LENGTH

    def hook(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if not isinstance(module, nn.Embedding) or tuple(inputs[0].shape) == counted:
            return
        if torch.is_grad_enabled() == learning and len(inputs[0]) > limit:
            times.append(len(inputs[0]))
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    handle = nn.modules.module.register_module_forward_pre_hook(hook)
    try:
        yield
    finally:
        handle.remove()


@pytest.mark.parametrize("step", [1, 7, 16])
def test_a_nan_at_a_step_is_said_with_the_step_and_learned_by_nobody(
    step: int, study: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One hidden state of one step of one run is no number."""
    victim = next(each.sig for each in planned(load(study)) if each.run.method.learns)
    real = loop.score

    def score(training: loop.Training, made: Any, active: Any) -> Any:
        if training.arms[0].name == victim and training.step == step - 1:
            made.states.data[0, 0, 0] = float("nan")
        return real(training, made, active)

    monkeypatch.setattr(loop, "score", score)
    with fault("a NaN at a step"):
        ledger = done(study, tmp_path / "ledger", failed=1)
        run = ledger.run(victim)
        assert run.state() == "failed"
        assert run.json("failure.json")["reason"] == f"diverged at step {step}"
        assert [row["step"] for row in run.metrics() if "event" not in row] == list(range(1, step))
        assert len(items(tmp_path / "ledger")) == RUNS - 1
        monkeypatch.undo()
        ledger = done(study, tmp_path / "ledger", failed=1)  # not tried again unless asked for
        assert execute(load(study), ledger, Runtime(device="cpu", threads=1, pack="off"), redo=[victim]) == 0
        same(tmp_path / "ledger", whole)


@pytest.mark.parametrize(("pack", "limit"), [("off", 2), ("off", 1), (2, 6)])
def test_a_step_that_memory_does_not_hold_is_taken_in_parts(
    pack: str | int, limit: int, study: Path, whole: Path, tmp_path: Path
) -> None:
    times: list[int] = []
    with fault("no memory to train"), no_memory(limit, True, times):
        ledger = done(study, tmp_path / "ledger", pack=pack)
        same(tmp_path / "ledger", whole)
        halved = [run.record().get("halved") for run in ledger.runs() if (run.path / "adapter").exists()]
        if pack == "off":
            assert all(each[-1]["micro_batch"] == limit for each in halved)
            assert all(each[-1]["accumulation"] == 4 // limit for each in halved)
        assert times


@pytest.mark.parametrize("limit", [7, 2])
def test_an_evaluation_that_memory_does_not_hold_is_made_in_parts(
    limit: int, study: Path, whole: Path, tmp_path: Path
) -> None:
    times: list[int] = []
    with fault("no memory to evaluate"), no_memory(limit, False, times):
        done(study, tmp_path / "ledger")
        same(tmp_path / "ledger", whole)
        assert times
        assert any(row["retried"] for rows in items(tmp_path / "ledger").values() for row in rows)


def test_answers_that_memory_does_not_hold_are_drawn_in_parts(tmp_path: Path) -> None:
    """In training, where they are drawn, read and differentiated, and in evaluation."""
    asked, times = tmp_path / "sampled.yaml", list[int]()
    asked.write_text(SAMPLED)
    done(asked, tmp_path / "whole")
    for learning, limit in ((True, 4), (False, 4)):
        with fault("no memory to sample answers"), no_memory(limit, learning, times):
            ledger = tmp_path / f"{learning}"
            done(asked, ledger)
            same(ledger, tmp_path / "whole")
            assert times
            times.clear()


def test_a_row_that_no_memory_holds_is_one_sentence(study: Path, whole: Path, tmp_path: Path) -> None:
    with fault("no memory to train"):
        with no_memory(0, True, []), pytest.raises(UserError, match="memory does not hold"):
            done(study, tmp_path / "ledger")
        reasons = [
            run.json("failure.json")["reason"] for run in Ledger(tmp_path / "ledger").runs() if run.state() == "failed"
        ]
        assert ["2.00 GiB" in reason for reason in reasons] == [True]
        done(study, tmp_path / "ledger")
        same(tmp_path / "ledger", whole)
