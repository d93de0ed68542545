"""What the missing runs of a study will take here, from what finished runs like them took: no model is loaded for it.

A run is like another that is the same arm at another seed, else one with the same model, method, batch and tasks. Its
record says how long it took in all (`seconds`, its share of its pack), how much of that was for what is kept, such as a
teacher's reading (`once_seconds`: not paid again), and how long its steps did; with another number of steps only those
are scaled. Memory is the largest that the process of any of them held. So the first seed of a study
is its own measurement: `netgain run` it, or a smaller `steps`, and `netgain plan` says what the rest costs.
"""

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from netgain.ledger.store import Ledger
from netgain.report.words import seconds
from netgain.spec.study import Planned

ALIKE = {"model", "method", "tasks", "references"}


@dataclass(frozen=True)
class Estimate:
    """`runs` missing ones one after another on this machine; `unknown` more are like none that is finished."""

    seconds: float
    peak_mb: float
    runs: int
    finished: int
    unknown: int

    @property
    def sentence(self) -> str:
        rest = f"; {self.unknown} more are like none that is finished" if self.unknown else ""
        took = f"about {seconds(self.seconds)} for {self.runs} missing runs, one after another"
        return f"{took}, and {self.peak_mb:,.0f} MB (from {self.finished} finished ones{rest})."


def estimate(wanted: Sequence[Planned], ledger: Ledger) -> Estimate | None:
    """None when nothing is missing, or nothing like it is finished."""
    unique = {each.sig: each for each in wanted}
    done = [each for each in unique.values() if ledger.run(each.sig).state_on_disk() == "done"]
    records = {each.sig: ledger.run(each.sig).record() for each in done}
    known = [each for each in done if "seconds" in records[each.sig]]
    missing = [each for each in unique.values() if each.sig not in records]
    found: list[float] = []
    peaks: list[float] = []
    for each in missing:
        like = [other for other in known if other.arm == each.arm] or [o for o in known if _kind(o) == _kind(each)]
        if like:
            found.append(statistics.median(_scaled(each, records[other.sig]) for other in like))
            peaks += [records[other.sig]["peak_mb"] for other in like]
    if not found:
        return None
    return Estimate(sum(found), max(peaks), len(found), len(known), len(missing) - len(found))


def _kind(each: Planned) -> str:
    run = each.run.model_dump(mode="json", include=ALIKE)
    return json.dumps({**run, "batch": each.run.optim.batch}, sort_keys=True)


def _scaled(each: Planned, record: dict[str, Any]) -> float:
    """What a run took, had it taken the steps of `each` and found all that is kept."""
    trained, steps = record.get("train_seconds", 0.0), record["steps"]
    seconds = record["seconds"] - record.get("once_seconds", 0.0)
    if not (each.run.method.learns and steps):
        return seconds
    return seconds + trained * (each.run.optim.steps / steps - 1)
