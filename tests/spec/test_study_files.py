"""A study file means one thing, and a wrong one says where it is wrong."""

from pathlib import Path

import pytest
import yaml

from netgain.errors import UserError
from netgain.spec.load import load
from netgain.spec.study import Study, as_yaml, expand, planned, resolve

STUDY = """\
name: toy
question: Does a little tuning help, and does it hurt?
base:
  model: tiny-llama
  method: {kind: lora, r: 4, alpha: 8}
  data:
    sources:
      train: {kind: embedded, suite: sentiment, n: 200}
  optim:
    learning_rate: 1e-3
    steps: 20
    batch: 4
  tasks:
    sentiment: {kind: sentiment, limit: 40}
    general: {kind: ppl, limit: 10}
seeds: [0, 1]
vary:
  arm:
    base: {method: none}
    sft: {}
    wide: {method.r: 8, method.alpha: 16}
contrasts:
  - {arm: sft, versus: base, task: sentiment, metric: accuracy}
  - {arm: "*", versus: base, task: general, metric: nll, retain: 0.05}
scales:
  tiny: {base.optim.steps: 2, seeds: [7]}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "toy.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def complaint(folder: Path, old: str, new: str) -> str:
    assert old in STUDY
    with pytest.raises(UserError) as caught:
        load(write(folder, STUDY.replace(old, new)))
    return str(caught.value)


def test_yaml_and_python_are_the_same_study(tmp_path: Path) -> None:
    from_file = load(write(tmp_path, STUDY))
    from_python = Study.model_validate(yaml.safe_load(STUDY))
    assert from_file == from_python
    assert [r.sig for r in planned(from_file)] == [r.sig for r in planned(from_python)]


def test_a_study_survives_the_round_trip_through_yaml(tmp_path: Path) -> None:
    study = load(write(tmp_path, STUDY))
    again = load(write(tmp_path, as_yaml(study)))
    assert again == study
    assert as_yaml(again) == as_yaml(study)


def test_arms_are_the_points_of_the_axes_and_a_base_runs_once(tmp_path: Path) -> None:
    study = load(write(tmp_path, STUDY))
    assert [(run.arm, run.seed) for run in planned(study)] == [
        ("base", None),
        ("sft", 0),
        ("sft", 1),
        ("wide", 0),
        ("wide", 1),
    ]
    wide = expand(study)[2].run.method
    assert wide.model_dump()["r"] == 8


def test_axes_multiply_and_zipped_axes_go_together(tmp_path: Path) -> None:
    axes = "vary:\n  optim.learning_rate: [1e-3, 1e-4]\n  method.r, method.alpha: [[4, 8], [8, 16]]\n"
    text = STUDY[: STUDY.index("vary:")] + axes
    arms = expand(load(write(tmp_path, text)))
    assert len(arms) == 4
    ranks = {
        (a.run.optim.learning_rate, a.run.method.model_dump()["r"], a.run.method.model_dump()["alpha"]) for a in arms
    }
    assert ranks == {(1e-3, 4, 8), (1e-3, 8, 16), (1e-4, 4, 8), (1e-4, 8, 16)}


def test_a_scale_overrides_and_keeps_the_rest(tmp_path: Path) -> None:
    study = load(write(tmp_path, STUDY), scale="tiny")
    assert study.base.optim.steps == 2
    assert study.base.optim.batch == 4
    assert study.seeds == (7,)
    assert study.key == "toy-tiny"


def test_a_scale_takes_a_source_or_a_task_away_by_null(tmp_path: Path) -> None:
    more = "      more: {kind: embedded, suite: nli, n: 20}\n  optim:\n"
    text = STUDY.replace("  optim:\n", more, 1)
    away = "{base.optim.steps: 2, seeds: [7], base.data.sources.more: null, base.tasks.general: null"
    text = text.replace("{base.optim.steps: 2, seeds: [7]", f"{away}, contrasts: []", 1)
    path = write(tmp_path, text)
    assert list(load(path).base.data.sources) == ["train", "more"]
    at = load(path, scale="tiny").base
    assert (list(at.data.sources), list(at.tasks)) == (["train"], ["sentiment"])


def test_a_pattern_contrast_means_every_other_arm(tmp_path: Path) -> None:
    study = load(write(tmp_path, STUDY))
    pairs = resolve(study.contrasts[1], expand(study))
    assert [(a.name, b.name) for a, b in pairs] == [("sft", "base"), ("wide", "base")]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "learning_rate: 1e-3",
            "learing_rate: 1e-3",
            ["toy.yaml:10", '"learing_rate"', 'Did you mean "learning_rate"'],
        ),
        ("steps: 20", "steps: many", ["toy.yaml:11", "base.optim.steps", "steps: many"]),
        ("kind: lora, r: 4", "kind: lorra, r: 4", ["toy.yaml:5", '"lorra"', 'Did you mean "lora"']),
        ("r: 4, alpha: 8", "rank: 4, alpha: 8", ["toy.yaml:5", 'unknown field "rank"']),
        ("kind: sentiment, limit: 40", "kind: sentiment, limit: -4", ["toy.yaml:14", "limit"]),
        ("task: sentiment, metric", "task: sentimant, metric", ["toy.yaml:23", 'Did you mean "sentiment"']),
        ("arm: sft, versus: base", "arm: stf, versus: base", ["toy.yaml:23", 'Did you mean "sft"']),
        ("method.r: 8", "metod.r: 8", ["toy.yaml:21", "metod"]),
        ("kind: embedded, suite", "kind: embeded, suite", ["toy.yaml:8", "embedded"]),
        ("seeds: [0, 1]", "seeds: [1, 1]", ["toy.yaml:16", "twice"]),
        ("question: Does", "name: Does", ["toy.yaml:2", "twice"]),
        ("question: Does a", "question: [Does a", ["toy.yaml:", "not valid YAML"]),
        ("base:\n", "bass:\n", ["toy.yaml", "base"]),
    ],
)
def test_a_wrong_file_says_the_line_and_the_word(tmp_path: Path, old: str, new: str, said: list[str]) -> None:
    message = complaint(tmp_path, old, new)
    for part in said:
        assert part in message


def test_an_alias_bomb_is_refused(tmp_path: Path) -> None:
    bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
    for i, letter in enumerate("bcdefgh"):
        previous = "abcdefgh"[i]
        bomb += f"{letter}: &{letter} [" + ", ".join([f"*{previous}"] * 10) + "]\n"
    with pytest.raises(UserError, match="aliases"):
        load(write(tmp_path, bomb))
