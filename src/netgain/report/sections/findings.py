"""What the audit says about this ledger: open findings, worst first."""

from collections.abc import Iterator

from markupsafe import Markup

from netgain.audit.engine import run
from netgain.audit.finding import Finding
from netgain.report.html.basis import counted
from netgain.report.html.markup import element
from netgain.report.html.page import Page

PLACE = 200
TITLE = "Open findings"
TONE = {"error": "bad", "warning": "open", "note": ""}


def section(page: Page) -> Iterator[Markup]:
    found = run([page.frame.ledger.root])
    basis = counted(
        "audit of the ledger", found.summary(), "all runs of the ledger, as netgain audit LEDGER reads them"
    )
    counts = ", ".join(f"{n} {word}{'' if n == 1 else 's'}" for word, n in found.counts.items())
    checked = f"{len(found.checked)} rules checked: {counts}."
    yield page.paragraph(page.number("findings", checked, basis))
    items = [_finding(page, i, each) for i, each in enumerate(found.findings)]
    if items:
        yield element("ul", items, class_="findings")


def _finding(page: Page, i: int, each: Finding) -> Markup:
    basis = counted(
        f"{each.code}: {each.title}",
        each.evidence,
        each.where.table or "the rows of the ledger that the evidence names",
    )
    code = element("span", f"{each.code} {each.severity}", class_=f"verdict {TONE[each.severity]}")
    head = element("p", code, " ", element("strong", each.title), data_bound=page.bind(f"finding/{i}", basis))
    words = page.number(f"finding/{i}/{each.code}", each.evidence, basis)
    fix = element("p", "To mend: ", page.number(f"fix/{i}/{each.code}", each.fix, basis), class_="fix")
    return element("li", head, element("p", words), fix)
