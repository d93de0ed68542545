"""NG4xx: numbers that were not measured in the same way, and so cannot be compared."""

import re
from collections.abc import Iterator

from netgain.audit._reading import hedged, listed, same_metric, short
from netgain.audit.finding import Finding, Severity
from netgain.audit.rule import DocumentRule
from netgain.interop._md_frame import LOSS, stage
from netgain.interop.documents import Change, Column, Table

SPREAD = 0.05


def grouped(changes: tuple[Change, ...]) -> list[list[Change]]:
    """Changes of the same metric, in order of appearance."""
    groups: list[list[Change]] = []
    for change in changes:
        for group in groups:
            if same_metric(group[0].metric, change.metric):
                group.append(change)
                break
        else:
            groups.append([change])
    return groups


class SeveralBaselines(DocumentRule):
    """One model, one metric, several baseline values."""

    code = "NG401"
    title = "The same baseline has several values"
    severity = Severity.ERROR
    fix = "Measure the base once, on the items and with the settings of the tuned runs, and compare all runs with that."

    def check(self) -> Iterator[Finding]:
        """Baselines of one metric in different sections that differ by more than 5 %."""
        for group in grouped(self.document.changes):
            values = {c.before.number: c for c in group}
            sections = {c.heading for c in group}
            low, high = min(values), max(values)
            if len(values) > 1 and len(sections) > 1 and high - low > SPREAD * abs(low):
                effect = max(abs(c.after.number - c.before.number) for c in group)
                shown = [f"{c.before.shown} (line {c.line})" for c in values.values()]
                yield self.finding(
                    f"The baseline of {group[0].metric} is {listed(shown)}: a spread of {high - low:.3g}, where the "
                    f"largest effect discussed is {effect:.3g}.",
                    line=group[1].line, table=group[0].table, cell=group[1].cells,
                )  # fmt: skip


class BaselineOnOtherItems(DocumentRule):
    """A baseline measured on a sample, a final value measured on everything."""

    code = "NG402"
    title = "Baseline and final are measured on different items"
    severity = Severity.WARNING
    fix = "Send base and tuned model through one function, over one list of item ids, and print the hash of the list."
    KEY = re.compile(r"^base(line)?[_ ]?(eval(uation)?)?[_ ](samples|items|examples|limit|n)$", re.I)

    def check(self) -> Iterator[Finding]:
        """A setting that limits the items of the baseline only."""
        noted = [s for s in self.document.settings if self.KEY.match(s.key) and s.value is not None]
        if not noted:
            return
        counts = sorted({int(s.value.number) for s in noted if s.value})
        final = [
            s for s in self.document.settings if re.match(r"^final[_ ].*(samples|items|examples|limit)$", s.key, re.I)
        ]
        if {int(s.value.number) for s in final if s.value} == set(counts):
            return
        lines = sorted({s.line for s in noted})
        yield self.finding(
            f"{noted[0].key} = {listed([str(c) for c in counts])} limits the baseline (lines "
            f"{listed([str(line) for line in lines])}); no setting limits the final evaluation to the same items, so "
            "the printed changes mix training with a change of items.",
            line=lines[0], cell=f"{noted[0].key} {noted[0].text}",
        )  # fmt: skip


class SubsetContradicts(DocumentRule):
    """A verdict on a subset that the full set reverses."""

    code = "NG403"
    title = "A subset and the full set disagree on the sign"
    severity = Severity.ERROR
    fix = "Withdraw the subset's verdict; decide on the full set, with an interval."

    def check(self) -> Iterator[Finding]:
        """Changes of one metric with different n and opposite signs."""
        for group in grouped(self.document.changes):
            counted = sorted((c for c in group if c.n), key=lambda c: c.n or 0)
            if len(counted) < 2 or counted[0].n == counted[-1].n:
                continue
            full = counted[-1]
            for part in counted[:-1]:
                moved = (part.after.number - part.before.number, full.after.number - full.before.number)
                if part.n != full.n and moved[0] * moved[1] < 0:
                    yield self.finding(
                        f"{part.metric}: {_move(part)} on {part.n} items, {_move(full)} on {full.n}, line {full.line}.",
                        line=part.line, table=part.table, cell=part.cells,
                    )  # fmt: skip


def _move(change: Change) -> str:
    delta = change.after.number - change.before.number
    return f"{change.before.shown} -> {change.after.shown} ({delta:+.3g})"


