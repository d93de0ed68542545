"""A diversity study as tables: title, columns, rows and the sentences beneath, for every form; and charts of text."""

from collections.abc import Iterator, Sequence

from netgain.report.diversity import Cost, Diversity, Read
from netgain.report.plain_charts import MARKS, Line, panels, scatter
from netgain.stats.power import reach
from netgain.stats.resample import BootstrapEstimate
from netgain.stats.result import Estimate, say, say_range

Block = tuple[str, Sequence[str], list[list[str]], list[str]]
HEIGHT = 16
FEW_SEEDS = 5
POWER = 0.8
LATE = "The study file's decisions differ from those that the ledger noted: they may have been chosen by the results."
SHOWS = f"A true difference as large as under `would show from` is found in {100 * POWER:.0f} % of such studies."


def blocks(found: Diversity, an_hour: float | None = None, currency: str = "") -> Iterator[Block]:
    """Decisions and what they rest on, shares and costs; money where an hour of the machine has a price."""
    if found.decided:
        rows = [[each.arm, each.say, str(each.line or "-"), each.why] for each in found.decided]
        when = "the table declared before running" if found.declared else "a table that was not declared when this ran"
        yield f"Decided by {when}", ("arm", "decision", "line", "because"), rows, [] if found.declared else [LATE]
    if found.unread:
        rows = [[name, "no prompt has both values in every arm at every temperature"] for name in found.unread]
        yield "Frontiers that cannot be read", ("frontier", "because"), rows, []
    for read in found.frontiers:
        if read.compared:
            yield _against(read)
    if found.tries:
        columns, rows = _tries(found)
        yield "pass@k", columns, rows, list(_ceilings(found))
    if found.solved:
        rows = [[s.name, s.arm, f"{s.k}", s.word, _said(s.difference), _shows(s.difference)] for s in found.solved]
        columns = ("task", "arm", "k", "verdict", "difference in pass@k", "would show from")
        first = found.solved[0]
        said = f"Against {first.versus}, each at its own best temperature; {first.difference.method}."
        yield "pass@k against the baseline", columns, rows, [said, SHOWS]
    if found.shares:
        rows = [
            [s.arm, s.term, f"{s.weight:g}", f"{100 * s.loss:.1f} %", f"{100 * s.gradient:.1f} %"] for s in found.shares
        ]
        said = "A share of the loss is a share of a number; only the share of the gradient changes what is learned."
        columns = ("arm", "term", "weight", "share of the loss", "share of the gradient")
        yield "Share of the loss beside share of the gradient, at probed steps", columns, rows, [said]
    if found.cost:
        yield _costs(found.cost, an_hour, currency)


def details(found: Diversity) -> Iterator[Block]:
    """Every arm at every temperature, and answers side by side."""
    for read in found.frontiers:
        yield _places(read)
    for example in found.examples:
        rows = [[arm, *texts] for arm, texts in example.answers]
        width = max((len(row) for row in rows), default=1)
        rows = [[*row, *["-"] * (width - len(row))] for row in rows]
        columns = ("arm", *(f"answer {i}" for i in range(1, width)))
        yield f"Answers to {example.item} at temperature {example.temperature:g}, first seed", columns, rows, []


def _costs(cost: Sequence[Cost], an_hour: float | None, currency: str) -> Block:
    columns = ["arm", "training, s", "of it sampling, s", "measuring, s", "answers", "their tokens"]
    rows = [
        [c.arm, *(f"{s:.1f}" for s in (c.training, c.sampling, c.measuring)), f"{c.answers:,}", f"{c.tokens:,}"]
        for c in cost
    ]
    if an_hour is not None:
        columns.append(f"money, at {an_hour:g} {currency}".rstrip() + " an hour")
        for row, c in zip(rows, cost, strict=True):
            row.append(f"{(c.training + c.measuring) / 3600 * an_hour:,.4f} {currency}".rstrip())
    return "What one run of each arm cost (mean over seeds)", columns, rows, []


