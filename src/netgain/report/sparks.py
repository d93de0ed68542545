"""Learning curves in a line of a terminal: dev loss, else training loss, as eight heights of a block."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

from netgain.ledger.store import Ledger
from netgain.report.study import Report
from netgain.spec.study import planned

BLOCKS = "▁▂▃▄▅▆▇█"
PLAIN = "_.:-=+*#"
"""For terminals that cannot show blocks."""
WIDTH = 24


def spark(values: Sequence[float], width: int = WIDTH, heights: str = BLOCKS) -> str:
    """Values from left to right, at most `width` of them (means of neighbours), the lowest as the lowest block."""
    if len(values) > width:
        edges = [round(i * len(values) / width) for i in range(width + 1)]
        values = [sum(values[a:b]) / (b - a) for a, b in pairwise(edges)]
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    return "".join(heights[min(len(heights) - 1, int((v - low) / span * len(heights)))] for v in values)


def learned(report: Report, heights: str = BLOCKS) -> Iterator[tuple[str, str, str]]:
    """(arm, its curve, what it did in words) of each arm whose finished runs took steps; the mean over seeds."""
    ledger = Ledger(report.ledger)
    done = report.provenance["runs"]
    arms: dict[str, list[dict[int, tuple[str, float]]]] = {}
    for each in planned(report.study):
        if each.sig in done and each.run.method.learns:
            arms.setdefault(each.arm, []).append(_losses(ledger.run(each.sig).metrics()))
    for arm, runs in arms.items():
        steps = sorted(set.intersection(*(set(run) for run in runs))) if runs else []
        if len(steps) > 1:
            means = [sum(run[step][1] for run in runs) / len(runs) for step in steps]
            best = min(range(len(means)), key=means.__getitem__)
            kind = runs[0][steps[0]][0]
            words = f"{kind} loss {means[0]:.3g} to {means[-1]:.3g}"
            if kind == "dev" and means[best] < means[-1]:
                words += f", best {means[best]:.3g} at step {steps[best]}"
            yield arm, spark(means, heights=heights), words


def _losses(rows: Sequence[dict[str, Any]]) -> dict[int, tuple[str, float]]:
    """step -> (which loss, its value): on dev rows where they were measured more than once, else on training rows."""
    dev = {int(row["step"]): ("dev", float(row["loss"])) for row in rows if _has(row, "dev")}
    return dev if len(dev) > 1 else {int(r["step"]): ("training", float(r["loss"])) for r in rows if _has(r, None)}


def _has(row: dict[str, Any], event: str | None) -> bool:
    return row.get("event") == event and row.get("loss") is not None and "step" in row