class EvaluationSizeVaries(DocumentRule):
    """One metric on a different number of items in every section."""

    code = "NG404"
    title = "One metric is measured on different numbers of items"
    severity = Severity.WARNING
    fix = "Fix the item list before the first run; re-evaluate the stored checkpoints on it."

    def check(self) -> Iterator[Finding]:
        """Changes of one metric with several n."""
        for group in grouped(self.document.changes):
            counts = sorted({c.n for c in group if c.n})
            if len(counts) > 1:
                yield self.finding(
                    f"{group[0].metric} is measured on {listed([str(c) for c in counts])} items in different sections; "
                    "its changes are not comparable between them.",
                    line=group[0].line, table=group[0].table, cell=group[0].cells,
                )  # fmt: skip


class ChangesOfOtherBaselines(DocumentRule):
    """Relative changes compared although they start from different baselines."""

    code = "NG405"
    title = "Relative changes of different baselines are compared"
    severity = Severity.WARNING
    fix = "Compare the final scores, measured on the same items, or the differences from one common baseline."
    PAIR = re.compile(r"from\s+([+\-−]?\d+(?:\.\d+)?)\s?%\s+to\s+([+\-−]?\d+(?:\.\d+)?)\s?%", re.I)

    def check(self) -> Iterator[Finding]:
        """`from -26.7 % to -8.0 %` where the two changes have other baselines."""
        for sentence in self.document.prose:
            for match in self.PAIR.finditer(sentence.text):
                pair = [self._change(float(text.replace("−", "-"))) for text in match.groups()]
                one, two = pair
                if one and two and one.before.number != two.before.number and same_metric(one.metric, two.metric):
                    yield self.finding(
                        f'"{short(match.group(0))}" compares a change from {one.before.shown} with a change from '
                        f"{two.before.shown}; the final scores are {one.after.shown} and {two.after.shown}.",
                        line=sentence.line, cell=match.group(0),
                    )  # fmt: skip

    def _change(self, stated: float) -> Change | None:
        found = [c for c in self.document.changes if c.stated and c.stated.number == stated]
        return found[0] if found else None


class ManyKnobs(DocumentRule):
    """Several settings changed at once, so that no one of them explains the result."""

    code = "NG406"
    title = "Several settings change at once"
    severity = Severity.WARNING
    fix = "Change one setting, or add the arms that separate them (old with one new setting each)."
    OLD, NEW = re.compile(r"\b(old|previous|before|current)\b", re.I), re.compile(r"\b(new|next|after)\b", re.I)

    def check(self) -> Iterator[Finding]:
        """Tables of old and new settings with at least two rows that differ."""
        for table in self.document.tables:
            old = [c for c in table.columns if self.OLD.search(c.name) and c.role != "text"]
            new = [c for c in table.columns if self.NEW.search(c.name) and c.role != "text"]
            if not table.having("parameter") or len(old) != 1 or len(new) != 1:
                continue
            rows = [r for r in range(table.height) if old[0].cells[r].text != new[0].cells[r].text]
            shown = [f"{table.label(r, 'parameter')} {old[0].cells[r].text} -> {new[0].cells[r].text}" for r in rows]
            also = _in_brackets(old[0]) != _in_brackets(new[0])
            if len(rows) + also >= 2 and rows:
                extra = f", together with {old[0].name} -> {new[0].name}" if also else ""
                yield self.finding(
                    f"{len(rows)} settings change at once ({listed(shown)}){extra}; a difference between the arms "
                    "cannot be laid on any one of them.",
                    line=new[0].cells[rows[0]].line, table=table.name, cell=shown[0],
                )  # fmt: skip


def _in_brackets(column: Column) -> str:
    found = re.search(r"\(([^)]*)\)", column.name)
    return found[1] if found else ""


class NotTheNamedMetric(DocumentRule):
    """A metric that is only a proxy of what its name says."""

    code = "NG407"
    title = "The metric is not what its name says"
    severity = Severity.WARNING
    fix = "Run the benchmark's own scorer (execute the unit tests in a sandbox), or rename the metric and the claim."
    PROXY = re.compile(
        r"(string|span|text|substring|n-?gram)[ /-]*\w*[ -]match\w*[^.]*\b(not|instead of|rather than)\b|"
        r"\bnot (sandboxed |unit[- ]test |an? )?(unit[- ]?tests?|execut\w+)|"
        r"\b(numbers?|scores?|results?)\b[^.]*\b(cheap|rough)\b[^.]*\bproxy\b",
        re.I,
    )

    def check(self) -> Iterator[Finding]:
        """Sentences that admit a proxy for execution or for the benchmark's scorer."""
        for sentence in self.document.prose:
            if self.PROXY.search(sentence.text):
                tasks = sorted({s.task for s in self.document.scores if re.search(r"human|mbpp|code", s.task, re.I)})
                which = f" It covers {listed(tasks)}." if tasks else ""
                yield self.finding(f'"{short(sentence.text)}"{which}', line=sentence.line, cell=sentence.text)


