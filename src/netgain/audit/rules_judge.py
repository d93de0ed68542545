"""NG8xx: scores that a judge or a map bends."""

import re
from collections.abc import Iterator
from itertools import pairwise

from netgain.audit._reading import listed, short
from netgain.audit.finding import Finding, Severity
from netgain.audit.rule import DocumentRule


class ScoreSaturates(DocumentRule):
    """A bounded score many items of which sit at a bound."""

    code = "NG801"
    title = "A score saturates at its bound"
    severity = Severity.WARNING
    fix = (
        "Print the histogram of item scores and the share at each bound; check that the map from the judge's raw score "
        "is monotone, and compare raw scores pairwise."
    )
    SAID = re.compile(
        r"\b(drop\w*|fell|fall\w*|clip\w*|capped|saturat\w*|floored|cluster\w*|pinned)\b[^.]{0,50}"
        r"(\b(floor|cap|minimum|maximum|ceiling|bound)\b|\b(1\.0|0\.0|10(\.0)?)\b[^.]{0,10}\((min|max)\w*)|"
        r"\(minimum score\)|\(maximum score\)",
        re.I,
    )

    def check(self) -> Iterator[Finding]:
        """Sentences that say so, in one finding."""
        found = [(s, m) for s in self.document.prose if (m := self.SAID.search(s.text))]
        if found:
            shown = [f'"{short(match.group(0), 60)}" (line {s.line})' for s, match in found]
            yield self.finding(
                f"{listed(shown)}: items at a bound carry no difference, and one that jumps between the bounds "
                "outweighs all others.",
                line=found[0][0].line, cell=found[0][1].group(0),
            )  # fmt: skip


class ScoreMapFolds(DocumentRule):
    """A map from raw to printed scores that is not monotone."""

    code = "NG802"
    title = "The score map is not monotone"
    severity = Severity.ERROR
    fix = "Use one increasing map (for example a logistic), and test it on a grid."

    def check(self) -> Iterator[Finding]:
        """Tables with a raw and a mapped score that are ordered differently."""
        for table in self.document.tables:
            raw = [c for c in table.columns if re.match(r"^(raw|logit|reward)\b", c.name, re.I)]
            mapped = [c for c in table.columns if re.match(r"^(mapped|score|scaled|1\s?-\s?10)\b", c.name, re.I)]
            if len(raw) != 1 or len(mapped) != 1 or raw[0] is mapped[0]:
                continue
            pairs = sorted(
                (a.value.number, b.value.number, b.line)
                for a, b in zip(raw[0].cells, mapped[0].cells, strict=True) if a.value and b.value
            )  # fmt: skip
            for (x, y, _), (u, v, line) in pairwise(pairs):
                if u > x and v < y:
                    yield self.finding(
                        f"{raw[0].name} {x:g} maps to {y:g}, the higher {u:g} to {v:g}.",
                        line=line, table=table.name, cell=f"{u:g} -> {v:g}",
                    )  # fmt: skip
                    break
