"""How much of the gradient each term gave, over the steps: a term may be 2 % of the loss and most of the gradient."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from markupsafe import Markup

from netgain.report.html.basis import counted
from netgain.report.html.charts import Grid, Panel, Series, lines
from netgain.report.html.page import Page
from netgain.report.sections.curves import PANELS, thinned

PLACE = 600
TITLE = "Who moved the weights"


def section(page: Page) -> Iterator[Markup]:
    panels = [Panel(arm, list(_series(found))) for arm, found in page.metrics.items()]
    panels = [panel for panel in panels if panel.series][:PANELS]
    runs = sum(len(page.metrics[panel.title]) for panel in panels)
    if not panels:
        return
    grid = Grid("optimiser step", "share of the gradient's norm, %", panels, percent=True, zero=True)
    basis = counted("gradient shares", f"{len(panels)} arms", "probes in metrics.jsonl: terms.NAME.grad_share")
    words = (
        "Share of each term in the norm of the gradient on what is trained, at probed steps; means over seeds, n = "
        f"{runs} runs."
    )
    yield page.figure("gradients", page.number("figure/gradients/caption", words, basis), partial(lines, grid), basis)


def _series(found: Sequence[tuple[int | None, list[dict[str, Any]]]]) -> Iterator[Series]:
    names = sorted({name for _, rows in found for row in rows for name in row.get("terms") or {}})
    for i, name in enumerate(names):
        shares: dict[float, list[float]] = {}
        for row in (row for _, rows in found for row in rows):
            share = (row.get("terms") or {}).get(name, {}).get("grad_share")
            if share is not None:
                shares.setdefault(float(row["step"]), []).append(float(share))
        points = [(step, sum(each) / len(each)) for step, each in sorted(shares.items())]
        if points:
            yield Series(name, thinned(points), shade=i, dash=i, dots=len(points) <= 30)
