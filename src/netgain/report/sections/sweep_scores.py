"""Scores over the swept weight to scale, one figure a task: the axis that 0 shares with 0.01 and 1."""

import re
from collections.abc import Iterator
from functools import partial

from markupsafe import Markup

from netgain.report.figure_sweep import figure
from netgain.report.html.basis import counted
from netgain.report.html.page import Page

PLACE = 445
TITLE = "Scores over the swept weight"


def section(page: Page) -> Iterator[Markup]:
    if page.report.sweep is None:
        return
    for curve in page.report.sweep.curves:
        seeds = f"{curve.seeds} seed{'s' if curve.seeds > 1 else ''}"
        words = (
            f"{curve.name}: {curve.metric} at the final checkpoint. Dashed: {curve.reference}. Band: 95 % intervals "
            "against it that hold for all levels at once. Shaded: levels that no other is surely better than. "
            f"Diamond: the level that the dev rows chose. n = {curve.n} items, {seeds}."
        )
        basis = counted(f"scores of {curve.name}", f"{len(curve.points)} levels", "the rows of each level's runs")
        name = "scores-" + re.sub("[^a-z0-9]+", "-", f"{curve.name}-{curve.task}".lower())
        caption = page.number(f"figure/{name}/caption", words, basis)
        yield page.figure(name, caption, partial(figure, curve), basis)
