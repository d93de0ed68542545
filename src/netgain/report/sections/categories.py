"""Each declared contrast by category: where a difference comes from. For looking; the verdicts are those declared."""

from collections.abc import Iterator
from functools import partial

import numpy as np
from markupsafe import Markup

from netgain.ledger.items import higher_is_better
from netgain.report.html.basis import Basis, counted, of_estimate
from netgain.report.html.charts import ForestRow, Range, forest
from netgain.report.html.page import Page, key_of
from netgain.report.study import Judged
from netgain.stats.retention import benefit
from netgain.stats.verdict import contrast

PLACE = 560
TITLE = "By category"
FEWEST, MOST = 2, 12
FEWEST_ITEMS = 5
CONTRASTS = 6


def section(page: Page) -> Iterator[Markup]:
    judged = [each for each in page.report.judged if each.verdict.n and each.checkpoint == "final"]
    drawn = [(each, rows) for each in judged if (rows := list(_rows(page, each)))]
    for i, (each, rows) in enumerate(drawn[:CONTRASTS]):
        about = f"{each.arm} against {page.short(each)}, {each.task}/{each.metric}"
        words = (
            f"{about}, by the item's right answer: 95 % intervals of {len(rows)} differences, each alone; n = "
            f"{each.verdict.n} items, {each.verdict.tuned_seeds} seeds. Not declared beforehand and not corrected for "
            "looking at all of them, so no verdicts."
        )
        basis = counted(about, words, page.rows((each.arm, each.versus), each.task, each.metric, each.checkpoint))
        caption = page.number(f"figure/categories-{i}/caption", words, basis)
        figure = page.figure(f"categories-{i}", caption, partial(forest, rows), basis)
        yield figure if i == 0 else page.details(about, figure)


def labels_of(page: Page, each: Judged) -> dict[str, str]:
    """item -> its right answer, as the arm's first run recorded it."""
    table = page.frame.members[each.arm][0].items
    names, labels, tasks = (table[name].to_pylist() for name in ("item", "label", "task"))
    return {n: label for n, label, task in zip(names, labels, tasks, strict=True) if task == each.task and label}


def _rows(page: Page, each: Judged) -> Iterator[ForestRow]:
    tuned = page.frame.matrix(each.arm, each.task, each.metric, each.checkpoint)
    base = page.frame.matrix(each.versus, each.task, each.metric, each.checkpoint)
    if tuned is None or base is None or tuned.weights is not None:
        return
    labels = labels_of(page, each)
    of = np.array([labels.get(item, "") for item in tuned.items])
    names = sorted(set(of) - {""})
    if not FEWEST <= len(names) <= MOST or any((of == name).sum() < FEWEST_ITEMS for name in names):
        return
    for name in names:
        kept = of == name
        clusters = None if tuned.clusters is None else tuned.clusters[kept]
        found = contrast(tuned.values[:, kept], base.values[:, kept], clusters=clusters).answer
        signed = benefit(found, higher_is_better(each.metric))
        rows = f"{page.rows((each.arm, each.versus), each.task, each.metric, each.checkpoint)}, right answer {name}"
        basis: Basis = of_estimate(found, rows, f"{each.arm} against {each.versus}, {name}")
        identity = page.bind(f"category/{key_of(each)}/{name}", basis)
        unit = "points" if found.scale == "points" else each.metric
        yield ForestRow(
            identity, name, f"n = {found.n}", Range(signed.estimate, signed.low, signed.high), None, "", "open", unit
        )
