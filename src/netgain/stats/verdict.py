"""The one question of reports and `netgain compare`: tuned against base on the same items, in a word and a sentence."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypedDict

import numpy as np

from netgain.errors import UserError
from netgain.stats.crossed import checkpoint, no_recipe, recipe
from netgain.stats.flips import Flips, flips
from netgain.stats.paired import SignFlip, sign_flip
from netgain.stats.power import Mde, mde_after
from netgain.stats.result import Floats, Pivot, pivot
from netgain.stats.retention import Retention, RetentionWord, retention
from netgain.stats.units import is_binary

Word = RetentionWord | Literal["gain", "loss", "no data"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Tuned - base and all it rests on. `word` follows `answer`: the recipe's, when there are seeds for one."""

    word: Word
    checkpoint: Pivot
    recipe: Pivot | None
    recipe_reason: str | None
    retention: Retention | None
    flips: Flips | None
    mde: Mde | None
    randomisation: SignFlip | None
    n: int
    items: int
    missing_tuned: int
    missing_base: int
    tuned_seeds: int
    base_seeds: int
    higher_is_better: bool
    level: float

    @property
    def answer(self) -> Pivot:
        """The widest claim that the evidence allows."""
        return self.checkpoint if self.recipe is None else self.recipe

    @property
    def scope(self) -> str:
        if self.recipe is not None:
            return "this recipe"
        return "this checkpoint" if self.tuned_seeds == 1 else "these checkpoints"

    @property
    def estimate(self) -> float:
        return self.answer.estimate

    @property
    def p(self) -> float:
        """Two-sided p of no difference, from the answer's own interval."""
        return self.answer.p()

    def sentence(self) -> str:
        """The word, the answer, and every reservation that a reader needs."""
        if self.n == 0:
            return f"no data: none of {self.items} items has a value on both sides.{self._missing()}"
        parts = [self.retention.sentence() if self.retention is not None else f"{self.word}: {self.answer.sentence()}"]
        if self.recipe is not None:
            parts.append("This is about the recipe: new seeds and new items.")
            if not self.recipe.excludes() and self.checkpoint.excludes():
                parts.append(f"These {self.tuned_seeds} checkpoints alone do differ: {self.checkpoint.sentence()}")
        elif self.recipe_reason is not None:
            parts.append(self.recipe_reason)
        if self.word == "cannot tell" and self.mde is not None and self.retention is None:
            parts.append(self.mde.sentence())
        if self.flips is not None:
            parts.append(self.flips.sentence())
        return " ".join(parts) + self._missing()

    def _missing(self) -> str:
        if not self.missing_tuned and not self.missing_base:
            return ""
        return (
            f" Of {self.items} items {self.missing_tuned} have no value on the tuned side and {self.missing_base} none "
            f"on the base side; the {self.n} with both are compared."
        )


def on_both_sides(tuned: Floats, base: Floats, weights: Floats | None) -> tuple[np.ndarray, tuple[int, int]]:
    """Which items (n,) every seed of both sides has, and how many each side lacks; weight 0 holds no evidence."""
    gone_tuned, gone_base = np.isnan(tuned).any(axis=0), np.isnan(base).any(axis=0)
    kept = np.logical_not(gone_tuned | gone_base)
    if weights is not None:
        kept &= weights > 0
    return kept, (int(gone_tuned.sum()), int(gone_base.sum()))


class Asked(TypedDict):
    """What both answers are asked alike."""

    weights: Floats | None
    clusters: np.ndarray | None
    binary: bool
    level: float


