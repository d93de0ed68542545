"""Learning curves: training and dev loss of every run, with the best and the final checkpoint marked."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from markupsafe import Markup

from netgain.report.html.basis import counted
from netgain.report.html.charts import Grid, Panel, Series, lines
from netgain.report.html.page import Page

PLACE = 500
TITLE = "Learning curves"
PANELS = 12
POINTS = 120


def section(page: Page) -> Iterator[Markup]:
    runs = {arm: found for arm, found in page.metrics.items() if found}
    if not runs:
        return
    panels = [Panel(arm, list(series(found))) for arm, found in list(runs.items())[:PANELS]]
    grid = Grid("optimiser step", "loss", panels)
    seeds = sum(len(found) for found in runs.values())
    shown = "" if len(runs) <= PANELS else f" The first {PANELS} of {len(runs)} arms."
    basis = counted("learning curves", f"{seeds} runs", "metrics.jsonl of each finished run of the arm")
    words = (
        f"Training loss (thin) and dev loss (dots), n = {seeds} runs, one line a seed. Diamonds: the best checkpoint "
        f"by dev loss; squares: the final one.{shown}"
    )
    yield page.figure("curves", page.number("figure/curves/caption", words, basis), partial(lines, grid), basis)


def thinned(points: Sequence[tuple[float, float]], most: int = POINTS) -> list[tuple[float, float]]:
    """Every k-th point, and always the last."""
    step = -(-len(points) // most)
    kept = list(points[::step]) if step else []
    return kept if not points or kept[-1] == points[-1] else [*kept, points[-1]]


def series(found: Sequence[tuple[int | None, list[dict[str, Any]]]]) -> Iterator[Series]:
    for _, rows in found:
        steps = [(float(r["step"]), float(r["loss"])) for r in rows if not r.get("event") and r.get("loss") is not None]
        if steps:
            yield Series("training loss", thinned(steps), shade=7, faint=True)
    for i, (_, rows) in enumerate(found):
        measured = [row for row in rows if row.get("event") == "dev" and row.get("loss") is not None]
        dev = [(float(row["step"]), float(row["loss"])) for row in measured]
        if dev:
            best = min(dev, key=lambda point: point[1])
            named = [(*dev[-1], "final"), (*best, "best")]
            yield Series("dev loss", thinned(dev), shade=0, dots=True, named=named, silent=i > 0)
