"""The parts of the page that the server writes: escaped HTML with the charts of the report."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from markupsafe import Markup

from netgain.ledger.store import RunFolder
from netgain.report.html.basis import direction
from netgain.report.html.charts import ForestRow, Grid, Panel, Range, Series, forest, lines
from netgain.report.html.markup import element
from netgain.report.html.page import TONES, Draw
from netgain.report.html.svg import NARROW, WIDE
from netgain.report.sections.curves import series, thinned
from netgain.report.study import Judged
from netgain.report.view.follow import Follow
from netgain.report.view.peek import Nothing, Peek
from netgain.report.view.watch import Picture, Row, log, reason
from netgain.report.words import style_of, word_of
from netgain.stats.result import say, say_level, say_range

PANELS = 12
SEEDS = 8
"""Lines of one arm that are drawn; a study of a thousand runs shows its busiest arms first."""
TONE = {"gain": "good", "retained": "good", "gained": "good", "loss": "bad", "forgotten": "bad"}
ORDER = {"running": 0, "stopped": 1, "failed": 2, "done": 3, "corrupt": 4, "missing": 5}


def figure(draw: Draw, caption: object) -> Markup:
    """A chart in two widths, as in the report."""
    wide, narrow = element("div", draw(WIDE), class_="wide"), element("div", draw(NARROW), class_="narrow")
    return element("figure", wide, narrow, element("figcaption", caption))


# ---- a study
def curves(key: str, picture: Picture, folders: dict[str, RunFolder], follow: Follow) -> Markup:
    """Training and dev loss of a study's runs as they come, those at work first."""
    mine = sorted((row for row in picture.rows.values() if row.study == key), key=lambda row: ORDER[row.state])
    arms: dict[str, list[Row]] = {}
    for row in mine:
        if row.step:
            arms.setdefault(row.arm, []).append(row)
    if not arms:
        return element("p", "No optimiser step has been taken yet.", class_="fix")
    panels = [
        Panel(arm, list(series([(row.seed, follow.rows(folders[row.sig])) for row in rows[:SEEDS]])))
        for arm, rows in list(arms.items())[:PANELS]
    ]
    panels = [panel for panel in panels if panel.series]
    more = "" if len(arms) <= PANELS else f" The {PANELS} arms that are busiest of {len(arms)}."
    words = (
        "Training loss (thin) and dev loss (dots), one line a seed. Diamonds: the best checkpoint so far by dev loss; "
        f"squares: the latest.{more}"
    )
    return figure(partial(lines, Grid("optimiser step", "loss", panels)), words)


def looks(found: Sequence[Peek | Nothing]) -> Markup:
    """Verdicts before the end, each marked as one of several looks."""
    said = [each for each in found if isinstance(each, Peek)]
    rows = [_look(each) for each in found]
    columns = ("contrast", "on", "so far", "difference", "interval that allows for looking", "seeds", "n")
    parts: list[Markup] = [
        element(
            "p",
            element("span", "peeking", class_="verdict peek"),
            " The study is not finished. Each interval is widened for one of as many looks as there are seeds, so that "
            "all of them together hold at 95 %, however often this page is opened. Signed so that + is better. The "
            "declared verdicts come with the last run, and are about new seeds and items only from two seeds on.",
        ),
        table("Declared contrasts on the seeds that are finished.", columns, rows),
    ]
    if said:
        drawn = [_drawn(i, each) for i, each in enumerate(said)][:24]
        parts.append(figure(partial(forest, drawn), "Looks before the end; dashed: the declared margin."))
    return Markup("").join(parts)


def _look(each: Peek | Nothing) -> Markup:
    about = (f"{each.arm} against {each.versus}", f"{each.task}/{each.metric}")
    if isinstance(each, Nothing):
        return _cells(*about, each.why, None, None, None, None)
    word = element("span", f"{each.word} so far", class_=f"verdict {TONE.get(each.word, 'open')}")
    look = element("span", f"peek {each.seeds} of {each.looks}", class_="verdict peek")
    between = f"{say_range(each.low, each.high, each.scale)} ({say_level(round(each.level, 4))} this look)"
    seeds = f"{each.seeds} of {each.looks}"
    about_what = "" if each.scope == "this recipe" else f" {each.scope} only"
    return _cells(*about, [word, " ", look, about_what], say(each.estimate, each.scale), between, seeds, each.n)


def _drawn(i: int, each: Peek) -> ForestRow:
    return ForestRow(
        f"peek/{i}",
        f"{each.arm} against {each.versus}",
        f"{each.task}/{each.metric}, peek {each.seeds} of {each.looks}",
        Range(each.estimate, each.low, each.high),
        each.margin,
        f"{each.word} so far",
        TONE.get(each.word, "open"),
        "points" if each.scale == "points" else each.metric,
    )


