"""`netgain compare BASE TUNED`: two sides on the same items, a verdict for each task, and the items that changed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from netgain.errors import UserError
from netgain.interop.find import Side, side
from netgain.interop.pair import Paired, pair
from netgain.ledger.items import higher_is_better
from netgain.report.compare_view import show
from netgain.report.jsonable import tree
from netgain.stats.multiplicity import Adjusted, holm
from netgain.stats.result import Scale
from netgain.stats.retention import Needed, Overall, needed_for, overall
from netgain.stats.verdict import Verdict, contrast

SHOWN = 200
"""Characters of an output that an example keeps."""
SAME_OUTPUTS = 10
"""From this many items on, outputs that are all identical deserve a question."""


@dataclass(frozen=True, slots=True)
class Flip:
    """One item that went from right to wrong or back, with what each side said."""

    item: str
    way: str
    label: str | None
    base: str | None
    tuned: str | None


@dataclass(frozen=True, slots=True)
class Rates:
    """Shares of one side's answers; None where the evidence does not say."""

    unparsed: float | None
    truncated: float | None
    missing: Mapping[str, int]
    """Reason -> rows without a value."""


@dataclass(frozen=True, slots=True)
class Result:
    """What may be concluded on one metric of one task."""

    task: str
    metric: str
    base: float
    tuned: float
    scale: Scale
    verdict: Verdict
    adjusted_p: float
    needed: Needed | None
    """What would show a true difference as large as the observed one, when this evidence cannot tell."""
    flips: tuple[Flip, ...]
    base_rates: Rates
    tuned_rates: Rates
    notes: tuple[str, ...]

    @property
    def title(self) -> str:
        return f"{self.task}/{self.metric}"


@dataclass(frozen=True, slots=True)
class Comparison:
    """Every task that two sides share, judged as one family."""

    base: Side
    tuned: Side
    results: tuple[Result, ...]
    family: Adjusted
    overall: Overall | None
    margin: float | None
    level: float
    dropped: tuple[str, ...]
    notes: tuple[str, ...]

    def render(self, console: Any) -> None:
        """Print for people, on a rich console."""
        show(self, console)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values: every number with what it rests on; a number that does not exist is null."""
        results = [
            tree(each) | {"sentence": each.verdict.sentence(), "scope": each.verdict.scope} for each in self.results
        ]
        return {
            "base": source(self.base),
            "tuned": source(self.tuned),
            "difference": "tuned - base",
            "level": self.level,
            "margin": self.margin,
            "results": results,
            "multiplicity": tree(self.family) | {"sentence": self.family.sentence()},
            "overall": None if self.overall is None else tree(self.overall) | {"sentence": self.overall.sentence()},
            "dropped": list(self.dropped),
            "notes": list(self.notes),
        }


def source(which: Side) -> dict[str, Any]:
    """Where a side's evidence came from."""
    return {"name": which.name, "arm": which.arm, **tree(which.samples.source), "notes": list(which.samples.notes)}


def compare(
    base: str,
    tuned: str,
    *,
    metric: str | None = None,
    tasks: Sequence[str] = (),
    margin: float | None = None,
    cluster: str | None = None,
    roles: Mapping[str, str] | None = None,
    ledger: Path | None = None,
    allow_partial: bool = False,
    any_prompt: bool = False,
    examples: int = 3,
    level: float = 0.95,
    seed: int = 0,
) -> Comparison:
    """tuned - base, paired by (task, metric, item, sample). Each side is PATH, PATH:ARM, PATH:ARM@CHECKPOINT, or an
    arm, STUDY/ARM or sig of `ledger`.

    margin         judge retention (non-inferiority) against it instead of gain
    cluster        column, document field or metadata field whose items are not independent
    roles          role -> column of a table, where names do not say it
    allow_partial  compare the shared items when the sides differ, and say what was dropped
    any_prompt     accept the same documents under different prompts
    """
    if not 0 < level < 1:
        raise UserError(f"a level of {level:g} is no confidence level; use something like 0.95.")
    stated = {**(roles or {}), **({"cluster": cluster} if cluster else {})}
    left, right = side(base, ledger, stated), side(tuned, ledger, stated)
    paired, dropped = pair(left, right, tasks=tasks, metric=metric, partial=allow_partial, any_prompt=any_prompt)
    rng = np.random.default_rng(seed)
    judged = [judge(each, left, right, margin, level, examples, rng) for each in paired]
    names = {f"{each.task}/{each.metric}": verdict.p for each, (verdict, _) in zip(paired, judged, strict=True)}
    family = holm(names, alpha=1 - level)
    results = [
        finish(each, left, right, verdict, flips, family) for each, (verdict, flips) in zip(paired, judged, strict=True)
    ]
    kept = {each.title: each.verdict.retention for each in results if each.verdict.retention is not None}
    return Comparison(
        base=left,
        tuned=right,
        results=tuple(results),
        family=family,
        overall=overall(kept) if kept else None,
        margin=margin,
        level=level,
        dropped=dropped,
        notes=notes_of(left, right),
    )


