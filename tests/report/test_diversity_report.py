"""A diversity report: verdicts from whole frontiers, decisions that an open error keeps shut, charts of text."""

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn import ENV
from rich.console import Console

from netgain.ledger.items import Item
from netgain.ledger.store import Ledger
from netgain.report.diversity import Diversity
from netgain.report.diversity_words import blocks
from netgain.report.html.page import Rendered, render
from netgain.report.markdown import markdown
from netgain.report.paper import write_all
from netgain.report.plain_charts import Line, panels, scatter
from netgain.report.study import Report, build
from netgain.report.terminal import show_report
from netgain.spec.study import Planned, Study, planned

TEMPERATURES = (0.7, 1.0, 1.3)
LIFT = {"sft": 0.0, "wide": 0.15, "hot": 0.0}
RIGHT = {"sft": 0.2, "wide": 0.6, "hot": 0.2}
PROMPTS, TRIES = 40, 6


def asked() -> Study:
    """Three arms, one of which is more diverse at every quality and one of which is only hotter."""
    rows = {"kind": "embedded", "suite": "replies", "n": 40, "seed": 1}
    sums = {"kind": "arithmetic", "source": {"kind": "embedded", "suite": "arithmetic", "n": 40}, "samples": TRIES}
    replies = {"kind": "replies", "source": rows, "samples": 4}
    return Study.model_validate(
        {
            "name": "spread", "question": "More diverse at equal quality?",
            "base": {
                "model": "tiny-llama", "method": "lora", "data": {"sources": {"rows": rows}},
                "optim": {"learning_rate": 1e-3, "steps": 20, "batch": 4}, "tasks": {},
            },
            "seeds": [0, 1],
            "vary": {"arm": {arm: {"optim.learning_rate": 1e-3 * (i + 1)} for i, arm in enumerate(LIFT)}},
            "frontiers": {
                "open": {"versus": "sft", "task": replies, "temperatures": list(TEMPERATURES),
                         "quality": "reference_f1", "diversity": "distinct2"},
                "sums": {"versus": "sft", "task": sums, "temperatures": [0.7, 1.0], "passes": "accuracy"},
            },
            "decisions": [
                {"say": "adopt", "frontier": "open", "measure": "matched", "above": 0.02},
                {"say": "try harder", "frontier": "sums", "measure": "pass@6", "above": 0},
                {"say": "keep"},
            ],
        }
    )  # fmt: skip


def fill(root: Path, alike: str | None = None, silent: bool = False) -> Ledger:
    """Finished runs; every answer to the sums of the arm `alike` is the same one, an error to the audit."""
    ledger, study = Ledger(root), asked()
    wanted = planned(study)
    runs = [{"sig": each.sig, "arm": each.arm, "seed": each.seed} for each in wanted]
    ledger.write_study(study.key, {"name": study.name, "scale": None, "study": study.to_dict(), "runs": runs})
    for index, each in enumerate(wanted):
        _write(ledger, each, index, alike == each.arm, silent and each.arm == "hot")
    return ledger


def _write(ledger: Ledger, each: Planned, index: int, alike: bool, silent: bool) -> None:
    rng, folder = np.random.default_rng(index), ledger.run(each.sig)
    folder.start({"arm": each.arm}, ENV)
    terms = {
        "ce": {"raw": 3.0, "weight": 1.0, "grad_share": 0.6},
        "d": {"raw": -0.25, "weight": 0.3, "grad_share": 0.4},
    }
    folder.append_metrics([{"step": 1, "progress": 0.05, "loss": 2.9, "terms": terms, "lr": 1e-3, "tokens": 9}])
    items = [*_replies(each.arm, rng), *_sums(each.arm, rng, alike)]
    if silent:
        items = [replace(i, value=None, reason="too_short") if i.metric == "distinct2" else i for i in items]
    folder.write_part("final", items)
    folder.seal_items(("final",))
    tasks = {name: _card(name, [i for i in items if i.task == name]) for name in dict.fromkeys(i.task for i in items)}
    folder.finish(
        {"steps": 20, "template": "t" * 16, "tasks": tasks, "tokens": 180, "train_seconds": 36.0,
         "measure_seconds": 72.0, "sample_seconds": 9.0, "sampled_answers": 480, "sampled_tokens": 9000,
         "initial_adapter": "c" * 64}
    )  # fmt: skip