def verdicts(judged: Sequence[Judged]) -> Markup:
    """The declared verdicts of a study whose runs are all finished."""
    rows = []
    for each in judged:
        signed, scale = direction(each), each.verdict.answer.scale
        between = f"{say_range(signed.low, signed.high, scale)} ({say_level(signed.level)})"
        word = element("span", word_of(each), class_=f"verdict {TONES[style_of(each)]}")
        question = [element("span", each.question.capitalize()), " ", word]
        about = (f"{each.arm} against {each.versus}", f"{each.task}/{each.metric}")
        rows.append(
            _cells(*about, question, say(signed.estimate, scale), between, each.verdict.tuned_seeds, each.verdict.n)
        )
    columns = ("contrast", "on", "verdict", "difference", "interval", "seeds", "n")
    return table("Declared contrasts, all runs finished; + is better.", columns, rows)


# ---- a run
def run(row: Row, folder: RunFolder, rows: list[dict[str, Any]]) -> Markup:
    """One run: where it is, what it measured on the way, and the end of its log."""
    seed = "" if row.seed is None else f", seed {row.seed}"
    steps = f", step {row.step:,} of {row.steps:,}" if row.steps and row.step else ""
    head = [
        element("h2", f"{row.arm}{seed}"),
        element(
            "p",
            element("span", row.state, class_=f"verdict state-{row.state}"),
            f" {row.phase + ', ' if row.phase and row.state != 'failed' else ''}run {row.sig}{steps}.",
        ),
    ]
    if row.state == "failed":
        head.append(element("p", "Why: ", reason(folder)))
    panels = list(_panels(rows))
    grid = Grid("optimiser step", "what the run writes down, each on its own axis", panels, alone=True)
    drawn = [figure(partial(lines, grid), "Every row of metrics.jsonl so far.")] if panels else []
    said = log(folder) or ["(nothing was logged)"]
    tail = [f"{_compact(each)}" for each in rows[-12:]]
    return Markup("").join(
        [
            *head,
            *drawn,
            element("h3", "Log"),
            element("pre", element("code", "\n".join(said)), tabindex="0", aria_label="Log of the run"),
            element("h3", "Latest metric rows"),
            element("pre", element("code", "\n".join(tail) or "(none)"), tabindex="0", aria_label="Latest metric rows"),
        ]
    )


def _panels(rows: list[dict[str, Any]]) -> Iterator[Panel]:
    loss = list(series([(None, rows)]))
    if loss:
        yield Panel("loss", loss)
    steps = [row for row in rows if not row.get("event")]
    for name in sorted({name for row in steps for name in row.get("terms") or {}}):
        points = [(row["step"], (row.get("terms") or {}).get(name, {}).get("raw")) for row in steps]
        yield from _panel(f"term {name}", points, 1)
    for name, title in (
        ("lr", "learning rate"),
        ("grad_norm", "norm of the gradient"),
        ("kl_base", "KL from the base"),
    ):
        yield from _panel(title, [(row["step"], row.get(name)) for row in rows if "step" in row], 2)
    rate = [(row["step"], row["tokens"] / row["seconds"]) for row in steps if row.get("tokens") and row.get("seconds")]
    yield from _panel("tokens a second, mean so far", rate, 3)


def _panel(title: str, points: Sequence[tuple[float, float | None]], shade: int) -> Iterator[Panel]:
    known = [(float(x), float(y)) for x, y in points if y is not None]
    if len(known) > 1:
        yield Panel(title, [Series(title, thinned(known), shade=shade)])


def _compact(row: dict[str, Any]) -> str:
    """A metric row on one line: `step 12  loss 2.301  lr 0.001`."""
    parts = [f"{name} {value:.5g}" for name, value in row.items() if isinstance(value, int | float)]
    parts += [f"{name} {each['raw']:.5g}" for name, each in (row.get("terms") or {}).items() if "raw" in each]
    return "  ".join([*([str(row["event"])] if row.get("event") else []), *parts])


# ---- tables
def table(caption: str, columns: Sequence[str], rows: Sequence[Markup]) -> Markup:
    head = element("thead", element("tr", [element("th", name, scope="col") for name in columns]))
    made = element("table", element("caption", element("span", caption)), head, element("tbody", rows))
    return element("div", made, class_="scroll", tabindex="0", role="region", aria_label=caption)


def _cells(*cells: object) -> Markup:
    first, *rest = ("-" if cell is None else cell for cell in cells)
    return element("tr", element("th", first, scope="row"), [element("td", each) for each in rest])
