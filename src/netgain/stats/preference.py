"""Which of two answers people prefer, from what differs between them: a ridge of Bradley and Terry, cross-validated.

    w = argmin sum_i log(1 + exp(-d_i . w)) + ridge/2 |w|^2,   d_i = x(chosen_i) - x(rejected_i), columns over their rms

It is solved in the space of the pairs (n by n), which are fewer than the features. `cross_validated` chooses among sets
of features and ridges by the log loss of inner folds, so that no pair has a say in how it is predicted itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from netgain.stats.result import Floats

RIDGES = (30.0, 300.0, 3000.0)
STEPS = 30
SMALLEST = 1e-12


@dataclass(frozen=True, slots=True)
class Choice:
    """A set of features, by name, and a ridge; `loss` is the log loss of the folds that chose them."""

    name: str
    ridge: float
    loss: float


def weights(d: Floats, ridge: float) -> Floats:
    """(n, H) differences -> (H,) w, for differences as they are. Newton's steps, which a ridge makes safe."""
    scale = np.sqrt((d**2).mean(axis=0)) + SMALLEST
    scaled = d / scale
    kernel = scaled @ scaled.T
    a = np.zeros(len(d))
    for _ in range(STEPS):
        margin = kernel @ a
        p = 1 / (1 + np.exp(-margin))
        curve = np.maximum(p * (1 - p), SMALLEST)
        step = np.linalg.solve(kernel + ridge * np.diag(1 / curve), margin + (1 - p) / curve)
        settled = np.abs(step - a).max() < 1e-9 * max(1.0, np.abs(step).max())
        a = step
        if settled:
            break
    return (scaled.T @ a) / scale


def folds(groups: Sequence[str], k: int, rng: np.random.Generator) -> list[np.ndarray]:
    """k sets of places, as even as may be; places of one group stay together."""
    names = sorted(set(groups))
    order = {name: i for i, name in enumerate(rng.permutation(np.array(names, dtype=object)))}
    of = np.array([order[group] % k for group in groups])
    return [np.flatnonzero(of == fold) for fold in range(min(k, len(names)))]


def held_out(d: Floats, ridge: float, parts: Sequence[np.ndarray]) -> Floats:
    """(n,) the margin d . w of each pair under weights that were learned without its fold."""
    margin = np.empty(len(d))
    for part in parts:
        rest = np.setdiff1d(np.arange(len(d)), part)
        margin[part] = d[part] @ weights(d[rest], ridge)
    return margin


def chosen(sets: Mapping[str, Floats], groups: Sequence[str], k: int, rng: np.random.Generator) -> Choice:
    """The features and the ridge with the smallest log loss over k folds."""
    parts = folds(groups, k, rng)
    found = [
        Choice(name, ridge, float(np.logaddexp(0, -held_out(d, ridge, parts)).mean()))
        for name, d in sets.items()
        for ridge in RIDGES
    ]
    return min(found, key=lambda each: each.loss)


def cross_validated(sets: Mapping[str, Floats], groups: Sequence[str], k: int, rng: np.random.Generator) -> Floats:
    """(n,) p = sigmoid(margin) that the preferred answer gets, every choice made without the pair's own fold."""
    n = len(groups)
    margin = np.empty(n)
    for part in folds(groups, k, rng):
        rest = np.setdiff1d(np.arange(n), part)
        best = chosen({name: d[rest] for name, d in sets.items()}, [groups[int(i)] for i in rest], k, rng)
        d = sets[best.name]
        margin[part] = d[part] @ weights(d[rest], best.ridge)
    return 1 / (1 + np.exp(-margin))
