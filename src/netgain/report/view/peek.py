"""Verdicts before the end: intervals that hold together over every look, marked as looks.

Evidence on a contrast changes when a seed finishes on both sides, so a study of S seeds allows S looks at it. Each look
takes the level 1 - 0.05 / S; whatever the looks share (the same items, earlier seeds), the chance that any of the S
intervals misses is at most 0.05 (Bonferroni), however often the page is opened and whenever the study is stopped. A
look at one seed is about that checkpoint alone, as everywhere in netgain, and says so.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from netgain.errors import UserError
from netgain.ledger.items import higher_is_better
from netgain.report.frame import Frame, Matrix
from netgain.spec.study import Contrast, Study, expand, resolve
from netgain.stats.result import Estimate, Pivot, Scale
from netgain.stats.retention import benefit, retention
from netgain.stats.verdict import contrast

ALPHA = 0.05


@dataclass(frozen=True, slots=True)
class Peek:
    """One declared contrast on the seeds that are finished; signed so that + is better."""

    arm: str
    versus: str
    task: str
    metric: str
    margin: float | None
    seeds: int
    looks: int
    word: str
    estimate: float
    low: float
    high: float
    level: float
    """Of this look alone; all looks together hold at 95 %."""
    scale: Scale
    n: int
    scope: str
    """What the word is about: this recipe, or (one seed allows no more) this checkpoint."""


@dataclass(frozen=True, slots=True)
class Nothing:
    """A declared contrast about which there is nothing to say yet, and why."""

    arm: str
    versus: str
    task: str
    metric: str
    why: str


Known = dict[tuple[int, str, str], tuple[tuple[str, ...], Peek | Nothing]]
"""(contrast, arm, versus) -> the finished runs that a look rested on, and the look."""


def peeks(study: Study, frame: Frame, known: Known) -> Iterator[Peek | Nothing]:
    """Every declared contrast, on what is finished; one whose runs are those of `known` is not looked at again."""
    arms = expand(study)
    for i, asked in enumerate(study.contrasts):
        for arm, versus in resolve(asked, arms, i):
            key = i, arm.name, versus.name
            done = tuple(m.folder.sig for name in key[1:] for m in frame.members[name])
            if key not in known or known[key][0] != done:
                known[key] = done, _said(study, frame, asked, arm.name, versus.name)
            yield known[key][1]


def _said(study: Study, frame: Frame, asked: Contrast, arm: str, versus: str) -> Peek | Nothing:
    try:
        return _peek(study, frame, asked, arm, versus)
    except UserError as error:
        return Nothing(arm, versus, asked.task, asked.metric, str(error))


def _peek(study: Study, frame: Frame, asked: Contrast, arm: str, versus: str) -> Peek | Nothing:
    tuned = frame.matrix(arm, asked.task, asked.metric, asked.checkpoint)
    base = frame.matrix(versus, asked.task, asked.metric, asked.checkpoint)
    names = (arm, versus, asked.task, asked.metric)
    if tuned is None or base is None:
        return Nothing(*names, f"no finished run of {arm if tuned is None else versus} yet")
    pair = shared(tuned, base)
    if pair is None:
        return Nothing(*names, "no seed is finished on both sides yet")
    left, right, seeds = pair
    if tuned.items != base.items:
        return Nothing(*names, "measured on different items")
    looks = max(len(study.seeds), 1)
    found = contrast(
        left,
        right,
        item_weights=tuned.weights,
        clusters=tuned.clusters,
        binary=asked.metric in (frame.card(arm, asked.task) or {}).get("binary", ()),
        higher_is_better=higher_is_better(asked.metric),
        level=1 - ALPHA / looks,
    )
    if not found.n:
        return Nothing(*names, "no item has a value on both sides")
    signed, word = worded(found.answer, higher_is_better(asked.metric), asked.retain, looks)
    ends = signed.low, signed.high
    scale, scope = found.answer.scale, found.scope
    return Peek(*names, asked.retain, seeds, looks, word, signed.estimate, *ends, signed.level, scale, found.n, scope)


def shared(tuned: Matrix, base: Matrix) -> tuple[np.ndarray, np.ndarray, int] | None:
    """Both sides on the seeds that both have, and how many; a side without seeds stands beside all of the other's."""
    if None in tuned.seeds or None in base.seeds:
        return tuned.values, base.values, max(len(tuned.seeds), len(base.seeds))
    both = [seed for seed in tuned.seeds if seed in base.seeds]
    if not both:
        return None
    left = [tuned.seeds.index(seed) for seed in both]
    right = [base.seeds.index(seed) for seed in both]
    return tuned.values[left], base.values[right], len(both)


def worded(answer: Pivot, higher: bool, margin: float | None, looks: int) -> tuple[Estimate, str]:
    """The interval of this look in the direction that is better, and its word; retention is asked one-sidedly."""
    if margin is None:
        signed = benefit(answer, higher)
        return signed, "gain" if signed.low > 0 else "loss" if signed.high < 0 else "cannot tell"
    kept = retention(answer, margin, higher_is_better=higher, alpha=ALPHA / looks)
    return benefit(answer.at(kept.level), higher), kept.word