def _places(read: Read) -> Block:
    places = [[p.arm, f"{p.temperature:g}", _said(p.quality), _said(p.diversity)] for p in read.places]
    left_out = f" {read.dropped} prompts without a value somewhere are left out." if read.dropped else ""
    n = read.places[0].quality.n
    said = f"Means over {n} prompts with 95 % intervals; all arms share their prompts.{left_out}"
    return f"{read.name}: every arm at every temperature", ("arm", "T", read.quality, read.diversity), places, [said]


def _against(read: Read) -> Block:
    """The verdict on each arm, and the intervals that it is."""
    rows = [
        [
            arm,
            read.word(arm),
            "-" if c.matched is None else _said(c.matched),
            "-" if c.matched is None else _shows(c.matched),
            "none in common" if c.between is None else f"{c.between[0]:.3g} to {c.between[1]:.3g}",
            _said(c.gain),
            _said(c.hypervolume),
        ]
        for arm, c in read.compared
    ]
    columns = ("arm", "verdict", "diversity at equal quality, difference", "would show from", "qualities compared")
    columns = (*columns, "difference in hypervolume", "hypervolume")
    basis = read.compared[0][1].gain
    said = [f"Against {read.versus}; {basis.method}, {basis.draws:,} draws, {basis.basis}."]
    said.append(SHOWS)
    if basis.seeds is not None and 1 < basis.seeds < FEW_SEEDS:
        said.append(f"{basis.seeds} seeds say little about other seeds: the intervals are rather too short.")
    return f"{read.name}: frontier against {read.versus}", columns, rows, said


def _shows(found: BootstrapEstimate) -> str:
    """The smallest true difference that such an interval would exclude 0 for, most of the time."""
    if found.se == 0:
        return "-"
    size = reach(found.level, POWER) * found.se
    return f"{100 * size:.1f} points" if found.scale == "points" else say(size, "raw")


def _said(found: Estimate) -> str:
    if isinstance(found, BootstrapEstimate) and found.se == 0:
        return f"{say(found.estimate, found.scale)} (no spread was seen)"
    return f"{say(found.estimate, found.scale)} ({say_range(found.low, found.high, found.scale)})"


def _tries(found: Diversity) -> tuple[Sequence[str], list[list[str]]]:
    most = max(len(each.curve) for each in found.tries)
    shown = [*(k for k in (1, 2, 4, 8, 16, 32, 64) if k < most), most]
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


# ---- charts of characters


def charts(found: Diversity, width: int) -> Iterator[tuple[str, list[str], list[str]]]:
    """(title, lines, what the marks mean) of each frontier and of each task's pass@k curves."""
    for read in found.frontiers:
        arms = list(dict.fromkeys(place.arm for place in read.places))
        temperatures = sorted({place.temperature for place in read.places})
        points = [
            (
                f"{MARKS[arms.index(p.arm) % len(MARKS)]}{temperatures.index(p.temperature) + 1}",
                (p.quality.estimate, p.diversity.estimate),
            )
            for p in read.places
        ]
        key = [
            ", ".join(f"{mark} {arm}" for mark, arm in zip(MARKS, arms, strict=False)),
            ", ".join(f"{i} T = {t:g}" for i, t in enumerate(temperatures, start=1)),
        ]
        title = f"{read.name}: {read.diversity} (upward) against {read.quality} (rightward)"
        yield title, scatter(points, width, HEIGHT), key
    for name in dict.fromkeys(each.name for each in found.tries):
        own = [each for each in found.tries if each.name == name]
        temperatures = sorted({each.temperature for each in own})[:2]
        drawn = [
            (
                arm,
                [
                    Line(
                        str(temperatures.index(t.temperature) + 1),
                        [(float(each.k), 100 * each.estimate) for each in t.curve],
                        [(100 * each.low, 100 * each.high) for each in t.curve],
                    )
                    for t in own
                    if t.arm == arm and t.temperature in temperatures
                ],
            )
            for arm in dict.fromkeys(each.arm for each in own)
        ]
        key = [", ".join(f"{i} T = {t:g}" for i, t in enumerate(temperatures, start=1)) + "; shade: 95 % over problems"]
        yield f"{name}: pass@k in %, over k tries", panels(drawn, width, HEIGHT // 2), key
