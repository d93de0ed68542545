"""Credit for sampled answers: advantages A_i such that sum_i A_i grad log pi(y_i) estimates the gradient wanted.

A score of a *set* of answers has a gradient with respect to the policy only through the answers' probabilities:
    grad E[S(y_1..y_n)] = E[ sum_i S(y) grad log pi(y_i) ],     y_i independent draws of pi(. | x),
and anything that does not depend on y_i may be taken off S in the i-th summand. A score as a detached number beside the
loss has gradient zero, whatever its weight.

    pairwise         S = mean distance of pairs          A_i = 2/n (D_i - D_without_i)
    marginal         any S                               A_i = S(all) - S(all but i)
    sets             S of M disjoint sets of one prompt  A_m = S_m - mean of the other sets, for each of its members
    pass_at_k        S = 1 - C(n-c, k) / C(n, k)         A_i = k/n C(wrong others, k-1) / C(n-1, k-1) if right, else 0
    own_share        mean of q_i D_i, own share only     A_i = 1/n (q_i D_i - mean_j q_j D_j without i)
    toward           -KL(pi || reference)                A_i = -1/n (l_i - mean l of the others), l = log pi - log ref

All are unbiased for what they name, seen against exact gradients (tests/objectives/test_rollout.py). `own_share` is not
the gradient of E[mean q_i D_i]: what an answer does to the others' diversity is left out, as in the method it is from.
"""

from collections.abc import Callable, Sequence
from math import comb
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

Floats = NDArray[np.float64]
SetScore = Callable[[Sequence[int]], float]
"""The score of the answers with these numbers."""


def pairwise(distances: Floats) -> Floats:
    """(n,) credit for S = mean over pairs of d, from distances (n, n): D_i = mean_{j != i} d_ij; n >= 3.

    Pairs without i do not depend on y_i; the mean over them is the baseline.
    """
    count = len(distances)
    to_others = distances.sum(axis=1) - np.diag(distances)
    total = to_others.sum()
    without = (total - 2 * to_others) / ((count - 1) * (count - 2))
    return 2 / count * (to_others / (count - 1) - without)


def marginal(score: SetScore, count: int) -> Floats:
    """(n,) what each answer adds to the set: S(all) - S(all but i); S must be defined for n - 1 answers."""
    everyone = range(count)
    whole = score(everyone)
    return np.array([whole - score([j for j in everyone if j != i]) for i in everyone])


def sets(scores: Floats) -> Floats:
    """(M,) advantage of each of M >= 2 disjoint sets of one prompt, for every member: S_m - mean of the others.

    Divided by M, since the M sets estimate one expectation. The polychromic score of a set is mean quality times
    diversity.
    """
    count = len(scores)
    return (scores - (scores.sum() - scores) / (count - 1)) / count


def pass_at_k(correct: Sequence[bool] | NDArray[np.bool_], k: int) -> Floats:
    """(n,) credit for pass@k with k <= n: averaged over all k-subsets, what i adds to the k - 1 others in its subset.

    A wrong answer adds nothing; a right one adds 1 where all the others are wrong.
    """
    right = np.asarray(correct, dtype=bool)
    count, wrong = len(right), int((~right).sum())
    if not 1 <= k <= count:
        raise ValueError(f"pass@{k} needs between 1 and {count} tries")
    return np.where(right, k / count * comb(wrong, k - 1) / comb(count - 1, k - 1), 0.0)


def pass_at_k_score(correct: Sequence[bool] | NDArray[np.bool_], k: int) -> float:
    """1 - C(n - c, k) / C(n, k)."""
    right = np.asarray(correct, dtype=bool)
    return 1.0 - comb(int((~right).sum()), k) / comb(len(right), k)


def own_share(quality: Floats, distances: Floats) -> Floats:
    """(n,) credit for each answer's own quality times distance to the others, from q (n,) and d (n, n); n >= 3.

    The baseline is the mean reward of the others in the set without i, which y_i does not touch.
    """
    count = len(quality)
    apart = distances - np.diag(np.diag(distances))
    reward = quality * apart.sum(axis=1) / (count - 1)
    others = quality[None, :] * (apart.sum(axis=1)[None, :] - apart) / (count - 2)
    baseline = (others.sum(axis=1) - np.diag(others)) / (count - 1)
    return (reward - baseline) / count


def toward(logprobs: Floats, reference: Floats) -> Floats:
    """(n,) credit for -KL(pi || reference), from log-probabilities of the answers under both; n >= 2."""
    gap = logprobs - reference
    count = len(gap)
    return -(gap - (gap.sum() - gap) / (count - 1)) / count


def surrogate(logprobs: "Tensor", advantages: Floats, tokens: Sequence[int] | None = None) -> "Tensor":
    """-sum_i A_i log pi(y_i): minimising it ascends the score. logprobs (n,) with gradient, summed over tokens.

    With `tokens` each log-probability is divided by its length over the mean length: no answer moves more for being
    long. That is no longer the gradient of E[S] where lengths differ.
    """
    weights = advantages if tokens is None else length_neutral(advantages, tokens)
    return -(logprobs.new_tensor(weights) * logprobs).sum()


def length_neutral(advantages: Floats, tokens: Sequence[int]) -> Floats:
    """A_i * mean length / length of i."""
    lengths = np.asarray(tokens, dtype=np.float64)
    return advantages * lengths.mean() / lengths
