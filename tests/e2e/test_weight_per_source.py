"""One run over two tasks that learns a weight for each, alone and in a pack with an arm of fixed weight."""

from pathlib import Path

import torch

from netgain.execute.local import describe, work
from netgain.ledger.store import Ledger
from netgain.spec.load import load
from netgain.spec.run import Runtime
from netgain.spec.study import planned

torch.set_num_threads(1)

STUDY = """
name: two
question: Does each task want a weight of its own?
base:
  model: tiny-llama
  method: {kind: lora, r: 4, alpha: 8}
  data:
    sources:
      pos: {kind: embedded, suite: pos, n: 40, seed: 1}
      sums: {kind: embedded, suite: arithmetic, n: 40, seed: 1}
    dev: 8
  references: {teacher: {kind: few_shot, shots: 2}}
  objective:
    ce: ce
    kd:
      term: {kind: kl, reference: teacher}
      weight: {maximum: 1, initial: 0.3, every: 2, per: source}
      tokens: content
  optim: {learning_rate: 5e-3, steps: 6, batch: 8}
  tasks: {sums: {kind: arithmetic, source: {kind: embedded, suite: arithmetic, n: 4, seed: 2}}}
vary:
  arm: {learned: {}, fixed: {objective.kd.weight: 0.3}}
"""


def test_a_run_learns_a_weight_for_each_of_its_sources(tmp_path: Path) -> None:
    file = tmp_path / "two.yaml"
    file.write_text(STUDY, encoding="utf-8")
    study = load(file)
    ledger, todo = Ledger(tmp_path / "ledger"), planned(study)
    ledger.write_study(study.key, describe(study, todo))
    work(todo, ledger, Runtime(), study, lambda _: None)
    terms = {each.arm: [row["terms"] for row in ledger.run(each.sig).metrics()] for each in todo}
    assert set(terms["fixed"][0]) == {"ce", "kd"}
    assert set(terms["learned"][0]) == {"ce", "kd-pos", "kd-sums"}
    for name in ("kd-pos", "kd-sums"):
        weights = [row[name]["weight"] for row in terms["learned"]]
        assert weights[1] == weights[0]
        assert weights[2] != weights[0]
    last = terms["learned"][-1]
    assert last["kd-pos"]["weight"] != last["kd-sums"]["weight"]
