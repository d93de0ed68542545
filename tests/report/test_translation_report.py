"""What a translation report may say: planted shares are found, and nothing is said where the oracle gained nothing."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from drawn import ENV

from netgain.ledger.items import Item
from netgain.ledger.store import Ledger
from netgain.report.frame import Frame
from netgain.report.html.page import Rendered, render
from netgain.report.markdown import markdown
from netgain.report.study import build
from netgain.report.translation import POOLED, Translated, read_translation
from netgain.spec.study import Planned, Study, planned

ITEMS = 60


def problem(name: str, seed: int) -> dict[str, Any]:
    source = {"kind": "embedded", "suite": "sentiment", "n": 40, "seed": seed}
    return {"name": name, "domain": "d", "metric": "label_nll", "task": {"kind": "sentiment", "source": source}}


def study() -> Study:
    return Study.model_validate(
        {
            "name": "carried",
            "question": "Is it carried over?",
            "base": {"model": "tiny-gpt2", "method": "lora", "optim": {"learning_rate": 1e-3, "steps": 3}},
            "seeds": [0, 1],
            "translation": {
                "source": "tiny-llama",
                "anchors": [problem(f"a{i}", 2 * i) for i in range(4)],
                "held_out": [problem("gap", 20), problem("none", 30)],
                "methods": ["mean", "random", "global_ridge"],
                "counts": [3, 4],
                "pools": True,
            },
        }
    )


def level(arm: str) -> float:
    """Mean nll: a gap of 1 between base and oracle, half of it recovered by ridge; no gap in the other problem."""
    if arm.startswith("none"):
        return 2.0
    return {"base": 2.0, "oracle": 1.0, "global_ridge": 1.5}.get(arm.split()[1], 2.0)


def write(ledger: Ledger, each: Planned, index: int) -> None:
    rng = np.random.default_rng(index)
    hardness = np.random.default_rng(7).normal(0, 0.3, ITEMS)
    folder = ledger.run(each.sig)
    folder.start({"arm": each.arm}, ENV)
    name = each.arm.split()[0]
    checkpoint = "base" if each.seed is None else "final"
    values = level(each.arm) + hardness + rng.normal(0, 0.05, ITEMS)
    folder.write_part("all", [Item(name, "label_nll", f"i{i:03d}", checkpoint, float(v)) for i, v in enumerate(values)])
    folder.seal_items(("all",))
    card = {
        "kind": "sentiment", "metric": "accuracy", "metrics": ["accuracy", "label_nll"], "binary": ["accuracy"],
        "direction": "higher", "mode": "likelihood", "shots": 0, "chance": 0.5, "majority": 0.5, "labels": {},
        "items": ITEMS, "clusters": ITEMS, "ids": "a" * 64,
    }  # fmt: skip
    record = {"steps": 3, "template": "t" * 16, "tasks": {name: card}, "tokens": 9, "train_seconds": 1.0,
              "measure_seconds": 1.0, "initial_adapter": "c" * 64}  # fmt: skip
    folder.finish(record | ({"built": {"selected": None}} if each.run.method.built else {}))


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    ledger = Ledger(tmp_path_factory.mktemp("ledger"))
    asked = study()
    wanted = planned(asked)
    runs = [{"sig": each.sig, "arm": each.arm, "seed": each.seed} for each in wanted]
    ledger.write_study(asked.key, {"name": asked.name, "scale": None, "study": asked.to_dict(), "runs": runs})
    for index, each in enumerate(wanted):
        write(ledger, each, index)
    return ledger


@pytest.fixture(scope="module")
def found(filled: Ledger) -> Translated:
    read = read_translation(study(), Frame(study(), filled))
    assert read is not None
    return read


def test_a_problem_whose_oracle_gained_nothing_does_not_count(found: Translated) -> None:
    assert {gate.problem: gate.open for gate in found.gates} == {"gap": True, "none": False}
    cell = next(each for each in found.methods if each.problem == "none")
    assert cell.words() == "undefined, the denominator may be zero"


def test_the_planted_share_is_inside_its_interval_and_baselines_stand_apart(found: Translated) -> None:
    ridge = next(each for each in found.methods if each.problem == POOLED)
    assert ridge.recovered is not None
    low, high = ridge.recovered.low, ridge.recovered.high
    assert low is not None
    assert high is not None
    assert low < 0.5 < high
    assert high - low < 0.1
    assert {each.how for each in found.methods} == {"global_ridge"}
    assert {each.how for each in found.baselines} == {"mean", "random"}


def test_a_method_better_than_the_mean_says_so_and_another_says_what_it_could_have_found(found: Translated) -> None:
    assert [each.verdict.word for each in found.against] == ["gain"]
    assert [value for value, _ in found.varied[0].points] == [3, 4]
    assert {each.how for each in found.pools} == {"global_ridge from d"}


def test_the_answer_is_what_the_best_method_recovers(found: Translated) -> None:
    assert found.answer is not None
    word, sentence = found.answer
    best = next(each for each in found.methods if each.problem == POOLED)
    assert word == "yes"
    assert sentence.startswith(f"Of 1 methods global_ridge recovers most of the gap, {best.words()} over all")
    assert "on gap alone" in sentence
    assert "on none alone" not in sentence
    assert best.recovered is not None
    harmed = replace(best, recovered=replace(best.recovered, estimate=-0.2, low=-0.3, high=-0.1))
    assert replace(found, methods=(harmed,)).answer == (
        "no, it harms",
        "Of 1 methods global_ridge recovers most of the gap, -20 % (-30 to -10 %) over all problems that count.",
    )
    assert replace(found, methods=()).answer is None


def test_the_three_forms_say_the_same(filled: Ledger, uncounted: Callable[[Rendered], dict[str, str]]) -> None:
    report = build(study(), filled)
    text = markdown(report)
    for words in ("## Translated adapters", "undefined, the denominator may be zero", "Experiment 3"):
        assert words in text
    assert report.to_json()["translation"]["gates"][0]["open"]
    page = render(report, filled)
    html = page.html
    assert uncounted(page) == {}
    for words in (
        "Translated adapters",
        "undefined, the denominator may be zero",
        'id="fig-translation"',
        'id="fig-transfer"',
        "Translated?",
    ):
        assert words in html
