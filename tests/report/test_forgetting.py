"""What a report may say of forgetting: planted losses are found seed by seed, judges are read as what they are."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from drawn import ENV

from netgain.ledger.items import Item
from netgain.ledger.store import Ledger
from netgain.report.forgetting import Forgetting
from netgain.report.html.page import Rendered, render
from netgain.report.markdown import markdown
from netgain.report.study import Report, build
from netgain.report.terminal import console, show_report
from netgain.spec.study import Planned, Study, planned

ITEMS, QUESTIONS, SEEDS = 60, 10, (0, 1, 2)
LOST = {"loose": (0.0, 0.0, 0.4), "held": (0.0, 0.0, 0.0)}
"""Share of the items on which each seed of an arm is wrong where the base was right."""
DRIFT = {"loose": 2.0, "held": 0.1}


def study() -> Study:
    source = {"kind": "embedded", "suite": "sentiment", "n": 40, "seed": 1}
    judges = {"reward": {"kind": "reward", "model": "./judge"}, "overlap": {"kind": "overlap"}}
    return Study.model_validate(
        {
            "name": "kept",
            "question": "Is it kept?",
            "base": {
                "model": "tiny-llama",
                "method": "lora",
                "data": {"sources": {"rows": source, "more": {**source, "seed": 3}}, "mixture": {"rows": 1, "more": 1},
                         "rows": 20},
                "objective": {"ce": "ce", "anchor": {"term": "kl", "weight": 1}},
                "optim": {"learning_rate": 1e-3, "steps": 4, "batch": 4},
                "dev": {"every": 2, "best": False},
                "stop": {"task": "fact", "metric": "accuracy", "margin": 0.1, "every": 2},
                "adapter_scales": [0.5],
                "tasks": {"fact": {"kind": "sentiment", "source": {**source, "seed": 2}},
                          "chat": {"kind": "mt_bench", "path": "q.jsonl", "temperature": 1, "samples": 2,
                                   "judges": judges}},
            },
            "seeds": list(SEEDS),
            "vary": {"arm": {"base": {"method": "none"}, "loose": {"objective.anchor.weight": 0.5}, "held": {}}},
            "contrasts": [
                {"arm": "*", "versus": "base", "task": "chat", "metric": "reward"},
                {"arm": "*", "versus": "base", "task": "chat", "metric": "overlap"},
                {"arm": "*", "versus": "base", "task": "fact", "metric": "accuracy", "retain": 0.1},
            ],
        }
    )  # fmt: skip


def items(each: Planned, checkpoint: str, rng: np.random.Generator) -> list[Item]:
    right = np.arange(ITEMS) % 4 != 0
    lost = LOST[each.arm][each.seed or 0] if each.seed is not None else 0.0
    lost *= 0.0 if checkpoint == "final@0.5" else 1.0
    wrong = right & (np.arange(ITEMS) < ITEMS * lost)
    rows = [
        Item("fact", "accuracy", f"i{i:02d}", checkpoint, float(right[i] and not wrong[i]), label="yes",
             output=f"<b>{each.arm}</b> says {i}", cluster=f"c{i}", parsed=True)
        for i in range(ITEMS)
    ]  # fmt: skip
    better = 0.0 if each.seed is None else 2.0
    for q in range(QUESTIONS):
        for turn, sample in ((1, 0), (1, 1), (2, 0), (2, 1)):
            name, cluster = f"{'math' if q < 5 else 'stem'}/{q}/{turn}", f"q{q}"
            drawn = float(rng.normal(0, 0.5))
            rows.append(Item("chat", "reward", name, checkpoint, better + drawn + q, sample=sample, cluster=cluster))
            rows.append(Item("chat", "overlap", name, checkpoint, 0.0, sample=sample, cluster=cluster))
    return rows


def write(ledger: Ledger, each: Planned, index: int) -> None:
    rng = np.random.default_rng(index)
    folder = ledger.run(each.sig)
    folder.start({"arm": each.arm}, ENV)
    learns = each.seed is not None
    if learns:
        for step in (1, 2, 3, 4):
            terms = {
                "ce": {"raw": 1.0, "weight": 1.0},
                "anchor": {"raw": 0.1, "weight": 0.0 if step == 1 else 0.25 * step},
            }
            folder.append_metrics([{"step": step, "progress": step / 4, "loss": 1.0, "terms": terms, "tokens": step}])
        folder.append_metrics([{"event": "dev", "step": 4, "loss": 1.0, "kl_base": DRIFT[each.arm] + 0.01 * index}])
        counts = {"rows": 10, "more": 10}
        mixture = {
            "share": {"rows": 0.5, "more": 0.5},
            "planned": counts,
            "drawn": counts,
            "available": {"rows": 36, "more": 36},
        }
        folder.write("data.json", {"mixture": mixture})
    checkpoints = ("final", "retained", "final@0.5") if learns else ("base",)
    for checkpoint in checkpoints:
        folder.write_part(checkpoint, items(each, checkpoint, rng))
    folder.seal_items(checkpoints)
    card: dict[str, Any] = {
        "direction": "higher", "mode": "generate", "shots": 0, "chance": None, "majority": None, "labels": {},
        "items": ITEMS, "clusters": ITEMS, "ids": "a" * 64,
    }  # fmt: skip
    fact = {**card, "kind": "sentiment", "metric": "accuracy", "metrics": ["accuracy"], "binary": ["accuracy"]}
    chat = {**card, "kind": "mt_bench", "metric": "reward", "metrics": ["reward", "overlap"], "binary": []}
    folder.finish(
        {"steps": 4 if learns else 0, "template": "t" * 16, "tasks": {"fact": fact, "chat": chat}, "tokens": 400,
         "train_seconds": 2.0, "measure_seconds": 1.0, "initial_adapter": "c" * 64, "stopped_early": each.seed == 2}
    )  # fmt: skip


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
def report(filled: Ledger) -> Report:
    return build(study(), filled)


@pytest.fixture(scope="module")
def found(report: Report) -> Forgetting:
    assert report.forgetting is not None
    return report.forgetting


def test_each_seed_is_judged_alone(found: Forgetting) -> None:
    words = {each.arm: [seed.word for seed in each.seeds] for each in found.seeds}
    assert words == {"loose": ["retained", "retained", "forgotten"], "held": ["retained"] * 3}
    (loose,) = (each for each in found.seeds if each.arm == "loose")
    assert loose.tally() == "retained 2 of 3, forgotten 1 of 3"
    assert loose.seeds[2].estimate == pytest.approx(-18 / 60)


def test_flips_name_what_was_lost_and_what_both_said(found: Forgetting) -> None:
    (loose,) = (each for each in found.flips if each.arm == "loose")
    assert loose.flips.lost.estimate == pytest.approx(18 / 180)
    assert [(each.item, each.seed, each.base, each.tuned) for each in loose.lost[:2]] == [
        ("i01", 2, "<b>base</b> says 1", "<b>loose</b> says 1"),
        ("i02", 2, "<b>base</b> says 2", "<b>loose</b> says 2"),
    ]


def test_only_log_odds_become_a_win_rate_and_a_constant_score_has_no_spread(found: Forgetting) -> None:
    by_metric = {(each.arm, each.metric): each for each in found.judged}
    reward, overlap = by_metric["held", "reward"], by_metric["held", "overlap"]
    assert reward.win_rate is not None
    assert reward.win_rate.low > 0.8
    assert reward.shift is not None
    assert reward.shift.low < 2 / np.std(np.arange(10), ddof=1) < reward.shift.high, "2 is planted, 3.03 the spread"
    assert [each.name for each in reward.categories] == ["math", "stem"]
    assert overlap.win_rate is None
    assert overlap.shift is None


def test_the_noise_of_answers_is_told_from_that_of_questions(found: Forgetting) -> None:
    noise = {(each.arm, each.metric): each.parts for each in found.noise}
    base = noise["base", "reward"]
    assert base is not None
    assert base.repeat is None
    assert base.answers == 2
    assert 5 < base.question < 15
    assert 0.05 < base.answer < 0.6


def test_weights_are_shown_as_they_were_used(found: Forgetting) -> None:
    line = next(each for each in found.executed if each.arm == "held")
    assert (line.what, [mean for _, mean, _, _ in line.points]) == ("anchor", [0.0, 0.5, 0.75, 1.0])


def test_the_adapter_turned_down_is_asked_the_same_questions(found: Forgetting) -> None:
    words = {each.share: each.word for each in found.turned if each.arm == "loose" and each.metric == "accuracy"}
    assert words[0.5] == "retained"
    assert words[1.0] != "retained"


def test_drift_and_loss_are_shown_arm_by_arm_with_an_honest_interval(found: Forgetting) -> None:
    (fact,) = found.warned
    assert [arm for arm, _, _ in fact.points] == ["loose", "held"]
    assert fact.points[0][1] > 10 * fact.points[1][1]
    assert (fact.correlation.low, fact.correlation.high) == (-1, 1), "two arms prove nothing"


def test_every_checkpoint_has_a_score(report: Report) -> None:
    shown = {each.checkpoint for each in report.scores if each.arm == "held"}
    assert shown == {"final", "retained", "final@0.5"}


def test_all_three_forms_say_it(
    report: Report,
    filled: Ledger,
    capsys: pytest.CaptureFixture[str],
    uncounted: Callable[[Rendered], dict[str, str]],
) -> None:
    show_report(report, console())
    printed = capsys.readouterr().out
    made = render(report, filled)
    assert {"shares", "drift", "weights"} <= made.figures.keys()
    assert uncounted(made) == {}
    text, page = markdown(report), made.html
    for title in ("Gain against forgetting", "Seed by seed", "What the judges say", "Drift as a warning"):
        assert title in printed
        assert title in text
        assert title in page
    for title in ("From right to wrong", "The adapter turned down", "Judges by category", "Weights as executed"):
        assert title in text
        assert title in page
    assert "1 of 3" in text, "a run that was stopped early is counted"
    assert "<b>loose</b>" not in page
    assert "&lt;b&gt;loose" in page
    for figure in ("fig-drift", "fig-weights", "fig-shares"):
        assert f'id="{figure}"' in page


def test_a_study_that_keeps_nothing_has_no_such_section(filled: Ledger) -> None:
    asked = study()
    only = asked.model_copy(update={"contrasts": asked.contrasts[:2]})
    assert build(only, filled).forgetting is None
