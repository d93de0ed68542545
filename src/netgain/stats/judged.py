"""Scores that a judge gave: on which scale, how often the tuned answer wins, and whose noise is in them.

yardstick      (mean r_tuned - mean r_base) / sd r_base           the base's own answers are the yardstick
win rate       mean_i sigmoid(r_tuned,i - r_base,i)               Bradley and Terry's chance that the tuned answer wins
r_qar = mu + question_q + answer_qa + repeat_qar                  nested variance components
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from netgain.errors import UserError
from netgain.stats.crossed import recipe_score
from netgain.stats.intervals import score
from netgain.stats.result import Estimate, Floats


def yardstick(base: Floats) -> float | None:
    """The standard deviation of the base's own scores, in which others are told; None where it has only one score."""
    known = base[~np.isnan(base)]
    return float(known.std(ddof=1)) if known.size > 1 and np.ptp(known) > 0 else None


def win_rate(
    tuned: Floats, base: Floats, *, clusters: Sequence[object] | np.ndarray | None = None, level: float = 0.95
) -> Estimate:
    """tuned (S, n) against base (1 or S, n) raw rewards; over the items that both have. One half is no difference.

    Rewards are log-odds, so only a reward model trained as one gives a chance; of grades from 1 to 10 use `contrast`.
    """
    tuned, base = np.atleast_2d(tuned), np.atleast_2d(base)
    kept = ~(np.isnan(tuned).any(axis=0) | np.isnan(base).any(axis=0))
    if not kept.any():
        raise UserError("No answer was judged on both sides; there is no win rate.")
    difference = np.clip(tuned[:, kept] - base[:, kept], -700, 700)
    wins = 1 / (1 + np.exp(-difference))
    groups = None if clusters is None else np.asarray(clusters)[kept]
    found = recipe_score(wins, clusters=groups, level=level, what="win rate")
    return score(wins.mean(axis=0), clusters=groups, level=level) if found is None else found


@dataclass(frozen=True, slots=True)
class Parts:
    """Variance of one rating by where it comes from. Without repeats the judge's noise is part of the answer's."""

    question: float
    answer: float
    repeat: float | None
    questions: int
    answers: int
    repeats: int

    def of_mean(self) -> float:
        """Variance of the mean over all questions: what a re-run with new questions would show."""
        noise = (self.repeat or 0.0) / (self.answers * self.repeats)
        return (self.question + self.answer / self.answers + noise) / self.questions

    def sentence(self) -> str:
        total = self.question + self.answer + (self.repeat or 0.0)
        if total == 0:
            return "Every rating is the same."
        judge = "with the judge's own noise" if self.repeat is None else f"{100 * self.repeat / total:.0f} % the judge"
        return (
            f"Of one rating's variance {100 * self.question / total:.0f} % is the question, "
            f"{100 * self.answer / total:.0f} % the answer drawn, {judge} "
            f"({self.questions} questions, {self.answers} answers each, rated {self.repeats} times)."
        )


def parts(ratings: Floats) -> Parts:
    """Ratings (questions, answers, repeats) -> variance components, none below 0."""
    q, a, r = ratings.shape
    if q < 2 or a < 2:
        raise UserError("Answer noise shows only in at least two questions answered twice each; draw more samples.")
    of_answers = ratings.mean(axis=2)
    ms_question = a * r * float(of_answers.mean(axis=1).var(ddof=1))
    ms_answer = r * float(of_answers.var(axis=1, ddof=1).mean())
    ms_repeat = float(ratings.var(axis=2, ddof=1).mean()) if r > 1 else 0.0
    return Parts(
        question=max(ms_question - ms_answer, 0.0) / (a * r),
        answer=max(ms_answer - ms_repeat, 0.0) / r,
        repeat=ms_repeat if r > 1 else None,
        questions=q,
        answers=a,
        repeats=r,
    )
