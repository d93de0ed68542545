"""A sweep is read as a curve: dev rows choose, all levels are judged at once, and flat is called flat."""

import re
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from swept import LEVELS, fill, study

from netgain.report.figure_sweep import figure
from netgain.report.html.page import Rendered, render
from netgain.report.html.svg import NARROW, WIDE
from netgain.report.markdown import markdown
from netgain.report.study import build
from netgain.report.sweep import Curve, Sweep, number_of, ordered_axis
from netgain.stats.trend import Levels, bend_weights, sensitivity, slope_weights, symlog, trend, winners


def read(tmp_path: Path, rate, dev=lambda value, task: 1.0 + value, tasks=("nli",), items: int = 400) -> Sweep:
    asked = study(tasks=tasks)
    found = build(asked, fill(tmp_path, asked, items, rate, dev)).sweep
    assert found is not None
    return found


def only(sweep: Sweep) -> Curve:
    assert len(sweep.curves) == 1
    return sweep.curves[0]


def test_an_axis_of_numbers_is_found_and_words_on_it_are_controls() -> None:
    assert ordered_axis(study()) == "lambda"
    assert [number_of(label) for label in ("lambda=0.01", "1e-3", "zero-shot", "r")] == [0.01, 1e-3, None, None]


def test_the_axis_is_linear_to_the_threshold_and_logarithmic_above() -> None:
    assert [symlog(v) for v in (0.0, 0.005, 0.01, 0.1, 1.0)] == pytest.approx([0, 0.5, 1, 2, 3])


def test_a_flat_sweep_is_called_flat_and_every_level_wins(tmp_path: Path) -> None:
    curve = only(read(tmp_path, lambda value, task: 0.6))
    assert curve.winners.names == tuple(f"lambda={value:g}" for value in LEVELS)
    assert not curve.selection.gain
    assert curve.trend.word == "no trend seen"
    assert curve.sensitivity.word == "cannot be told from flat"
    assert curve.sensitivity.low == 0.0


def test_a_falling_sweep_falls_and_its_high_levels_lose(tmp_path: Path) -> None:
    curve = only(read(tmp_path, lambda value, task: 0.7 - 0.3 * value))
    assert curve.trend.word == "falls"
    assert curve.sensitivity.low > 0.05
    assert "lambda=0" in curve.winners.names
    assert not {"lambda=0.75", "lambda=1"} & set(curve.winners.names)
    assert {point.name: point.verdict for point in curve.points}["lambda=1"] == "loss"


def test_the_dev_rows_choose_and_not_the_test_items(tmp_path: Path) -> None:
    """The test items like 1.0 best, the dev rows 0.05; what is said to be gained is gained by 0.05."""
    curve = only(read(tmp_path, lambda value, task: 0.5 + 0.2 * value, lambda value, task: abs(value - 0.05)))
    assert curve.chosen == "lambda=0.05"
    assert curve.selection.best == "lambda=1"
    assert curve.choice is not None
    assert curve.choice.gain is not None
    assert curve.choice.gain.estimate < 0.05


def test_controls_stand_beside_the_curve_and_never_in_it(tmp_path: Path) -> None:
    curve = only(read(tmp_path, lambda value, task: 0.6))
    assert [control.name for control in curve.controls] == ["zero-shot"]
    assert curve.selection.simultaneous.family == len(LEVELS) - 1


def test_tasks_are_averaged_and_micro_f1_takes_part(tmp_path: Path) -> None:
    rates = {"nli": 0.6, "ner": 0.4}
    sweep = read(tmp_path, lambda value, task: rates[task] + 0.2 * value, tasks=("nli", "ner"), items=200)
    assert [curve.metric for curve in sweep.curves] == ["accuracy", "span_f1"]
    for average, points in zip(sweep.average, zip(*(c.points for c in sweep.curves), strict=True), strict=True):
        assert average.score.estimate == pytest.approx(np.mean([p.score.estimate for p in points]))
    last = sweep.average[-1].gain
    assert last is not None
    assert last.low > 0.05
    ner = sweep.curves[1].points[0].score
    assert 0.3 < ner.estimate < 0.7


