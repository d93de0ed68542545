"""What the audit says about this ledger: open findings, worst first."""

from collections import Counter
from collections.abc import Iterator, Sequence

from markupsafe import Markup

from netgain.audit.finding import Finding, Severity
from netgain.report.html.basis import counted
from netgain.report.html.markup import element
from netgain.report.html.page import Page

PLACE = 200
TITLE = "Open findings"
SHOWN = 3
"""Pieces of evidence that stand open; the others unfold."""
TONE = {"error": "bad", "warning": "open", "note": ""}


def section(page: Page) -> Iterator[Markup]:
    found = page.report.findings
    counts = Counter(str(each.severity) for each in found)
    said = ", ".join(f"{counts[name]} {name}{'' if counts[name] == 1 else 's'}" for name in map(str, Severity))
    basis = counted("audit of this study's runs", said, "all runs of the study, as netgain audit LEDGER reads them")
    yield page.paragraph(page.number("findings", f"The audit of this study's runs found {said}.", basis))
    groups: dict[tuple[str, str], list[Finding]] = {}
    for each in found:
        groups.setdefault((each.code, each.fix), []).append(each)
    items = [_group(page, i, group) for i, group in enumerate(groups.values())]
    if items:
        yield element("ul", items, class_="findings")


def _group(page: Page, i: int, group: Sequence[Finding]) -> Markup:
    """Findings of one rule with one remedy: said once, with each piece of evidence."""
    first = group[0]
    basis = counted(f"{first.code}: {first.title}", first.evidence, "the rows that the evidence names")
    code = element("span", f"{first.code} {first.severity}", class_=f"verdict {TONE[first.severity]}")
    times = f" ({len(group)} times)" if len(group) > 1 else ""
    head = element("p", code, " ", element("strong", first.title, times), data_bound=page.bind(f"finding/{i}", basis))
    said = [element("p", _evidence(page, i, j, each)) for j, each in enumerate(group)]
    shown, rest = said[:SHOWN], said[SHOWN:]
    fix = element("p", "To mend: ", page.number(f"finding/{i}/fix", first.fix, basis), class_="fix")
    return element("li", head, shown, page.details("more of the same", rest) if rest else None, fix)


def _evidence(page: Page, i: int, j: int, each: Finding) -> Markup:
    basis = counted(f"{each.code}: {each.title}", each.evidence, "the rows that the evidence names")
    return page.number(f"finding/{i}/evidence/{j}", each.evidence, basis)