class NoBaseline(DocumentRule):
    """Results without anything to compare them with."""

    code = "NG408"
    title = "There is no baseline"
    severity = Severity.WARNING
    fix = "Evaluate the untrained base, and a majority or empty-input control, through the same code."
    SKIPPED = re.compile(
        r"\bbaseline\b[^.|]{0,12}\b(skipped|none|not (run|measured|evaluated)|missing)|n/a baseline", re.I
    )
    CONTROL = re.compile(
        r"\b(base|baseline|majority|random|chance|zero-?shot|untrained|untuned|control|sft)\b|λ ?= ?0", re.I
    )

    def check(self) -> Iterator[Finding]:
        """Sections whose baseline was skipped but that print results; tables of arms with no control among them."""
        for sentence in self.document.prose:
            if self.SKIPPED.search(sentence.text):
                yield self.finding(
                    f'"{short(sentence.text)}" in "{sentence.heading[-1] if sentence.heading else ""}": its results '
                    "can be compared with nothing.",
                    line=sentence.line, cell=sentence.text,
                )  # fmt: skip
                break
        arms = {s.arm for s in self.document.scores if s.arm and s.table.having("arm")}
        tables = [t for t in self.document.tables if t.having("score") and t.having("arm")]
        if len(arms) < 3 or self.document.mentions(self.CONTROL.pattern) or any(map(self._controlled, tables)):
            return
        if not any(self.CONTROL.search(arm) for arm in arms):
            yield self.finding(
                f"None of the {len(arms)} arms ({listed(sorted(arms))}) is a base model or a control.",
                line=tables[0].line, table=tables[0].name, severity=Severity.NOTE,
            )  # fmt: skip

    def _controlled(self, table: Table) -> bool:
        return any(stage(c.name) == "baseline" for c in table.having("score"))


class ProxyDisagrees(DocumentRule):
    """A proxy that improves while the target does not follow."""

    code = "NG409"
    title = "The proxy and the target disagree"
    severity = Severity.ERROR
    fix = "Decide on the target metric; report the proxy only beside it."

    def check(self) -> Iterator[Finding]:
        """Two metrics of the same runs, one high and one near zero; a loss that falls while the score falls too."""
        for table in self.document.tables:
            if table.having("seed", "arm") and not table.having("metric", "task"):
                yield from self._columns(table)
        yield from self._losses()

    def _columns(self, table: Table) -> Iterator[Finding]:
        rates = {c.name: [s.rate for s in self.document.scores if s.column is c and s.rate is not None]
                 for c in table.having("score")}  # fmt: skip
        middles = {name: sorted(found)[len(found) // 2] for name, found in rates.items() if len(found) > 2}
        high = [(name, m) for name, m in middles.items() if m >= 0.8]
        low = [(name, m) for name, m in middles.items() if m <= 0.2]
        if high and low:
            yield self.finding(
                f"The median {high[0][0]} is {high[0][1]:.1%} while the median {low[0][0]} of the same runs is "
                f"{low[0][1]:.1%}.",
                line=table.line, table=table.name, cell=f"{high[0][0]} / {low[0][0]}",
            )  # fmt: skip

    def _losses(self) -> Iterator[Finding]:
        found = []
        sections = dict.fromkeys(c.heading for c in self.document.changes)
        for heading in sections:
            mine = [c for c in self.document.changes if c.heading == heading]
            losses = [c for c in mine if LOSS.search(c.metric) and c.after.number < c.before.number]
            worse = [c for c in mine if not LOSS.search(c.metric) and c.after.number < c.before.number]
            targets = [c for c in worse if not hedged(c, self.document)]
            if losses and targets:
                found.append((losses[0], targets[0]))
        if found:
            shown = [
                f"{a.metric} {a.before.shown} -> {a.after.shown} while {b.metric} {b.before.shown} -> {b.after.shown}"
                for a, b in found
            ]
            yield self.finding(
                f"The loss improves and the score falls in {len(found)} of {len(sections)} sections: "
                f"{listed(shown, 3)}.",
                line=found[0][1].line, table=found[0][1].table, cell=found[0][1].cells, severity=Severity.WARNING,
            )  # fmt: skip