def _replies(arm: str, rng: np.random.Generator) -> list[Item]:
    easy, found = np.random.default_rng(7).normal(0, 0.05, PROMPTS), []
    for t in TEMPERATURES:
        warm = t + (0.3 if arm == "hot" else 0.0)
        for i in range(PROMPTS):
            quality = 0.9 - 0.4 * warm + easy[i]
            spread = 0.1 + 0.4 * warm + LIFT[arm] + float(rng.normal(0, 0.02))
            place = f"open-t{t:g}".replace(".", "_")
            found += [
                Item(place, "reference_f1", f"m{i}", "final", float(quality + rng.normal(0, 0.02)), sample=s,
                     label="gold", prediction=f"{arm} {s}", output=f"{arm} says {rng.integers(10**6)}", parsed=True)
                for s in range(4)
            ]  # fmt: skip
            found.append(Item(place, "distinct2", f"m{i}", "final", spread))
    return found


def _sums(arm: str, rng: np.random.Generator, alike: bool) -> list[Item]:
    found = []
    for t in ("0_7", "1"):
        for i in range(PROMPTS):
            for s in range(TRIES):
                good = not alike and bool(rng.random() < RIGHT[arm] * (0.5 + i / PROMPTS))
                told = "7" if alike else str(i) if good else str(100 + int(rng.integers(50)))
                found.append(
                    Item(f"sums-t{t}", "accuracy", f"q{i}", "final", float(good), sample=s, label=str(i),
                         prediction=told, output=told, parsed=True, truncated=False)
                )  # fmt: skip
    return found


def _card(name: str, items: list[Item]) -> dict[str, Any]:
    sums = name.startswith("sums")
    return {
        "kind": "arithmetic" if sums else "replies", "metric": "accuracy" if sums else "reference_f1",
        "metrics": sorted({i.metric for i in items}), "binary": ["accuracy"] if sums else [], "direction": "higher",
        "mode": "generate", "shots": 0, "chance": None, "majority": None, "labels": {}, "items": PROMPTS,
        "clusters": PROMPTS, "ids": "a" * 64,
    }  # fmt: skip


def told(report: Report, width: int = 100, an_hour: float | None = None) -> str:
    out = io.StringIO()
    show_report(report, Console(file=out, width=width, highlight=False), an_hour)
    return out.getvalue()


def of(report: Report) -> Diversity:
    assert report.diversity is not None
    return report.diversity


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    return fill(tmp_path_factory.mktemp("spread") / "ledger")


@pytest.fixture(scope="module")
def report(ledger: Ledger) -> Report:
    return build(asked(), ledger)


def test_a_hotter_arm_is_no_more_diverse_and_a_wider_one_is(report: Report) -> None:
    (read,) = of(report).frontiers
    assert {arm: read.word(arm) for arm, _ in read.compared} == {"wide": "more diverse", "hot": "cannot tell"}
    solved = {(each.arm, each.k): each.word for each in of(report).solved}
    assert solved == {
        ("wide", 1): "more solved", ("wide", 6): "more solved", ("hot", 1): "cannot tell", ("hot", 6): "cannot tell",
    }  # fmt: skip


def test_decisions_are_read_from_above_off_whole_intervals(report: Report) -> None:
    assert {each.arm: (each.say, each.line) for each in of(report).decided} == {
        "wide": ("adopt", 1),
        "hot": ("keep", 3),
    }
    assert any(answer.startswith("Decided? wide: adopt") for answer in report.answers())
    assert "the table declared before running" in told(report)


