"""What a number on the page rests on: its interval, level, method, n, and the ledger's rows that it is made of."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from netgain.report.frame import Member
from netgain.report.study import Judged
from netgain.stats.result import Estimate, say, say_level, say_range
from netgain.stats.retention import benefit


@dataclass(frozen=True, slots=True)
class Basis:
    """Shown on hover and focus, and compared by `netgain verify` with what the ledger gives."""

    what: str
    said: str
    interval: str
    n: str
    method: str
    rows: str
    value: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Direction:
    """An estimate signed so that larger is better, as charts show it."""

    estimate: float
    low: float
    high: float
    level: float


def of_estimate(found: Estimate, rows: str, what: str | None = None) -> Basis:
    """The basis of a number that carries its own interval."""
    known = math.isfinite(found.low) and math.isfinite(found.high)
    between = f"{say_level(found.level)}: {say_range(found.low, found.high, found.scale)}" if known else "none"
    return Basis(
        what=what or found.what,
        said=say(found.estimate, found.scale),
        interval=between,
        n=found.basis,
        method=found.method,
        rows=rows,
        value=found.estimate,
        low=found.low if known else None,
        high=found.high if known else None,
    )


def of_judged(each: Judged, rows: str) -> Basis:
    """The interval that the verdict follows: the retention interval when retention was asked."""
    what = f"{each.arm} against {each.versus}, {each.task}/{each.metric} ({each.checkpoint} checkpoint)"
    mark = f"{each.word}; without that " if each.invalid else ""
    kept = each.verdict.retention
    if kept is None:
        found = of_estimate(each.verdict.answer, rows, what)
        return replace(found, said=mark + found.said)
    turned = "" if kept.higher_is_better else ", sign turned so that + is better"
    return Basis(
        what=what,
        said=f"{mark}{say(kept.estimate, kept.scale)}, margin {say(-kept.margin, kept.scale)}",
        interval=f"{say_level(kept.level)}: {say_range(kept.low, kept.high, kept.scale)}{turned}",
        n=kept.basis,
        method=kept.method,
        rows=rows,
        value=kept.estimate,
        low=kept.low if math.isfinite(kept.low) else None,
        high=kept.high if math.isfinite(kept.high) else None,
    )


def direction(each: Judged) -> Direction:
    """Right of zero is better, whatever the metric's own direction."""
    kept = each.verdict.retention
    if kept is not None:
        return Direction(kept.estimate, kept.low, kept.high, kept.level)
    signed = benefit(each.verdict.answer, each.verdict.higher_is_better)
    return Direction(signed.estimate, signed.low, signed.high, signed.level)


def counted(what: str, said: str, rows: str) -> Basis:
    """A number that was counted or summed, without an interval."""
    return Basis(what=what, said=said, interval="none: a count", n="-", method="counted", rows=rows)


def rows_of(members: Sequence[Member], task: str, metric: str, checkpoint: str) -> str:
    """`items of 2 runs (e01af7ce, fc32281b): task sentiment, metric accuracy, checkpoint final`."""
    names = ", ".join(member.folder.sig[:8] for member in members[:4])
    more = f" and {len(members) - 4} more" if len(members) > 4 else ""
    plural = "" if len(members) == 1 else "s"
    return f"items of {len(members)} run{plural} ({names}{more}): task {task}, metric {metric}, checkpoint {checkpoint}"