def judge(
    each: Paired, left: Side, right: Side, margin: float | None, level: float, examples: int, rng: np.random.Generator
) -> tuple[Verdict, tuple[Flip, ...]]:
    """The verdict on one metric, and items that flipped."""
    verdict = contrast(
        each.tuned,
        each.base,
        item_weights=each.weights,
        clusters=each.clusters,
        margin=margin,
        higher_is_better=higher_is_better(each.metric),
        paired_seeds=each.paired_seeds,
        level=level,
        rng=rng,
    )
    return verdict, flips_of(each, left, right, examples) if verdict.flips is not None else ()


def finish(
    each: Paired, left: Side, right: Side, verdict: Verdict, flips: tuple[Flip, ...], family: Adjusted
) -> Result:
    """The verdict with its surroundings."""
    size = abs(verdict.estimate)
    unsure = verdict.word == "cannot tell" and verdict.retention is None and size > 0
    scale: Scale = "percent" if verdict.answer.scale == "points" else "raw"
    return Result(
        task=each.task,
        metric=each.metric,
        base=mean_of(each, each.base),
        tuned=mean_of(each, each.tuned),
        scale=scale,
        verdict=verdict,
        adjusted_p=family.adjusted[f"{each.task}/{each.metric}"],
        needed=needed_for(verdict.answer, size, alpha=(1 - verdict.level) / 2) if unsure else None,
        flips=flips,
        base_rates=rates(each, left, each.base_rows),
        tuned_rates=rates(each, right, each.tuned_rows),
        notes=notes_on(each, left, right),
    )


def mean_of(each: Paired, values: NDArray[np.float64]) -> float:
    """Weighted mean over the items that have a value on both sides, and over seeds."""
    kept = ~(np.isnan(each.base).any(axis=0) | np.isnan(each.tuned).any(axis=0))
    if not kept.any():
        return float("nan")
    weights = None if each.weights is None else each.weights[kept]
    return float(np.average(values[:, kept].mean(axis=0), weights=weights))


def flips_of(each: Paired, left: Side, right: Side, examples: int) -> tuple[Flip, ...]:
    """The first items that the first seeds answered differently; losses first, since they are what one looks for."""
    before, after = each.base[0], each.tuned[0]
    out = []
    for way, mask in (("right -> wrong", before > after), ("wrong -> right", before < after)):
        for i in np.flatnonzero(mask)[:examples]:
            rows = [
                which.rows.slice(int(row[i]), 1) for which, row in ((left, each.base_rows), (right, each.tuned_rows))
            ]
            name = each.items[int(i)].as_py()
            name += f", sample {rows[0]['sample'][0].as_py()}" if each.samples > 1 else ""
            label = rows[0]["label"][0].as_py() or rows[1]["label"][0].as_py()
            out.append(Flip(name, way, label, said(rows[0]), said(rows[1])))
    return tuple(out)


def said(row: pa.Table) -> str | None:
    """What a side answered: its output, or else the parsed prediction, on one line and cut."""
    text = row["output"][0].as_py() or row["prediction"][0].as_py()
    if text is None:
        return None
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text[: 4 * SHOWN]).split())
    return line if len(line) <= SHOWN else line[: SHOWN - 1] + "…"


def rates(each: Paired, which: Side, rows: NDArray[np.int64]) -> Rates:
    """Of the first run's answers: unparsed, truncated, and without a value."""
    index = pa.array(rows)
    parsed, cut, reasons = (which.rows[name].take(index).drop_null() for name in ("parsed", "truncated", "reason"))
    counts = {entry["values"].as_py(): entry["counts"].as_py() for entry in reasons.value_counts()}
    return Rates(
        unparsed=1 - mean_true(parsed) if len(parsed) else None,
        truncated=mean_true(cut) if len(cut) else None,
        missing=counts,
    )


def mean_true(column: pa.ChunkedArray) -> float:
    return float(pc.mean(column).as_py())  # pyright: ignore[reportAttributeAccessIssue]


def notes_on(each: Paired, left: Side, right: Side) -> tuple[str, ...]:
    """What a reader of this one number should also know."""
    notes = []
    if each.samples > 1:
        notes.append(f"Up to {each.samples} samples an item, paired in order and not taken as independent.")
    count = len(each.items)
    if count >= SAME_OUTPUTS:
        for name in ("output", "prediction"):
            before = left.rows[name].take(pa.array(each.base_rows))
            after = right.rows[name].take(pa.array(each.tuned_rows))
            if before.null_count == 0 and before.equals(after):
                notes.append(f"Every {name} is the same on both sides: was the tuned model the one that answered?")
                break
    return tuple(notes)


def notes_of(left: Side, right: Side) -> tuple[str, ...]:
    """What the readers had to say about each side."""
    return tuple(f"{which.name}: {note}" for which in (left, right) for note in which.samples.notes)
