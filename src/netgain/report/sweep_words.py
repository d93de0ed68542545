"""A sweep in words and tables, the same in the terminal, in Markdown and on the page."""

from collections.abc import Iterator, Sequence

from netgain.report.sweep import Average, Curve, Point, Sweep
from netgain.stats.result import Estimate, say, say_p, say_range

SUMMARY_COLUMNS = (
    "curve", "reference", "dev chose", "score", "gain", "interval", "as good as any", "sensitivity", "metric",
)  # fmt: skip
CURVE_COLUMNS = ("level", "score", "gain", "interval of all at once", "answer", "dev loss", "")
AVERAGE_COLUMNS = ("level", "macro average", "interval", "gain", "interval", "p after Holm")

Table = tuple[Sequence[str], list[list[str]]]


def points(found: Estimate, of: Estimate) -> tuple[str, str]:
    """(number, interval) of a gain, in points where the score itself is a rate."""
    scale = "points" if of.scale == "percent" else "change"
    return say(found.estimate, scale), say_range(found.low, found.high, scale)


def summary_rows(sweep: Sweep) -> list[list[str]]:
    """The summary: a line a curve, the level that the dev rows chose, and what its choice gained on the test items."""
    return [_summary(curve) for curve in sweep.curves]


def _summary(curve: Curve) -> list[str]:
    first, chosen = curve.points[0], curve.choice
    gain = None if chosen is None else chosen.gain
    number, between = ("-", "-") if gain is None else points(gain, first.score)
    return [
        curve.name,
        say(first.score.estimate, first.score.scale),
        "-" if chosen is None else chosen.name,
        "-" if chosen is None else say(chosen.score.estimate, chosen.score.scale),
        number,
        between,
        ", ".join(curve.winners.names),
        curve.sensitivity.word,
        curve.metric,
    ]


def curve_rows(curve: Curve) -> list[list[str]]:
    """A line a level, then the controls."""
    return [_level(curve, point) for point in (*curve.points, *curve.controls)]


def _level(curve: Curve, point: Point) -> list[str]:
    together = curve.selection.simultaneous.arms.get(point.name, point.gain)
    number, between = ("-", "-") if together is None else points(together, point.score)
    marks = ["reference"] if point.name == curve.reference else []
    marks += ["chosen on dev"] if point.name == curve.chosen else []
    marks += ["as good as any"] if point.winner else []
    marks += ["control, interval of its own"] if point.value is None else []
    return [
        point.name,
        say(point.score.estimate, point.score.scale),
        number,
        between,
        point.verdict,
        "-" if point.dev_loss is None else f"{point.dev_loss:.4f}",
        ", ".join(marks),
    ]


def lines_of(curve: Curve) -> Iterator[str]:
    """What stands below a curve's table."""
    guess = [
        f"{name} {say(value, 'percent')}"
        for name, value in (("chance", curve.chance), ("majority", curve.majority))
        if value is not None
    ]
    yield f"n = {curve.n}, {curve.seeds} seed{'s' if curve.seeds > 1 else ''}" + "".join(f", {each}" for each in guess)
    yield from curve.sentences()


def average_rows(sweep: Sweep) -> list[list[str]]:
    """The macro average at each level."""
    return [_average(sweep, each) for each in sweep.average]


def _average(sweep: Sweep, each: Average) -> list[str]:
    score = each.score
    gain = ("-", "-") if each.gain is None else points(each.gain, score)
    p = None if sweep.average_claims is None else sweep.average_claims.adjusted.get(each.name)
    interval = say_range(score.low, score.high, score.scale)
    return [each.name, say(score.estimate, score.scale), interval, *gain, "-" if p is None else say_p(p)]


def tables(sweep: Sweep) -> Iterator[tuple[str, Table, tuple[str, ...]]]:
    """(title, table, sentences) of every block, the summary first."""
    missing = (f"Too few finished levels: {', '.join(sweep.missing)}.",) if sweep.missing else ()
    yield f"Along {sweep.axis}", (SUMMARY_COLUMNS, summary_rows(sweep)), missing
    if sweep.average:
        said = () if sweep.average_claims is None else (sweep.average_claims.sentence(),)
        yield "Macro average over tasks", (AVERAGE_COLUMNS, average_rows(sweep)), said
    for curve in sweep.curves:
        title = f"{curve.name}: {curve.task}/{curve.metric}"
        yield title, (CURVE_COLUMNS, curve_rows(curve)), tuple(lines_of(curve))


def markdown_blocks(sweep: Sweep) -> Iterator[str | Table]:
    """Headings and sentences as text, tables as (columns, rows)."""
    for i, (title, table, sentences) in enumerate(tables(sweep)):
        yield f"{'##' if i == 0 else '###'} {title}"
        yield table
        yield from sentences