def shaped(tuned: Floats, base: Floats) -> tuple[Floats, Floats]:
    """(S, n) and (R, n), or a sentence about why they cannot be paired."""
    tuned = np.atleast_2d(np.asarray(tuned, dtype=np.float64))
    base = np.atleast_2d(np.asarray(base, dtype=np.float64))
    if tuned.shape[1] != base.shape[1]:
        raise UserError(
            f"Tuned has {tuned.shape[1]} items and base {base.shape[1]}; a comparison needs the same items in the same "
            "order: align both on their item ids first."
        )
    for name, table in (("Tuned", tuned), ("Base", base)):
        if np.isinf(table).any():
            item = int(np.isinf(table).any(axis=0).argmax())
            raise UserError(f"{name} item {item} is infinite; record it as missing with a reason, or cap the metric.")
    return tuned, base


def gain_word(answer: Pivot, higher_is_better: bool) -> Word:
    if not answer.excludes():
        return "cannot tell"
    return "gain" if (answer.centre > 0) == higher_is_better else "loss"


def no_data(tuned: Floats, base: Floats, missing: tuple[int, int], higher_is_better: bool, level: float) -> Verdict:
    nothing = pivot("difference", math.nan, se=math.inf, df=math.inf, level=level, method="none", n=0, scale="change")
    return Verdict(
        "no data",
        nothing,
        None,
        no_recipe(tuned),
        None,
        None,
        None,
        None,
        0,
        tuned.shape[1],
        *missing,
        tuned.shape[0],
        base.shape[0],
        higher_is_better,
        level,
    )


def contrast(
    tuned: Floats,
    base: Floats,
    *,
    item_weights: Floats | None = None,
    clusters: Sequence[object] | np.ndarray | None = None,
    binary: bool | None = None,
    margin: float | None = None,
    higher_is_better: bool = True,
    paired_seeds: bool = True,
    rerun: Floats | None = None,
    level: float = 0.95,
    rng: np.random.Generator | None = None,
) -> Verdict:
    """tuned (S, n) - base (R, n) over shared items; NaN is missing, and an item counts when every seed of both has it.

    `item_weights` (n,): token counts for NLL; `clusters` (n,): labels of passages, templates, dialogues. `margin` asks
    for retention instead of gain. `rerun` (n,) is a second evaluation of the base, the floor of churn. With `rng` a
    sign-flip randomisation gives a second opinion that does not lean on normality.
    """
    tuned, base = shaped(tuned, base)
    given = None if item_weights is None else np.asarray(item_weights, dtype=np.float64)
    kept, missing = on_both_sides(tuned, base, given)
    if not kept.any():
        return no_data(tuned, base, missing, higher_is_better, level)
    left, right = (tuned, base) if kept.all() else (tuned[:, kept], base[:, kept])
    weights = None if given is None or np.ptp(given[kept]) == 0 else given[kept]
    groups = None if clusters is None else np.asarray(clusters)[kept]
    both_binary = is_binary(left, right) if binary is None else binary
    asked = Asked(weights=weights, clusters=groups, binary=both_binary, level=level)
    here, there = checkpoint(left, right, **asked), recipe(left, right, paired_seeds=paired_seeds, **asked)
    answer = here if there is None else there
    judged = None if margin is None else retention(answer, margin, higher_is_better=higher_is_better)
    second = None
    if rng is not None and not both_binary and weights is None:
        second = sign_flip(left.mean(axis=0) - right.mean(axis=0), clusters=groups, rng=rng, draws=2_000)
    again = None if rerun is None else np.asarray(rerun)[kept]
    aligned = both_binary and right.shape[0] in (1, left.shape[0])
    return Verdict(
        word=gain_word(answer, higher_is_better) if judged is None else judged.word,
        checkpoint=here,
        recipe=there,
        recipe_reason=no_recipe(left, groups),
        retention=judged,
        flips=flips(left, right, clusters=groups, rerun=again, level=level) if aligned else None,
        mde=mde_after(answer) if math.isfinite(answer.se) else None,
        randomisation=second,
        n=left.shape[1],
        items=tuned.shape[1],
        missing_tuned=missing[0],
        missing_base=missing[1],
        tuned_seeds=tuned.shape[0],
        base_seeds=base.shape[0],
        higher_is_better=higher_is_better,
        level=level,
    )
