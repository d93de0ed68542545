"""Study one: the file says what the seed did, and the seed's bugs are refused or found when they are put back."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from netgain.audit import run
from netgain.audit.finding import Severity
from netgain.data.chat import Template
from netgain.errors import UserError
from netgain.ledger.items import Item
from netgain.measure.evaluate import check
from netgain.models import embedded
from netgain.spec.load import load
from netgain.spec.study import Study, expand, planned
from netgain.tasks.pos import Pos

ROOT = Path(__file__).parents[2]
FILE = ROOT / "studies" / "distillation_lambda.yaml"
sys.path.insert(0, str(ROOT / "tests" / "audit"))

from ledgers import LABELS, make  # noqa: E402

LAMBDAS = (0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 1)


@pytest.fixture(scope="module")
def study() -> Study:
    return load(FILE)


def test_the_file_is_short() -> None:
    assert len(FILE.read_text(encoding="utf-8").splitlines()) < 60


def test_the_full_scale_is_the_seeds_grid(study: Study) -> None:
    arms = [arm for arm in expand(study.at("full")) if arm.coords["lambda"].startswith("lambda=")]
    assert len(arms) == 8 * 5
    assert {arm.run.objective["kd"].weight for arm in arms} == set(LAMBDAS)
    kinds = {arm.coords["task"]: next(iter(arm.run.tasks.values())).kind for arm in arms}
    assert sorted(kinds.values()) == ["ner", "nli", "paraphrase", "pos", "qa"]
    for arm in arms:
        optim = arm.run.optim
        assert (optim.learning_rate, optim.steps, optim.batch, optim.warmup) == (2e-4, 200, 16, 20)
        assert (optim.schedule, optim.weight_decay, optim.clip) == ("cosine", 0.01, 1.0)
        assert (arm.run.method.r, arm.run.method.alpha) == (16, 32)  # type: ignore[attr-defined]


def test_a_task_is_learned_from_with_the_very_prompts_that_it_measures(study: Study) -> None:
    for scale in ("tiny", "small", "full"):
        for arm in expand(study.at(scale)):
            assert arm.run.data.sources["rows"].task == next(iter(arm.run.tasks.values()))  # type: ignore[union-attr]


def test_every_scale_has_the_controls_and_two_seeds(study: Study) -> None:
    for scale, controls in (
        ("tiny", {"zero-shot", "shuffled"}),
        ("small", {"zero-shot"}),
        ("full", {"zero-shot", "shuffled"}),
    ):
        at = study.at(scale)
        assert controls <= {arm.coords["lambda"] for arm in expand(at)}
        assert len({each.seed for each in planned(at)}) >= 2
        assert sum(arm.coords["lambda"].startswith("lambda=") for arm in expand(at)) >= 4


def test_an_answer_budget_of_four_tokens_is_refused_before_anything_is_trained() -> None:
    """The seed spent all four tokens on an empty thought, and measured 56.6 % eight times."""
    from transformers import AutoTokenizer

    template = Template(AutoTokenizer.from_pretrained(embedded.path("tiny-llama")), chat=True, name="tiny-llama")
    source = {"kind": "embedded", "suite": "pos", "n": 8}
    check({"pos": Pos.model_validate({"kind": "pos", "source": source})}, template, None)
    with pytest.raises(UserError, match="max_new_tokens is 4 and the longest gold answer takes"):
        check({"pos": Pos.model_validate({"kind": "pos", "source": source, "max_new_tokens": 4})}, template, None)


def errors(root: Path) -> set[str]:
    return {found.code for found in run([root]).findings if found.severity is Severity.ERROR}


def cut_off(arm: str, seed: int, item: Item) -> Item:
    """Four tokens of an empty thought, read as "no" by a parser that guesses."""
    good = float(item.label == "no")
    return replace(item, output="<think></think>", prediction="no", parsed=True, truncated=True, tokens=4, value=good)


def rotated(arm: str, seed: int, item: Item) -> Item:
    """The model answers by the data's names, the gold labels come from a hand list that is off by one and too short."""
    if item.prediction is None:
        return item
    told = f"{item.prediction}-other"
    return replace(item, prediction=told, output=told, value=0.0)


def test_the_audit_finds_the_budget_bug_in_a_ledger_of_someone_who_guesses(tmp_path: Path) -> None:
    assert not errors(make(tmp_path / "clean"))
    assert {"NG010", "NG011"} & errors(make(tmp_path / "cut", cut_off))


def test_the_audit_finds_labels_that_are_not_the_datas(tmp_path: Path) -> None:
    assert len(LABELS) == 3
    assert "NG704" in errors(make(tmp_path / "rotated", rotated))
