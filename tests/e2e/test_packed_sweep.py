"""A sweep whose arms train as packs leaves the ledger that its arms leave one by one, killed or not."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from netgain.adapters._torch.packed import PackedStudent
from netgain.data.view import View
from netgain.execute import memory
from netgain.execute.events import Event
from netgain.execute.local import work
from netgain.execute.run import Bench
from netgain.ledger.store import Ledger
from netgain.spec.load import load as load_study
from netgain.spec.run import Runtime
from netgain.spec.study import Planned, Study, planned

torch.set_num_threads(1)

STUDY = """
name: sweep
question: Does the weight of distillation matter?
base:
  model: tiny-llama
  method: {kind: lora, r: 4, alpha: 8}
  data:
    sources:
      reviews: {kind: embedded, suite: sentiment, n: 120, seed: 1}
    dev: 16
  objective:
    ce: ce
    kd: {term: {kind: kl}, weight: 0.0}
  optim: {learning_rate: 5e-3, steps: 24, batch: 8, warmup: 2}
  dev: {every: 8}
  tasks:
    sentiment: {kind: sentiment, source: {kind: embedded, suite: sentiment, n: 20, seed: 2}}
    words: {kind: sentiment, answering: generate, source: {kind: embedded, suite: sentiment, n: 12, seed: 3}}
    english: {kind: ppl, source: {kind: embedded, suite: text, n: 6, seed: 3}}
seeds: [0, 1]
vary:
  arm:
    base: {method: none}
    sft: {}
    weak: {objective.kd.weight: 0.1}
    strong: {objective.kd.weight: 1.0}
    short: {objective.kd.weight: 0.1, optim.steps: 11}
    broken: {optim.learning_rate: 1e30, optim.clip: null, optim.warmup: 0}
contrasts:
  - {arm: weak, versus: sft, task: sentiment, metric: accuracy}
