"""A base shared out over two processes changes nothing: not what is learned, drawn, stopped and measured, nor how a run
goes on that either kind of process left."""

import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from netgain.errors import UserError
from netgain.execute import ranks
from netgain.measure.batches import out_of_memory, unyielding
from netgain.spec.load import load
from netgain.spec.run import Runtime
from netgain.spec.study import planned

STUDY = """
name: sharded
question: Is a run over a base that is shared out the same run?
base:
  model: tiny-llama
  method: {kind: lora, r: 4, alpha: 8, dropout: 0.1}
  data: {sources: {reviews: {kind: embedded, suite: sentiment, n: 60, seed: 1}}, dev: 12}
  references: {teacher: {kind: few_shot, shots: 2}}
  objective: {ce: ce, kd: {term: {kind: kl, reference: teacher}, weight: 0.5}}
  optim: {learning_rate: 5e-3, steps: 6, batch: 5}
  dev: {every: 3, patience: 2}
  tasks:
    sentiment: {kind: sentiment, source: {kind: embedded, suite: sentiment, n: 12, seed: 2}}
    english: {kind: ppl, source: {kind: embedded, suite: text, n: 6, seed: 3}}
    sums: {kind: arithmetic, source: {kind: embedded, suite: arithmetic, n: 6, seed: 2}, samples: 2, temperature: 1.0,
      max_new_tokens: 8}
vary:
  arm:
    base: {method: none}
    sft: {}
    sampled: {objective.diversity: {term: {kind: diversity, prompts: 2, samples: 3, every: 2, max_new_tokens: 8,
      embedder: hashed}, weight: 0.5}}
    stopping: {stop: {task: english, metric: nll, margin: 0.1, every: 2, scale: 4}, adapter_scales: [0.5]}
"""

CUT = """
import os, sys
from pathlib import Path
from netgain.execute import run
from netgain.execute.local import execute
from netgain.ledger.store import Ledger
from netgain.spec.load import load
from netgain.spec.run import Runtime

note = run._note
def cut(jobs, record):
    note(jobs, record)
    if record.step == 4:
        os._exit(9)
run._note = cut
several = int(os.environ.get("WORLD_SIZE", "1")) > 1
execute(load(Path(sys.argv[1])), Ledger(Path(sys.argv[2])), Runtime(checkpoint_seconds=0, pack="off", shard=several))
"""


def started(processes: int, *command: str) -> subprocess.CompletedProcess[str]:
    front = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)] if processes > 1 else []
    return subprocess.run(
        [sys.executable, *front, *command],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def run(study: Path, ledger: Path, *, shard: bool) -> None:
    more = ["--shard"] if shard else ["--pack", "off"]
    done = started(1 + shard, "-m", "netgain", "run", str(study), "--ledger", str(ledger), *more)
    assert done.returncode == 0, done.stderr[-3000:] + done.stdout[-1000:]
    assert "4 done, 0 failed" in done.stdout or "3 done, 0 failed" in done.stdout


def compare(one: Path, two: Path) -> None:
    """The same runs with the same files; items and adapters alike, to what rounding of a cut batch leaves."""
    sigs = sorted(each.name for each in (one / "runs").iterdir())
    assert sigs == sorted(each.name for each in (two / "runs").iterdir())
    for sig in sigs:
        ours, theirs = (ledger / "runs" / sig for ledger in (two, one))
        assert {each.name for each in ours.iterdir()} == {each.name for each in theirs.iterdir()}
        rows, wanted = (pq.read_table(each / "items.parquet").to_pylist() for each in (ours, theirs))
        assert [row["output"] for row in rows] == [row["output"] for row in wanted]
        assert [row["value"] for row in rows] == pytest.approx([row["value"] for row in wanted], abs=2e-5)
        if (ours / "adapter").exists():
            a, b = (load_file(each / "adapter" / "adapter_model.safetensors") for each in (ours, theirs))
            x, y = (torch.cat([tensors[name].flatten() for name in sorted(b)]) for tensors in (a, b))
            assert float((x - y).norm() / y.norm()) < 1e-4


@pytest.mark.slow
def test_a_shared_base_changes_nothing(tmp_path: Path) -> None:
    study, script = tmp_path / "sharded.yaml", tmp_path / "cut.py"
    study.write_text(STUDY)
    script.write_text(CUT)
    run(study, tmp_path / "one", shard=False)
    run(study, tmp_path / "two", shard=True)
    compare(tmp_path / "one", tmp_path / "two")
    for processes, other in ((1, True), (2, False)):
        ledger = tmp_path / f"cut by {processes}"
        assert started(processes, str(script), str(study), str(ledger)).returncode != 0
        assert list(ledger.glob("runs/*/checkpoint/state.safetensors"))
        run(study, ledger, shard=other)
        compare(tmp_path / "one", ledger)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ("method: full", "method full"),
        ("method: {kind: lora, use_dora: true}", "method lora"),
        ("model: {id: tiny-llama, quantise: 4bit}", "4 bits"),
    ],
)
def test_what_needs_the_whole_base_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str, word: str
) -> None:
    study = tmp_path / "sharded.yaml"
    study.write_text(STUDY[: STUDY.index("    sampled:")] + f"    other: {{{change}}}\n")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match=f"other: .*{word}"):
        ranks.refuse_unshardable(planned(load(study)), Runtime(shard=True))


def test_sharing_out_takes_several_processes() -> None:
    with pytest.raises(UserError, match="torchrun"):
        ranks.refuse_unshardable([], Runtime(shard=True))


def test_nobody_gives_way_alone() -> None:
    short = torch.OutOfMemoryError("CUDA out of memory.")
    with unyielding():
        assert not out_of_memory(short)
    assert out_of_memory(short)
    with pytest.raises(UserError, match="--micro-batch"), unyielding():
        raise short
    other = RuntimeError("shapes differ")
    with pytest.raises(RuntimeError, match="shapes differ"), unyielding():
        raise other
