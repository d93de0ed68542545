"""What an audit found, for people, for programs (JSON) and for code hosts (SARIF 2.1.0)."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from netgain.audit.finding import Finding, Severity, Silenced

if TYPE_CHECKING:
    from rich.console import Console

_COLOUR = {Severity.ERROR: "bold red", Severity.WARNING: "yellow", Severity.NOTE: "cyan"}
_LEVEL = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "note"}


@dataclass(slots=True)
class Report:
    """Findings, what was silenced and why, and which rules had what they need."""

    fail_on: Severity = Severity.ERROR
    files: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    silenced: list[Silenced] = field(default_factory=list)
    checked: set[str] = field(default_factory=set)

    def sort(self) -> None:
        """By file, then worst first, then by line."""
        order = {name: index for index, name in enumerate(self.files)}
        self.findings.sort(key=lambda f: (order.get(f.where.file, 0), f.severity.rank, f.code, f.where.line))

    @property
    def counts(self) -> dict[str, int]:
        """How many findings of each severity."""
        found = Counter(f.severity for f in self.findings)
        return {str(severity): found[severity] for severity in Severity}

    @property
    def exit_code(self) -> int:
        """1 when a finding is at least as severe as `fail_on`."""
        return int(any(f.severity.rank <= self.fail_on.rank for f in self.findings))

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return {
            "files": self.files,
            "counts": self.counts,
            "checked": sorted(self.checked),
            "findings": [f.to_json() for f in self.findings],
            "silenced": [{**s.finding.to_json(), "reason": s.reason} for s in self.silenced],
        }

    def to_sarif(self) -> dict[str, Any]:
        """As SARIF 2.1.0, which code hosts show beside the line."""
        titles = {f.code: f for f in [*self.findings, *(s.finding for s in self.silenced)]}
        driver = {
            "name": "netgain",
            "rules": [
                {
                    "id": code,
                    "shortDescription": {"text": titles[code].title},
                    "help": {"text": titles[code].fix},
                    "defaultConfiguration": {"level": _LEVEL[titles[code].severity]},
                }
                for code in sorted(titles)
            ],
        }
        results = [_sarif(f) for f in self.findings]
        for silenced in self.silenced:
            mark = {"kind": "inSource", "justification": silenced.reason}
            results.append({**_sarif(silenced.finding), "suppressions": [mark]})
        return {
            "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
            "version": "2.1.0",
            "runs": [{"tool": {"driver": driver}, "results": results}],
        }

    def render(self, console: "Console") -> None:
        """Each defect once: what it is, every place with its numbers, what to do."""
        from rich.markup import escape
        from rich.padding import Padding

        for name in self.files:
            mine = [f for f in self.findings if f.where.file == name]
            if mine:
                console.print(f"[bold]{escape(name)}[/bold]")
            for same in _alike(mine):
                first = same[0]
                head = f"[{_COLOUR[first.severity]}]{first.code} {first.severity}[/] {escape(first.title)}"
                console.print(Padding(head, (0, 0, 0, 2), expand=False))
                for found in same:
                    line = f"[dim]line {found.where.line}:[/dim] " if found.where.line else ""
                    console.print(Padding(line + escape(found.evidence), (0, 0, 0, 4), expand=False))
                console.print(Padding(f"[green]fix:[/green] {escape(first.fix)}", (0, 0, 0, 4), expand=False))
            if mine:
                console.print()
        console.print(self.summary())

    def summary(self) -> str:
        """`2 files, 31 rules: 4 errors, 9 warnings, 3 notes (1 silenced).`"""
        counts = ", ".join(_plural(n, word) for word, n in self.counts.items())
        silenced = f" ({len(self.silenced)} silenced)" if self.silenced else ""
        return f"{_plural(len(self.files), 'file')}, {_plural(len(self.checked), 'rule')}: {counts}{silenced}."


def _alike(findings: Iterable[Finding]) -> list[list[Finding]]:
    """Findings of one rule, severity and fix together, in the order of the first."""
    groups: dict[tuple[str, Severity, str], list[Finding]] = {}
    for found in findings:
        groups.setdefault((found.code, found.severity, found.fix), []).append(found)
    return list(groups.values())


def _plural(n: int, word: str) -> str:
    return f"{n} {word}{'' if n == 1 else 's'}"


def _sarif(found: Finding) -> dict[str, Any]:
    place: dict[str, Any] = {"artifactLocation": {"uri": found.where.file}}
    if found.where.line:
        place["region"] = {"startLine": found.where.line}
    return {
        "ruleId": found.code,
        "level": _LEVEL[found.severity],
        "message": {"text": f"{found.title}: {found.evidence} Fix: {found.fix}"},
        "locations": [{"physicalLocation": place}],
    }
