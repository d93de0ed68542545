"""What was kept and what was forgotten, as tables: title, columns, rows and the sentences beneath."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from netgain.report.forgetting import BySeed, Forgetting, Line, Turned
from netgain.report.words import interval, seconds, word_of
from netgain.stats.result import say, say_level, say_range

if TYPE_CHECKING:
    from netgain.report.study import Judged, Report

Block = tuple[str, Sequence[str], list[list[str]], list[str]]
QUOTED = 160
"""Characters of a flipped answer that are shown."""


def answers(report: "Report") -> Iterator[Block]:
    """Arm by arm, seed by seed, judge by judge."""
    if report.forgetting is not None:
        yield from _answered(report)
        yield from _seeds(report, report.forgetting)
        yield from _judged(report.forgetting)
        yield from _warned(report.forgetting)


def evidence(report: "Report") -> Iterator[Block]:
    """What the answers rest on; a terminal leaves it to the page."""
    if report.forgetting is not None:
        yield from _categories(report.forgetting)
        yield from _turned(report.forgetting)
        yield from _flips(report.forgetting)
        yield from _run(report.forgetting)


def worth_a_terminal(report: "Report") -> bool:
    """Whether there is more to say than one arm's verdict on one benchmark."""
    found = report.forgetting
    return found is not None and (
        len(report.retention) > 1 or bool(found.judged) or any(each.family > 1 for _, each in report.retention)
    )


def _answered(report: "Report") -> Iterator[Block]:
    """Every arm: what it gained, which benchmarks it kept, and the word over all of them."""
    overall = dict(report.retention)
    rows: list[list[str]] = []
    for arm in overall:
        mine = [each for each in report.judged if each.arm == arm and each.verdict.n]
        gained = [_gain(each) for each in mine if each.margin is None]
        kept = [_kept(each) for each in mine if each.margin is not None]
        whole = "retained" if overall[arm].retained else "not retained"
        codes = dict.fromkeys(code for each in mine for code in each.invalid)
        word = f"invalid: {', '.join(codes)}" if codes else whole
        rows.append([arm, "; ".join(gained) or "-", "; ".join(kept) or "-", word])
    said = [f"{arm}: {found.sentence()}" for arm, found in overall.items() if found.family > 1]
    if rows:
        signs = "In every column + is better; gains with 95 %, benchmarks with 90 % intervals."
        yield "Gain against forgetting", ("arm", "gained", "kept", "overall"), rows, [signs, *said]


def _gain(each: "Judged") -> str:
    answer = each.verdict.answer
    number, between = interval(answer)
    turned = "" if each.verdict.higher_is_better else " (lower is better)"
    return f"{each.task}/{each.metric}{turned} {number} ({between}): {word_of(each)}"


def _kept(each: "Judged") -> str:
    found = each.verdict.retention
    if found is None:
        return f"{each.task}/{each.metric}: {word_of(each)}"
    between = say_range(found.low, found.high, found.scale)
    word = each.word if each.invalid else found.word
    return f"{each.task}/{each.metric} {say(found.estimate, found.scale)} ({between}): {word}"


def _seeds(report: "Report", found: Forgetting) -> Iterator[Block]:
    if not found.seeds:
        return
    marks = {(e.arm, e.versus, e.task): f"{e.word}; without that " for e in report.judged if e.invalid}
    rows: list[list[str]] = []
    for each in found.seeds:
        tally = marks.get((each.arm, each.versus, each.task), "") + each.tally()
        words = "; ".join(_seed_words(each))
        rows.append([each.arm, f"{each.task}/{each.metric}", f"{each.margin:g}", tally, words])
    level, n = say_level(found.seeds[0].level), sorted({each.n for each in found.seeds})
    said = [
        f"Each seed's checkpoint judged alone, by its own {level} interval over n = {' or '.join(map(str, n))} items. "
        "That is about these checkpoints; the verdicts over all seeds are about the recipe."
    ]
    yield "Seed by seed", ("arm", "benchmark", "margin", "verdicts", "seed: difference, + is better"), rows, said


def _seed_words(each: BySeed) -> Iterator[str]:
    for seed in each.seeds:
        yield f"{seed.seed}: {seed.estimate:+.3g} ({seed.low:+.3g} to {seed.high:+.3g})"


def _judged(found: Forgetting) -> Iterator[Block]:
    if not found.judged:
        return
    rows: list[list[str]] = []
    for each in found.judged:
        wins = each.win_rate
        rate = "-" if wins is None else f"{say(wins.estimate, 'percent')} ({say_range(wins.low, wins.high, 'percent')})"
        shift = each.shift
        above = "-" if shift is None else f"{shift.estimate:+.2f} ({shift.low:+.2f} to {shift.high:+.2f})"
        n = "-" if shift is None else str(shift.n)
        rows.append([each.arm, each.versus, f"{each.task}/{each.metric}", rate, n, above])
    said = [
        "A win rate is the mean of sigmoid(tuned - base) of raw rewards; 50 % is none better. The last column is the "
        "difference in standard deviations of the base's own answers. Both with 95 % intervals.",
        *_noise(found),
    ]
    columns = ("arm", "against", "judge", "win rate", "n", "above the base, sd")
    yield "What the judges say", columns, rows, said


