"""The report of imported results: there is no study file, so the first arm is the baseline of all others."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from netgain.audit.engine import run
from netgain.audit.report import Report as Audit
from netgain.errors import UserError
from netgain.ledger.store import Ledger
from netgain.report.compare import Comparison, compare

BASELINES = ("base", "baseline")
"""Arms that are the baseline wherever they stand."""


@dataclass(frozen=True)
class Imported:
    """Every arm of a ledger against one of them."""

    baseline: str
    comparisons: tuple[Comparison, ...]
    audit: Audit

    def to_json(self) -> dict[str, Any]:
        return {
            "baseline": self.baseline,
            "comparisons": [made.to_json() for made in self.comparisons],
            "findings": [finding.to_json() for finding in self.audit.findings],
        }

    def render(self, console: Console) -> None:
        for made in self.comparisons:
            made.render(console)
            console.print()
        self.audit.render(console)


def build(ledger: Path, versus: str | None = None) -> Imported:
    """Compare all arms of the ledger with `versus`, with an arm called base, or with the first."""
    arms = [entry["arm"] for study in Ledger(ledger).studies().values() for entry in study["runs"]]
    arms = list(dict.fromkeys(arms))
    if len(arms) < 2:
        raise UserError(f"{ledger}: holds {len(arms)} arm; import a second one to compare it with.")
    baseline = versus or next((name for name in arms if name in BASELINES), arms[0])
    if baseline not in arms:
        raise UserError(f'{ledger}: has no arm "{baseline}"; it has {", ".join(arms)}.')
    others = [name for name in arms if name != baseline]
    made = tuple(compare(f"{ledger}:{baseline}", f"{ledger}:{other}") for other in others)
    return Imported(baseline, made, run([ledger]))
