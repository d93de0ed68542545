"""A retention block is a short way to write tasks and contrasts, and nothing else."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from netgain.errors import UserError
from netgain.spec.load import load
from netgain.spec.study import Study, expand

LONG = """
name: keep
question: What is lost?
base:
  model: tiny-llama
  method: {kind: lora}
  data: {sources: {a: {kind: embedded, suite: sentiment, n: 20}}}
  optim: {learning_rate: 1e-3, steps: 20}
  tasks:
    sentiment: {kind: sentiment}
vary:
  arm:
    base: {method: none}
    sft: {}
contrasts:
  - {arm: sft, versus: base, task: sentiment, metric: accuracy}
"""
BLOCK = """
retention:
  versus: base
  tasks:
    english: {kind: ppl, margin: 0.05, source: {kind: embedded, suite: text, n: 30}}
    sums: {kind: arithmetic, margin: 0.02, limit: 40}
    pairs: {kind: nli, margin: 0.1, metric: label_nll, source: {kind: embedded, suite: nli, n: 30}}
scales:
  small:
    base.tasks.english.source.n: 7
"""


def study(tmp_path: Path, text: str, scale: str | None = None) -> Study:
    path = tmp_path / "study.yaml"
    path.write_text(text)
    return load(path, scale)


def test_the_block_means_its_tasks_and_contrasts(tmp_path: Path) -> None:
    short = study(tmp_path, LONG + BLOCK)
    tree: dict[str, Any] = yaml.safe_load(LONG + BLOCK)
    suite = tree.pop("retention")
    for name, each in suite["tasks"].items():
        margin, metric = each.pop("margin"), each.pop("metric", {"english": "nll", "sums": "accuracy"}.get(name))
        tree["base"]["tasks"][name] = each
        tree["contrasts"].append({"versus": "base", "task": name, "metric": metric, "retain": margin})
    assert short == study(tmp_path, yaml.safe_dump(tree, sort_keys=False))
    assert [c.metric for c in short.contrasts] == ["accuracy", "nll", "accuracy", "label_nll"]
    assert all(set(arm.run.tasks) == {"sentiment", "english", "sums", "pairs"} for arm in expand(short))


def test_it_survives_writing_and_takes_a_scales_overrides(tmp_path: Path) -> None:
    short = study(tmp_path, LONG + BLOCK)
    assert Study.model_validate(short.to_dict()) == short
    assert Study.model_validate(short.model_dump()) == short
    small = study(tmp_path, LONG + BLOCK, "small")
    assert small.base.tasks["english"].model_dump()["source"]["n"] == 7


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("margin: 0.05, ", "", "margin"),
        ("margin: 0.05", "margin: 0", "margin"),
        ("kind: ppl", "kind: ppp", "ppp"),
        ("english: {kind: ppl", "sentiment: {kind: ppl", "already"),
        ("versus: base\n  tasks", "versus: bass\n  tasks", "no arm"),
        ("limit: 40", "limmit: 40", "limmit"),
    ],
)
def test_what_is_wrong_in_it_is_named(old: str, new: str, said: str, tmp_path: Path) -> None:
    assert old in LONG + BLOCK
    with pytest.raises(UserError, match=said):
        study(tmp_path, (LONG + BLOCK).replace(old, new, 1))


STOP = "  stop: {task: sentiment, metric: accuracy, margin: 0.1, every: 5}\nvary:"


def test_a_stop_rule_that_is_never_evaluated_is_refused(tmp_path: Path) -> None:
    assert study(tmp_path, LONG.replace("vary:", STOP)).base.stop is not None
    for old, new, said in [
        ("every: 5", "every: 20", "never within 20"),
        ("metric: accuracy, margin", "metric: accurate, margin", 'gives no item a "accurate"'),
        ("task: sentiment, metric: accuracy, margin", "task: sentimant, metric: accuracy, margin", "Did you mean"),
    ]:
        with pytest.raises(UserError, match=said):
            study(tmp_path, LONG.replace("vary:", STOP.replace(old, new)))


@pytest.mark.parametrize("scales", ["[0, 0.5, 0.5]", "[-1]"])
def test_adapter_scales_are_different_shares(scales: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="shares of the adapter"):
        study(tmp_path, LONG.replace("vary:", f"  adapter_scales: {scales}\nvary:"))
