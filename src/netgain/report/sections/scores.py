"""Every score with what must stand beside it: n, interval, seeds, missing, unparsed, cut, chance, majority."""

from collections.abc import Iterator

from markupsafe import Markup

from netgain.report.html.basis import of_estimate
from netgain.report.html.page import Page
from netgain.report.study import Score
from netgain.report.words import interval, percent

PLACE = 350
TITLE = "Scores"
COLUMNS = (
    "arm: task", "score", "interval", "n", "seeds", "missing", "no answer", "cut", "chance", "majority",
)  # fmt: skip


def section(page: Page) -> Iterator[Markup]:
    if page.report.scores:
        caption = (
            "Mean of each arm over its seeds and items, with 95 % intervals; (best) is the checkpoint of lowest dev "
            "loss, the others are final."
        )
        yield page.table(caption, COLUMNS, [_line(page, each) for each in page.report.scores])


def _line(page: Page, each: Score) -> Markup:
    rows = page.rows((each.arm,), each.task, each.metric, each.checkpoint)
    shares = (percent(share) for share in (each.unparsed, each.truncated, each.chance, each.majority))
    mark = "" if each.checkpoint == "final" else f" ({each.checkpoint})"
    about = f"{each.arm}: {each.task}/{each.metric}{mark}"
    cells = (about, *interval(each.estimate), each.estimate.n, each.seeds, each.missing, *shares)
    what = f"{each.arm}, {each.task}/{each.metric}, {each.checkpoint} checkpoint"
    identity = f"score/{each.arm}/{each.task}/{each.metric}/{each.checkpoint}"
    return page.row(identity, cells, of_estimate(each.estimate, rows, what), handle=1)
