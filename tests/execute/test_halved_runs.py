"""A run that ran out of memory says so in its record, goes on as it was left, and has the results of any other."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from netgain.execute.local import execute
from netgain.ledger.store import Ledger, RunFolder
from netgain.spec.run import Runtime
from netgain.spec.study import Study, planned

torch.set_num_threads(1)
STUDY = Study.model_validate(
    {
        "name": "halved",
        "question": "Does it fit?",
        "base": {
            "model": "tiny-llama",
            "method": {"kind": "lora", "r": 2, "alpha": 4},
            "data": {"sources": {"s": {"kind": "embedded", "suite": "sentiment", "n": 24, "seed": 1}}, "dev": 4},
            "optim": {"learning_rate": 5e-3, "steps": 6, "batch": 8},
            "tasks": {"s": {"kind": "sentiment", "source": {"kind": "embedded", "suite": "sentiment", "n": 8}}},
        },
        "vary": {"arm": {"sft": {}}},
    }
)
RUNTIME = Runtime(device="cpu", threads=1, checkpoint_seconds=0)
RUN = planned(STUDY)[0]


@contextmanager
def memory_of(rows: int, stop_at: int | None = None) -> Iterator[None]:
    """No more than so many rows fit into a training pass; at pass number `stop_at` somebody presses Ctrl-C."""
    passes = 0

    def hook(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        nonlocal passes
        if isinstance(module, nn.Embedding) and torch.is_grad_enabled():
            passes += 1
            if passes == stop_at:
                raise KeyboardInterrupt
            if len(inputs[0]) > rows:
                raise torch.OutOfMemoryError("CUDA out of memory.")

    handle = nn.modules.module.register_module_forward_pre_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def done(ledger: Path) -> RunFolder:
    assert execute(STUDY, Ledger(ledger), RUNTIME) == 0
    return Ledger(ledger).run(RUN.sig)


def test_a_halved_run_is_recorded_resumed_and_equal(tmp_path: Path) -> None:
    whole = done(tmp_path / "whole")
    with memory_of(4, stop_at=8), pytest.raises(KeyboardInterrupt):
        done(tmp_path / "cut")
    halved = done(tmp_path / "cut")
    assert "halved" not in whole.record()
    assert halved.record()["halved"] == [{"step": 1, "micro_batch": 4, "accumulation": 2}]
    assert (halved.path / "log.txt").read_text().count("memory ran out at step 1") == 1
    ours, theirs = ([row for row in run.metrics() if "event" not in row] for run in (halved, whole))
    assert [row["loss"] for row in ours] == pytest.approx([row["loss"] for row in theirs], rel=1e-4)
    a, b = (run.items().to_pylist() for run in (halved, whole))
    assert [row["prediction"] for row in a] == [row["prediction"] for row in b]
    assert [row["value"] for row in a] == pytest.approx([row["value"] for row in b], rel=1e-3, abs=1e-4)
