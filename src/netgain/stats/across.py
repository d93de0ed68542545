"""Across tasks and runs: interquartile mean with a stratified bootstrap, and the chance that A beats B.

Scores are (runs, tasks). The stratified bootstrap redraws runs within each task, because tasks are what they are.
"""

from dataclasses import dataclass

import numpy as np

from netgain.errors import UserError
from netgain.stats.resample import BootstrapEstimate, interval_of
from netgain.stats.result import Estimate, Floats, say_level

MEANINGFUL = 0.75
"""Bouthillier et al.: A is better when P(A > B) is surely above 1/2 and at least this."""


def iqm(scores: Floats) -> Floats:
    """(..., m) -> mean of the middle half, the values at its edges counted in part."""
    ordered = np.sort(scores, axis=-1)
    size = ordered.shape[-1]
    edges = np.arange(size)
    inside = np.clip(np.minimum(edges + 1, 0.75 * size) - np.maximum(edges, 0.25 * size), 0.0, 1.0)
    return ordered @ inside / inside.sum()


def redrawn(scores: Floats, draws: int, rng: np.random.Generator) -> Floats:
    """(draws, runs, tasks): each task's runs drawn anew, on their own."""
    runs, tasks = scores.shape
    return scores[rng.integers(runs, size=(draws, runs, tasks)), np.arange(tasks)]


def interquartile_mean(
    scores: Floats, *, level: float = 0.95, draws: int = 5_000, rng: np.random.Generator
) -> BootstrapEstimate:
    """IQM over all runs and tasks (runs, tasks)."""
    table = table_of(scores)
    drawn = iqm(redrawn(table, draws, rng).reshape(draws, -1))
    return interval_of(
        drawn,
        float(iqm(table.ravel())),
        level=level,
        method=f"stratified bootstrap over {table.shape[1]} tasks, percentile",
        n=table.size,
        what="interquartile mean",
        alone=table.shape[0] < 2,
        scale="raw",
        seeds=table.shape[0],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Improvement(Estimate):
    """P(A > B): a run of A against a run of B on the same task, ties half."""

    tasks: int

    @property
    def better(self) -> bool:
        """Surely above one half, and often enough to matter."""
        return self.low > 0.5 and self.estimate >= MEANINGFUL

    def sentence(self) -> str:
        verdict = "A is better" if self.better else "not enough to call A better"
        return (
            f"P(A > B) = {self.estimate:.2f} ({say_level(self.level)} interval {self.low:.2f} to {self.high:.2f}; "
            f"{self.method}; {self.tasks} tasks, {self.n} runs): {verdict} (rule: interval above 0.5, "
            f"estimate at least {MEANINGFUL:g})."
        )


def wins(a: Floats, b: Floats) -> Floats:
    """(..., runs_a, tasks) and (..., runs_b, tasks) -> mean over tasks of P(A > B) + P(A = B)/2."""
    gaps = a[..., :, None, :] - b[..., None, :, :]
    return ((gaps > 0) + 0.5 * (gaps == 0)).mean(axis=(-3, -2, -1))


def probability_of_improvement(
    a: Floats, b: Floats, *, level: float = 0.95, draws: int = 2_000, rng: np.random.Generator
) -> Improvement:
    """Scores (runs, tasks) of both, the same tasks in the same order; larger is better."""
    left, right = table_of(a), table_of(b)
    if left.shape[1] != right.shape[1]:
        raise UserError(
            f"A has {left.shape[1]} tasks and B {right.shape[1]}; compare the same tasks in the same order."
        )
    drawn = np.concatenate(
        [wins(redrawn(left, size, rng), redrawn(right, size, rng)) for size in np.diff(np.arange(0, draws + 200, 200))]
    )
    of = interval_of(drawn, float(wins(left, right)), level=level, method="stratified bootstrap", n=len(a) + len(b))
    return Improvement(
        "P(A > B)", of.estimate, of.low, of.high, level, of.method, of.n, "raw", note=of.note, tasks=left.shape[1]
    )


def table_of(scores: Floats) -> Floats:
    """(runs, tasks), complete."""
    table = np.atleast_2d(np.asarray(scores, dtype=np.float64))
    if table.size == 0 or np.isnan(table).any():
        raise UserError("Scores across tasks need one value for every run and task; leave incomplete tasks out.")
    return table
