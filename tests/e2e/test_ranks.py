"""Two processes under torchrun train the runs that one process trains, and only the first writes them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from netgain.training.ranks import Ranks

STUDY = """
name: ranks
question: Is a run over two processes the same run?
base:
  model: tiny-llama
  method: {kind: lora, r: 4, alpha: 8, dropout: 0.1}
  data:
    sources: {reviews: {kind: embedded, suite: sentiment, n: 60, seed: 1}}
    dev: 12
  references: {teacher: {kind: few_shot, shots: 2}}
  objective:
    ce: ce
    kd: {term: {kind: kl, reference: teacher}, weight: 0.5}
  optim: {learning_rate: 5e-3, steps: 10, batch: 5}
  dev: {every: 5}
  tasks:
    sentiment: {kind: sentiment, source: {kind: embedded, suite: sentiment, n: 12, seed: 2}}
vary:
  arm:
    base: {method: none}
    sft: {}
    more: {objective.kd.weight: 1.0}
"""


def run(study: Path, ledger: Path, processes: int) -> None:
    front = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)] if processes > 1 else []
    command = [sys.executable, *front, "-m", "netgain", "run", str(study), "--ledger", str(ledger)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=300, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr[-3000:] + done.stdout[-1000:]
    assert "3 done, 0 failed" in done.stdout


def test_two_processes_train_what_one_does(tmp_path: Path) -> None:
    study = tmp_path / "ranks.yaml"
    study.write_text(STUDY)
    one, two = tmp_path / "one", tmp_path / "two"
    run(study, one, 1)
    run(study, two, 2)
    ours, theirs = ({p.name: p for p in (ledger / "runs").iterdir()} for ledger in (two, one))
    assert ours.keys() == theirs.keys()
    for sig, folder in theirs.items():
        items = [pq.read_table(each / "items.parquet").to_pylist() for each in (ours[sig], folder)]
        assert [row["value"] for row in items[0]] == pytest.approx(
            [row["value"] for row in items[1]], rel=1e-3, abs=1e-4
        )
        if not (folder / "adapter").exists():
            continue
        steps = [
            [json.loads(line) for line in (each / "metrics.jsonl").read_text().splitlines()]
            for each in (ours[sig], folder)
        ]
        assert [row["loss"] for row in steps[0]] == pytest.approx([row["loss"] for row in steps[1]], rel=1e-4)
        assert steps[0][0]["grad_norm"] == pytest.approx(steps[1][0]["grad_norm"], rel=1e-6)
        a, b = (load_file(each / "adapter" / "adapter_model.safetensors") for each in (ours[sig], folder))
        x, y = (torch.cat([tensors[name].flatten() for name in sorted(b)]) for tensors in (a, b))
        assert float((x - y).norm() / y.norm()) < 1e-3


@pytest.mark.parametrize(("world", "parts"), [(1, 3), (2, 3), (3, 3), (4, 3), (4, 1)])
def test_every_part_counts_once_and_no_process_has_fewer_passes(world: int, parts: int) -> None:
    found = [Ranks(rank, world).parts(parts) for rank in range(world)]
    assert [sum(share for own in found for i, share in own if i == part) for part in range(parts)] == [1.0] * parts
    assert {len(own) for own in found} == {-(-parts // world)}


@pytest.mark.parametrize(("batch", "world", "asked", "rows"), [(8, 1, None, None), (8, 2, None, 4), (5, 4, None, 2),
                                                              (8, 2, 3, 3), (2, 4, None, 1)])  # fmt: skip
def test_micro_batches_are_small_enough_for_every_process(
    batch: int, world: int, asked: int | None, rows: int | None
) -> None:
    assert Ranks(0, world).rows(batch, asked) == rows