def test_every_form_of_the_report_shows_it(tmp_path: Path) -> None:
    asked = study(tasks=("nli", "ner"))
    report = build(asked, fill(tmp_path, asked, 60, lambda value, task: 0.6))
    text = markdown(report)
    assert "## Along lambda" in text
    assert "### Macro average over tasks" in text
    assert "as good as any" in text
    assert len(report.to_json()["sweep"]["curves"]) == 2
    report.write(tmp_path / "out")


def drawn(rng: np.random.Generator, truth: np.ndarray, items: int = 300, seeds: int = 1) -> Levels:
    easy = rng.random(items)
    values = [(0.6 * easy + 0.4 * rng.random((seeds, items)) < rate).astype(float) for rate in truth]
    return Levels(tuple(f"{v:g}" for v in LEVELS), np.array([symlog(v) for v in LEVELS]), np.stack(values))


def test_slope_and_bend_of_a_known_curve() -> None:
    x = np.array([0.0, 1.0, 2.0, 4.0])
    u = x / 2 - 1
    assert slope_weights(x) @ (3 * x + 1) == pytest.approx(3 * 4)
    assert bend_weights(x) @ (5 * u**2 - 2 * u + 7) == pytest.approx(5)


def test_sensitivity_holds_its_level_when_nothing_moves() -> None:
    """With no effect the range of the curve is never 0, and must not be taken for one: at most 5 % in 200 draws."""
    claims = 0
    for i in range(200):
        rng = np.random.default_rng(i)
        levels = drawn(rng, np.full(len(LEVELS), 0.5), items=150)
        claims += sensitivity(levels, draws=300, rng=rng).low > 0
    assert claims <= 16  # 99 % of binomial(200, 0.05)


def test_a_trend_is_claimed_in_few_flat_sweeps_and_in_most_steep_ones() -> None:
    steep = 0.5 - 0.04 * np.array([symlog(v) for v in LEVELS])
    flat = [trend(drawn(np.random.default_rng(i), np.full(8, 0.5))).p < 0.05 for i in range(200)]
    found = [trend(drawn(np.random.default_rng(i), steep)).p < 0.05 for i in range(50)]
    assert sum(flat) <= 16
    assert sum(found) >= 40


def test_the_true_best_is_among_the_winners() -> None:
    truth = 0.5 - 0.05 * np.abs(np.arange(8) - 3.0)
    held = sum(
        "0.1" in winners(drawn(rng, truth, items=200), draws=500, rng=rng).names
        for rng in map(np.random.default_rng, range(60))
    )
    assert held >= 55


@pytest.mark.parametrize("right", [0.0, 1.0, 0.7, 1 / 3])
def test_levels_that_answer_alike_show_nothing(right: float) -> None:
    """Rounding in the means must not become a trend, nor a certainty that the levels are equal."""
    rng = np.random.default_rng(0)
    same = np.broadcast_to((rng.random((2, 48)) < right) * right, (8, 2, 48))
    levels = Levels(tuple(map(str, LEVELS)), np.array([symlog(v) for v in LEVELS]), same)
    assert trend(levels).word == "no trend seen"
    found = sensitivity(levels, rng=rng)
    assert found.word == "cannot be told from flat"
    assert found.estimate == 0
    assert winners(levels, draws=200, rng=rng).names == levels.names


def test_the_figure_has_a_symlog_axis_and_marks_what_was_chosen(tmp_path: Path) -> None:
    curve = only(read(tmp_path, lambda value, task: 0.7 - 0.3 * value))
    drawn_svg = str(figure(curve, WIDE))
    ElementTree.fromstring(drawn_svg)
    ticks = [float(x) for x in re.findall(r'<text x="([\d.]+)"[^>]*class="t tick">[\d.]+</text>', drawn_svg)]
    assert drawn_svg.count('class="winner"') == len(curve.winners.names)
    assert "symlog" in drawn_svg
    assert len(ticks) > 4
    assert all("nan" not in str(figure(curve, width)) for width in (NARROW, WIDE))


def test_the_page_shows_the_figure_of_every_task(
    tmp_path: Path, uncounted: Callable[[Rendered], dict[str, str]]
) -> None:
    asked = study(tasks=("nli", "ner"))
    ledger = fill(tmp_path, asked, 60, lambda value, task: 0.6)
    made = render(build(asked, ledger), ledger)
    assert {"scores-nli-target", "scores-ner-target"} <= set(made.figures)
    assert uncounted(made) == {}
