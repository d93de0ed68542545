"""A diversity study as tables: title, columns, rows and the sentences beneath, for Markdown and for the page."""

from collections.abc import Iterator, Sequence

from netgain.report.diversity import Diversity, Read
from netgain.stats.result import Estimate, say, say_range

Block = tuple[str, Sequence[str], list[list[str]], list[str]]


def blocks(found: Diversity) -> Iterator[Block]:
    """Decisions first, then what they rest on."""
    if found.decided:
        rows = [[each.arm, each.say, str(each.line or "-"), each.why] for each in found.decided]
        yield "Decided by the table declared before running", ("arm", "decision", "line", "because"), rows, []
    for read in found.frontiers:
        yield from _frontier(read)
    if found.tries:
        columns, rows = _tries(found)
        yield "pass@k", columns, rows, list(_ceilings(found))
    if found.shares:
        rows = [
            [s.arm, s.term, f"{s.weight:g}", f"{100 * s.loss:.1f} %", f"{100 * s.gradient:.1f} %"] for s in found.shares
        ]
        said = "A share of the loss is a share of a number; only the share of the gradient changes what is learned."
        columns = ("arm", "term", "weight", "share of the loss", "share of the gradient")
        yield "Share of the loss beside share of the gradient, at probed steps", columns, rows, [said]
    if found.cost:
        rows = [
            [c.arm, f"{c.training:.1f}", f"{c.sampling:.1f}", f"{c.answers:,}", f"{c.tokens:,}"] for c in found.cost
        ]
        columns = ("arm", "training, s", "of it sampling, s", "answers", "their tokens")
        yield "What one run of each arm cost", columns, rows, []
    for example in found.examples:
        rows = [[arm, *texts] for arm, texts in example.answers]
        width = max((len(row) for row in rows), default=1)
        rows = [[*row, *["-"] * (width - len(row))] for row in rows]
        columns = ("arm", *(f"answer {i}" for i in range(1, width)))
        yield f"Answers to {example.item} at temperature {example.temperature:g}, first seed", columns, rows, []


def _frontier(read: Read) -> Iterator[Block]:
    places = [[p.arm, f"{p.temperature:g}", _said(p.quality), _said(p.diversity)] for p in read.places]
    left_out = f" {read.dropped} prompts without a value somewhere are left out." if read.dropped else ""
    n = read.places[0].quality.n
    said = f"Means over {n} prompts with 95 % intervals; all arms share their prompts.{left_out}"
    yield f"{read.name}: every arm at every temperature", ("arm", "T", read.quality, read.diversity), places, [said]
    rows = [
        [
            arm,
            _said(c.hypervolume),
            _said(c.gain),
            "-" if c.matched is None else _said(c.matched),
            "none in common" if c.between is None else f"{c.between[0]:.3g} to {c.between[1]:.3g}",
        ]
        for arm, c in read.compared
    ]
    columns = ("arm", "hypervolume", "difference", "diversity at equal quality, difference", "qualities compared")
    if read.compared:
        basis = read.compared[0][1].gain
        said = f"Against {read.versus}; {basis.method}, {basis.draws:,} draws, {basis.basis}."
        yield f"{read.name}: frontier against {read.versus}", columns, rows, [said]


def _said(found: Estimate) -> str:
    return f"{say(found.estimate, found.scale)} ({say_range(found.low, found.high, found.scale)})"


def _tries(found: Diversity) -> tuple[Sequence[str], list[list[str]]]:
    most = max(len(each.curve) for each in found.tries)
    shown = [k for k in (1, 2, 4, 8, 16, 32, 64) if k <= most]
    rows = [
        [t.name, t.arm, f"{t.temperature:g}", *(_said(t.curve[k - 1]) if k <= len(t.curve) else "-" for k in shown)]
        for t in found.tries
    ]
    return ("task", "arm", "T", *(f"pass@{k}" for k in shown)), rows


def _ceilings(found: Diversity) -> Iterator[str]:
    over = [f"{t.arm} at T = {t.temperature:g}" for t in found.tries if t.curve and t.curve[-1].ceiling]
    if over:
        yield f"Above 95 % nothing can be told apart: {', '.join(over)}."
    yield "k above half the samples is unbiased, and noisy."