"""


def command(study: Path, ledger: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "netgain", "run", str(study), "--ledger", str(ledger), *more]


def run(study: Path, ledger: Path, *more: str) -> None:
    done = subprocess.run(
        command(study, ledger, *more), capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "100"}
    )
    assert done.returncode == 1, done.stderr[-3000:] + done.stdout[-2000:]
    assert "2 failed" in done.stdout, done.stdout[-2000:]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("study") / "sweep.yaml"
    path.write_text(STUDY)
    return path


@pytest.fixture(scope="module")
def alone(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    ledger = tmp_path_factory.mktemp("alone")
    run(study, ledger, "--pack", "off")
    return ledger


def folders(ledger: Path) -> dict[str, Path]:
    return {path.name: path for path in (ledger / "runs").iterdir()}


def record(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "record.json").read_text())


def apart(a: Path, b: Path) -> float:
    x, y = (load_file(folder / "adapter_model.safetensors") for folder in (a, b))
    first, second = (torch.cat([tensors[name].flatten() for name in sorted(y)]) for tensors in (x, y))
    return float((first - second).norm() / second.norm())


def same(ledger: Path, alone: Path) -> None:
    """Every run of one ledger is the run of the other, up to rounding."""
    ours, theirs = folders(ledger), folders(alone)
    assert ours.keys() == theirs.keys()
    for sig, folder in theirs.items():
        if (folder / "failure.json").exists():
            assert json.loads((ours[sig] / "failure.json").read_text()) == json.loads(
                (folder / "failure.json").read_text()
            )
            continue
        assert not (ours[sig] / "checkpoint").exists()
        a, b = record(ours[sig]), record(folder)
        exact = ("steps", "tokens", "best_step", "initial_adapter", "trainable", "template")
        assert [a.get(name) for name in exact] == [b.get(name) for name in exact]
        if b["steps"]:
            assert apart(ours[sig] / "adapter", folder / "adapter") <= 1e-3
            assert apart(ours[sig] / "adapter-best", folder / "adapter-best") <= 1e-3
            steps = [
                [json.loads(r) for r in (f / "metrics.jsonl").read_text().splitlines()] for f in (ours[sig], folder)
            ]
            assert [(r["step"], r.get("event")) for r in steps[0]] == [(r["step"], r.get("event")) for r in steps[1]]
            assert [r["loss"] for r in steps[0]] == pytest.approx([r["loss"] for r in steps[1]], rel=1e-3)
        items = [pq.read_table(f / "items.parquet").to_pylist() for f in (ours[sig], folder)]
        key = ("task", "metric", "item", "checkpoint", "output", "prediction")
        assert [[r[k] for k in key] for r in items[0]] == [[r[k] for k in key] for r in items[1]]
        assert [r["value"] for r in items[0]] == pytest.approx([r["value"] for r in items[1]], rel=1e-3, abs=1e-4)


def test_packed_runs_are_the_runs_alone(study: Path, alone: Path, tmp_path: Path) -> None:
    run(study, tmp_path)
    packed = [record(f)["packed"] for f in folders(tmp_path).values() if (f / "adapter").exists()]
    assert packed == [5] * 8
    assert {record(f)["packed"] for f in folders(alone).values() if (f / "adapter").exists()} == {1}
    same(tmp_path, alone)


def test_kill_nine_at_random_moments_loses_and_repeats_nothing(study: Path, alone: Path, tmp_path: Path) -> None:
    draw = random.Random(4)
    done: dict[str, int] = {}
    for size in ("auto", "3", "off"):
        process = subprocess.Popen(
            command(study, tmp_path, "--pack", size),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        time.sleep(draw.uniform(6.0, 10.0))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for sig, folder in folders(tmp_path).items() if (tmp_path / "runs").exists() else ():
            sealed = folder / "record.json"
            if sealed.exists():
                assert done.setdefault(sig, sealed.stat().st_mtime_ns) == sealed.stat().st_mtime_ns
    run(study, tmp_path)
    assert all((tmp_path / "runs" / sig / "record.json").stat().st_mtime_ns == when for sig, when in done.items())
    same(tmp_path, alone)


def test_two_processes_share_the_arms_of_a_sweep(study: Path, alone: Path, tmp_path: Path) -> None:
    run(study, tmp_path, "--jobs", "2", "--pack", "2")
    same(tmp_path, alone)


def small(folder: Path) -> Study:
    """The sweep with one seed, few steps and one task."""
    path = folder / "small.yaml"
    path.write_text(
        STUDY.replace("seeds: [0, 1]", "seeds: [0]").replace("steps: 24", "steps: 4").replace("every: 8", "every: 2")
    )
    return load_study(path)


def arms(study: Study) -> list[Planned]:
    return [each for each in planned(study) if each.arm in ("sft", "weak", "strong", "short")]


def test_a_pack_that_memory_does_not_hold_is_halved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study, ledger, told = small(tmp_path), Ledger(tmp_path / "ledger"), list[Event]()
    states, asked = PackedStudent.states, list[int]()

    def scarce(self: PackedStudent, view: View) -> torch.Tensor:
        asked.append(len(self.adapters))
        if len(self.adapters) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return states(self, view)

    monkeypatch.setattr(PackedStudent, "states", scarce)
    work(arms(study), ledger, Runtime(device="cpu", threads=1, pack=4), study, told.append)
    assert asked[0] == 4
    assert set(asked[1:]) == {2}
    assert [record(ledger.run(each.sig).path)["packed"] for each in arms(study)] == [2] * 4
    assert sum(event.kind == "done" for event in told) == 4


def test_free_memory_decides_how_many_arms_train_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = small(tmp_path)
    bench = Bench(Runtime(device="cpu", threads=1), None)
    members = arms(study)
    assert bench.room(members) == 4
    assert Bench(Runtime(device="cpu", pack="off"), None).room(members) == 1
    (each,) = bench._arm_bytes.values()
    assert each is not None
    for arms_of_memory, expected in ((3.5, 3), (0.5, 1)):
        monkeypatch.setattr(memory, "available", lambda device, n=arms_of_memory: int(n * each / memory.SHARE))
        assert bench.room(members) == expected
