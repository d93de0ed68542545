"""A judge is trained, a study is judged by it, guarded by a stop rule, and its adapter turned down: from the shell."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from netgain.ledger.store import Ledger
from netgain.report.frame import Frame
from netgain.report.kept import benchmarks, flipped, judged
from netgain.spec.load import load
from netgain.spec.study import planned

STUDY = """
name: chat
question: Does a lesson in sums cost the manners?
base:
  model: tiny-llama
  method: {{kind: lora, r: 4, alpha: 8}}
  data: {{sources: {{sums: {{kind: embedded, suite: arithmetic, n: 60, seed: 1}}}}, dev: 8}}
  optim: {{learning_rate: 3e-2, steps: 8, batch: 8}}
  stop: {{task: english, metric: nll, margin: 0.05, every: 2, scale: 4}}
  adapter_scales: [0, 0.5]
  tasks:
    sums: {{kind: arithmetic, limit: 12, max_new_tokens: 8}}
vary:
  arm:
    base: {{method: none}}
    sft: {{}}
contrasts:
  - {{arm: sft, versus: base, task: sums, metric: accuracy}}
retention:
  versus: base
  tasks:
    english: {{kind: ppl, margin: 0.05, source: {{kind: embedded, suite: text, n: 120, seed: 3}}}}
    chat: {{kind: mt_bench, path: {folder}/questions.jsonl, max_new_tokens: 12, margin: 0.5,
           judges: {{reward: {{kind: reward, model: {folder}/judge}}}}}}
"""
QUESTIONS = [
    {"question_id": i, "category": category, "turns": [f"Tell me about the {thing}.", "And a friend of it?"]}
    for i, (category, thing) in enumerate([("writing", "dog"), ("writing", "red ball"), ("stem", "sun")])
]


def netgain(*arguments: str | Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "netgain", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "100"},
    )
    assert done.returncode == 0, done.stderr[-2000:] + done.stdout[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained judge, a study with it, and the study's finished runs."""
    folder = tmp_path_factory.mktemp("chat")
    (folder / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in QUESTIONS))
    pairs = [{"prompt": f"what is {i}?", "chosen": f"it is a fine {i} .", "rejected": "x y"} for i in range(40)]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in pairs))
    (folder / "study.yaml").write_text(STUDY.format(folder=folder))
    options = ("--encoder", "tiny-mlm", "--epochs", "2", "--learning-rate", "1e-3", "--json")
    card = json.loads(netgain("train-judge", folder / "pairs.jsonl", folder / "judge", *options))
    assert card["trained"]["accuracy"]["estimate"] > card["untrained"]["accuracy"]["estimate"] - 1e-9
    assert card["trained"]["n"] == card["pairs"]["held_out"] > 0
    netgain("run", folder / "study.yaml", "--ledger", folder / "ledger")
    return folder


def sig_of(folder: Path, arm: str) -> str:
    (sig,) = (each.sig for each in planned(load(folder / "study.yaml")) if each.arm == arm)
    return sig


def rows(folder: Path, arm: str) -> list[dict]:
    sig = sig_of(folder, arm)
    return pq.read_table(folder / "ledger" / "runs" / sig / "items.parquet").to_pylist()


def test_every_checkpoint_is_judged_on_the_same_conversations(folder: Path) -> None:
    tuned = [row for row in rows(folder, "sft") if row["task"] == "chat"]
    base = [row for row in rows(folder, "base") if row["task"] == "chat"]
    asked = {(row["metric"], row["item"]) for row in base}
    assert len(asked) == len(base) == 2 * 2 * len(QUESTIONS)
    for checkpoint in ("final", "retained", "final@0", "final@0.5"):
        found = [row for row in tuned if row["checkpoint"] == checkpoint]
        assert {(row["metric"], row["item"]) for row in found} == asked, checkpoint


def test_none_of_the_adapter_is_the_base_and_half_of_it_is_neither(folder: Path) -> None:
    def values(arm: str, checkpoint: str) -> dict[str, object]:
        return {
            row["item"]: (row["value"], row["output"])
            for row in rows(folder, arm)
            if row["checkpoint"] == checkpoint and row["metric"] in ("nll", "reward")
        }

    base = values("base", "base")
    assert values("sft", "final@0") == base
    half, final = values("sft", "final@0.5"), values("sft", "final")
    assert half != base
    assert half != final


def test_the_stop_rule_ended_what_was_lost_and_kept_what_was_not(folder: Path) -> None:
    run = folder / "ledger" / "runs" / sig_of(folder, "sft")
    metrics = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    looks = [row for row in metrics if row.get("event") == "retain"]
    steps = json.loads((run / "record.json").read_text())["steps"]
    assert looks[-1]["word"] == "forgotten", "such a learning rate costs a tiny model its English"
    assert looks[-1]["step"] == steps < 8
    assert (run / "adapter-retained").is_dir()
    losses = {
        checkpoint: sum(
            row["value"] for row in rows(folder, "sft") if row["metric"] == "nll" and row["checkpoint"] == checkpoint
        )
        for checkpoint in ("retained", "final")
    }
    assert losses["retained"] < losses["final"]


def test_report_and_audit_read_it(folder: Path) -> None:
    made = json.loads(netgain("report", folder / "study.yaml", "--ledger", folder / "ledger", "--json"))
    assert {(each["task"], each["metric"]) for each in made["contrasts"] if each["margin"]} == {
        ("english", "nll"),
        ("chat", "reward"),
    }
    assert made["retention"]["sft"]["retained"] is False
    assert "english/nll" in made["retention"]["sft"]["sentence"]
    said = subprocess.run(
        [sys.executable, "-m", "netgain", "audit", str(folder / "ledger")], capture_output=True, text=True, check=False
    )
    assert said.returncode in (0, 1), said.stderr


def test_what_lies_beneath_the_verdict_can_be_asked_for(folder: Path) -> None:
    study = load(folder / "study.yaml")
    frame = Frame(study, Ledger(folder / "ledger"))
    made = judged(frame, "sft", "base", "chat", "reward")
    assert made is not None
    assert [each.name for each in made.categories] == ["stem", "writing"]
    assert [each.n for each in made.categories] == [2, 4]
    tuned, base = by_item(folder, "sft", "final", "reward"), by_item(folder, "base", "base", "reward")
    expected = np.mean([1 / (1 + np.exp(base[item] - tuned[item])) for item in base])
    assert made.win_rate.estimate == pytest.approx(expected)
    found = flipped(frame, "sft", "base", "chat", "finished")
    assert found is not None
    tuned, base = by_item(folder, "sft", "final", "finished"), by_item(folder, "base", "base", "finished")
    lost = {item for item, value in base.items() if value == 1 and tuned[item] == 0}
    assert found.flips.lost.estimate == pytest.approx(len(lost) / 6)
    assert {each.item for each in found.lost} <= lost
    assert len(found.lost) == min(3, len(lost))
    assert list(benchmarks(study, frame)) == [], "neither retention metric here is right or wrong"


def by_item(folder: Path, arm: str, checkpoint: str, metric: str) -> dict[str, float]:
    return {
        row["item"]: row["value"]
        for row in rows(folder, arm)
        if row["metric"] == metric and row["checkpoint"] == checkpoint
    }