def _categories(found: Forgetting) -> Iterator[Block]:
    rows: list[list[str]] = []
    for each in found.judged:
        for part in each.categories:
            scores = (f"{part.base:.3g}", f"{part.tuned:.3g}", *interval(part.verdict.answer))
            rows.append([each.arm, f"{each.task}/{each.metric}", part.name, str(part.n), *scores])
    if not rows:
        return
    alone = ["Each interval is of one category alone, not corrected for looking at all of them, so there are no words."]
    columns = ("arm", "judge", "category", "n", "base", "tuned", "difference", "95 % interval")
    yield "Judges by category", columns, rows, alone


def _noise(found: Forgetting) -> Iterator[str]:
    for each in found.noise:
        if each.parts is not None:
            yield f"{each.arm}, {each.task}/{each.metric}: {each.parts.sentence()}"
    once = dict.fromkeys(f"{each.task}/{each.metric}" for each in found.noise if each.parts is None)
    if once:
        yield (
            f"{', '.join(once)}: every question was answered once, so the noise of answers and judge is in the "
            "intervals and cannot be told apart."
        )


def _turned(found: Forgetting) -> Iterator[Block]:
    if not found.turned:
        return
    rows = [
        [
            each.arm,
            f"{each.share:g}",
            f"{each.task}/{each.metric}",
            say(each.answer.estimate, each.answer.scale),
            say_range(each.answer.low, each.answer.high, each.answer.scale),
            "gain?" if each.margin is None else f"kept within {each.margin:g}?",
            each.word,
        ]
        for each in found.turned
    ]
    said = [*best_shares(found.turned), "Not declared beforehand: choose a share on other items than these."]
    columns = ("arm", "share", "on", "difference, + is better", "95 % interval", "question", "word")
    yield "The adapter turned down", columns, rows, said


def best_shares(turned: Sequence[Turned]) -> Iterator[str]:
    """For each arm the largest share at which every benchmark is retained."""
    for arm in dict.fromkeys(each.arm for each in turned):
        mine = [each for each in turned if each.arm == arm and each.margin is not None]
        held = [
            share
            for share in sorted({each.share for each in mine})
            if all(each.word in ("retained", "gained") for each in mine if each.share == share)
        ]
        if mine:
            most = f"up to {held[-1]:g} of the adapter" if held and held[-1] > 0 else "at no share of the adapter"
            yield f"{arm}: every benchmark is retained {most} that was measured."


def _warned(found: Forgetting) -> Iterator[Block]:
    if not found.warned:
        return
    rows = [
        [arm, f"{each.task}/{each.metric}", f"{drift:.4g}", f"{lost:+.4g}"]
        for each in found.warned
        for arm, drift, lost in each.points
    ]
    said = []
    for each in found.warned:
        rho = each.correlation
        between = f"{say_level(rho.level)} interval {rho.low:+.2f} to {rho.high:+.2f}; {rho.method}; n = {rho.n} arms"
        said.append(f"{each.task}/{each.metric}: rank correlation of drift with loss {rho.estimate:+.2f} ({between}).")
    columns = ("arm", "benchmark", "KL(base || tuned) on dev rows", "lost (+ is lost)")
    yield "Drift as a warning", columns, rows, said


def _flips(found: Forgetting) -> Iterator[Block]:
    if not found.flips:
        return
    rows, said = [], []
    for each in found.flips:
        said.append(f"{each.arm} against {each.versus}, {each.task}/{each.metric}: {each.flips.sentence()}")
        for lost in each.lost:
            seed = "-" if lost.seed is None else str(lost.seed)
            words = (lost.label, lost.base, lost.tuned)
            rows.append([each.arm, f"{each.task}: {lost.item}", seed, *(_cut(text) for text in words)])
    columns = ("arm", "item", "seed", "right answer", "base said", "tuned said")
    yield "From right to wrong", columns, rows, said


def _cut(text: str | None) -> str:
    if text is None:
        return "-"
    flat = " ".join(text.split())
    return flat if len(flat) <= QUOTED else f"{flat[:QUOTED]}..."


def _run(found: Forgetting) -> Iterator[Block]:
    if found.executed:
        rows = [[each.arm, each.what, *_shape(each)] for each in found.executed]
        columns = ("arm", "term", "first step with weight", "largest weight", "reached at step", "weight at the end")
        yield "Weights as executed", columns, rows, []
    if found.drawn and len({(each.arm, each.source) for each in found.drawn}) > len({e.arm for e in found.drawn}):
        rows = [
            [d.arm, d.source, f"{100 * d.share:.1f} %", f"{d.planned:,}", f"{d.drawn:,}", f"{d.available:,}"]
            for d in found.drawn
        ]
        columns = ("arm", "source", "share", "rows planned", "rows drawn", "rows there are")
        yield "Rows planned and drawn, first seed", columns, rows, []
    if found.spent:
        rows = [
            [s.arm, f"{s.steps:.4g}", seconds(s.training), f"{s.tokens / s.training:,.0f}" if s.training else "-",
             seconds(s.measuring), f"{s.stopped} of {s.runs}"]
            for s in found.spent
        ]  # fmt: skip
        columns = ("arm", "steps", "training", "tokens a second", "measuring", "stopped early")
        yield "What one run of each arm cost, mean over seeds", columns, rows, []


def _shape(line: Line) -> list[str]:
    """When a weight began, where it stood highest, and how it ended."""
    used = [step for step, mean, _, _ in line.points if mean > 0]
    most = max(line.points, key=lambda point: point[1])
    first = f"{used[0]:g}" if used else "never"
    return [first, f"{most[1]:.4g}", f"{most[0]:g}" if used else "-", f"{line.points[-1][1]:.4g}"]