def test_a_table_that_was_written_after_the_runs_says_so(ledger: Ledger) -> None:
    late = asked().model_copy(update={"decisions": asked().decisions[1:]})
    report = build(late, ledger)
    assert not of(report).declared
    assert "a table that was not declared when this ran" in told(report)
    assert all("not declared" in answer for answer in report.answers() if answer.startswith("Decided"))


def test_a_frontier_without_values_is_said_to_have_none(tmp_path: Path) -> None:
    """Every set of the hot arm has no diversity: a missing number, so that nothing can be compared at all."""
    report = build(asked(), fill(tmp_path / "ledger", silent=True))
    assert of(report).unread == ("open",)
    assert {each.arm: each.say for each in of(report).decided} == {"wide": "try harder", "hot": "invalid: NG508"}
    assert "Frontiers that cannot be read" in told(report)


def test_an_open_error_keeps_the_table_shut_for_what_it_touches(tmp_path: Path) -> None:
    report = build(asked(), fill(tmp_path / "ledger", alike="hot"))
    errors = [f for f in report.findings if f.severity == "error"]
    assert {arm for f in errors for arm in f.arms} == {"hot"}
    decided = {each.arm: each for each in of(report).decided}
    assert decided["wide"].say == "adopt", "an error of another arm does not touch it"
    assert decided["hot"].say.startswith("invalid: NG")
    assert "line 2 reads sums" in decided["hot"].why
    assert {s.word.split(":")[0] for s in of(report).solved if s.arm == "hot"} == {"invalid"}
    assert "invalid: NG" in told(report)


def test_the_terminal_has_both_charts_the_verdicts_and_the_shares(report: Report) -> None:
    for width in (80, 100):
        text = told(report, width)
        assert max(map(len, text.splitlines())) <= width
        assert "a1" in text
        assert "c3" in text
        assert "░" in text
        for words in ("more diverse", "adopt", "cannot tell", "shade: 95 % over problems"):
            assert words in text
    (shares,) = [block for block in blocks(of(report)) if block[0].startswith("Share of the loss")]
    assert ["wide", "d", "0.3", "2.4 %", "40.0 %"] in shares[2]


def test_money_is_there_when_an_hour_has_a_price(report: Report, ledger: Ledger, tmp_path: Path) -> None:
    assert "money" not in told(report)
    (costs,) = [block for block in blocks(of(report), 2.5, "EUR") if block[0].startswith("What one run")]
    assert costs[2][0] == ["sft", "36.0", "9.0", "72.0", "480", "9,000", "0.0750 EUR"]
    assert "money, at 2.5" in told(report, 160, 2.5)
    page = write_all(report, ledger, tmp_path, None, 2.5).read_text(encoding="utf-8")
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    for form in (page, text):
        assert "money, at 2.5 an hour" in form
        assert "0.0750" in form
    assert "money" not in markdown(report)
    assert "wide says" in page
    assert "wide says" in markdown(report)


def test_every_caption_says_n_and_how_many_seeds(
    report: Report, ledger: Ledger, uncounted: Callable[[Rendered], dict[str, str]]
) -> None:
    made = render(report, ledger)
    assert {"tries", "diversity-open"} <= made.figures.keys()
    assert uncounted(made) == {}


def test_a_chart_puts_points_and_bands_where_they_belong() -> None:
    lines = scatter([("a1", (0.0, 0.0)), ("b1", (1.0, 1.0)), ("c1", (0.0, 0.0))], 40, 8)
    assert lines[0].endswith("b1")
    assert lines[7].split("|")[1].startswith("a1")
    assert lines[6].split("|")[1].startswith("c1"), "what would cover another stands beside it"
    drawn = panels([("x", [Line("1", [(1, 0.0), (2, 1.0)], [(0.0, 0.5), (0.5, 1.0)])])], 40, 5)
    assert drawn[1].endswith("1")
    assert drawn[5].split("|")[1].startswith("1")
    assert sum(line.count("░") for line in drawn) > 20
