"""The item explorer: base and tuned answers side by side, to filter and to search."""

from collections.abc import Iterator
from typing import Any

from markupsafe import Markup

from netgain.report.html.basis import counted
from netgain.report.html.explorer import payload
from netgain.report.html.markup import element
from netgain.report.html.page import Page
from netgain.report.study import Judged

PLACE = 800
TITLE = "Items"


def section(page: Page) -> Iterator[Markup]:
    made = payload(page.frame, asked(page))
    if not made["total"]:
        return
    page.data["items"] = made
    total, shown, changed = made["total"], len(made["rows"]), made["changed"]
    words = f"{total:,} answers of tuned runs stand beside the base's answer to the same item; {changed:,} changed."
    if shown < total:
        words += (
            f" This file carries {shown:,} of them: {made['shown_changed']:,} that changed and a random sample of the "
            f"others. The ledger holds all."
        )
    basis = counted("answers compared", words, "items at the final checkpoint, first sample, of each declared contrast")
    yield page.paragraph(page.number("items", words, basis))
    count = element("p", id="items-count", role="status")
    yield element("div", _controls(made), count, id="items-tool", hidden="hidden")
    yield element("div", id="items-list")
    yield element("noscript", element("p", "The item explorer needs JavaScript; the rest of this page does not."))


def asked(page: Page) -> list[tuple[str, str, str, str]]:
    """(arm, versus, task, metric) of every declared contrast, on the task's main metric."""
    found: dict[tuple[str, str, str, str], None] = {}
    for each in page.report.judged:
        found[each.arm, each.versus, each.task, _metric(page, each)] = None
    return list(found)


def _metric(page: Page, each: Judged) -> str:
    """The task's main metric; where no item has it by itself (F1 of spans), the first that items have."""
    card = page.frame.card(each.arm, each.task) or {}
    measured = {name for m in page.frame.members[each.arm][:1] for name in m.items["metric"].unique().to_pylist()}
    names = (str(card.get("metric")), *card.get("binary", ()), *card.get("metrics", ()))
    return next((name for name in names if name in measured), each.metric)


def _controls(made: dict[str, Any]) -> list[Markup]:
    def choice(name: str, label: str, values: list[str]) -> Markup:
        options = [element("option", "all", value=""), *(element("option", v, value=v) for v in values)]
        return element("label", label, element("select", options, id=f"items-{name}"))

    tasks = list(dict.fromkeys(pair["task"] for pair in made["pairs"]))
    arms = list(dict.fromkeys(pair["arm"] for pair in made["pairs"]))
    present = [v for i, v in enumerate(made["verdicts"]) if any(counts[i] for counts in made["counts"])]
    search = element("label", "search", element("input", type="search", id="items-search", autocomplete="off"))
    return [choice("task", "task", tasks), choice("arm", "arm", arms), choice("verdict", "verdict", present), search]
