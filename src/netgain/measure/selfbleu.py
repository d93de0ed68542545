"""Self-BLEU of N texts, exactly, in time linear in their tokens: each text against all the others.

BLEU clips the count of an n-gram in text i at max_{j != i} count_j. Two numbers an n-gram answer that for every i: its
largest count, and the second largest, which stands where text i itself holds the largest. So nothing is paired.

The statistics are shared; what a score makes of orders without a match differs between tools, and both are here:
`nltk` (method1: a count of 0 becomes 0.1) and `sacrebleu` (exp, floor, none; effective order).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Smoothing = Literal["nltk", "exp", "floor", "none"]

EPSILON = 0.1
NEVER = -9999999999.0
"""sacrebleu's logarithm of 0."""


@dataclass(frozen=True, slots=True)
class Matches:
    """Of N texts and orders 1..K: clipped matches (N, K), n-grams (N, K), lengths (N,), closest other lengths (N,)."""

    correct: Ints
    total: Ints
    lengths: Ints
    closest: Ints


def matches(texts: Sequence[Sequence[str]], order: int = 4) -> Matches:
    """The sufficient statistics of every text against the union of the other texts (two or more)."""
    count = len(texts)
    if count < 2:
        raise ValueError("Self-BLEU compares two texts or more")
    lengths = np.array([len(text) for text in texts], dtype=np.int64)
    grams = _Grams(texts, lengths)
    correct = np.zeros((count, order), dtype=np.int64)
    for n in range(1, order + 1):
        correct[:, n - 1] = grams.clipped(n)
    total = np.maximum(lengths[:, None] - np.arange(order), 0)
    return Matches(correct, total, lengths, closest_other(lengths))


class _Grams:
    """The n-grams of all texts as numbers, order by order: an n-gram is an (n-1)-gram and the token behind it."""

    def __init__(self, texts: Sequence[Sequence[str]], lengths: Ints) -> None:
        vocabulary: dict[str, int] = {}
        self.texts = len(texts)
        self.tokens = np.fromiter((vocabulary.setdefault(t, len(vocabulary)) for text in texts for t in text), np.int64)
        self.words = max(len(vocabulary), 1)
        self.owner = np.repeat(np.arange(self.texts), lengths)
        ends = np.cumsum(lengths)
        self.left = ends[self.owner] - np.arange(len(self.tokens))
        self.gram = self.tokens.copy()

    def clipped(self, n: int) -> Ints:
        """(N,) sum over a text's n-grams of min(its count, the largest count in another text); n rises by one."""
        at = np.flatnonzero(self.left >= n)
        key = self.gram[at] if n == 1 else self.gram[at] * self.words + self.tokens[at + n - 1]
        _, gram = np.unique(key, return_inverse=True)
        self.gram[at] = gram
        pair, count = np.unique(gram * self.texts + self.owner[at], return_counts=True)
        gram, text = pair // self.texts, pair % self.texts
        limit = _largest_elsewhere(gram, count)
        return np.bincount(text, np.minimum(count, limit), minlength=self.texts).astype(np.int64)


def _largest_elsewhere(gram: Ints, count: Ints) -> Ints:
    """For entries sorted by gram: the largest count of the same gram in another entry, 0 where there is none."""
    order = np.lexsort((-count, gram))
    ranked, counts = gram[order], count[order]
    first = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]]) if ranked.size else np.zeros(0, dtype=np.int64)
    group = np.repeat(np.arange(first.size), np.diff(np.r_[first, ranked.size]))
    second = np.minimum(first + 1, max(ranked.size - 1, 0))
    runner_up = np.where(ranked[second] == ranked[first], counts[second], 0)
    runner_up[second == first] = 0
    limit = counts[first][group]
    limit[first] = runner_up
    answer = np.empty_like(limit)
    answer[order] = limit
    return answer


def closest_other(lengths: Ints) -> Ints:
    """(N,) the length of another text that is closest to a text's own, the shorter of two equally close ones."""
    distinct, where, times = np.unique(lengths, return_inverse=True, return_counts=True)
    below = np.r_[distinct[:1], distinct[:-1]]
    above = np.r_[distinct[1:], distinct[-1:]]
    below[0] = above[0]
    above[-1] = below[-1]
    neighbour = np.where(distinct - below <= above - distinct, below, above)
    neighbour[0], neighbour[-1] = above[0], below[-1]
    return np.where(times > 1, distinct, neighbour)[where]


def nltk(found: Matches) -> Floats:
    """(N,) sentence_bleu with equal weights and method1: exp(mean_n log p_n) * brevity; 0 without a common word.

    p_n = max(matches, 0.1 if none) / max(1, n-grams), as nltk has it.
    """
    precision = np.where(found.correct > 0, found.correct, EPSILON) / np.maximum(found.total, 1)
    scores = np.exp(np.log(precision).mean(axis=1)) * brevity(found)
    return np.where(found.correct[:, 0] > 0, scores, 0.0)


def sacrebleu(
    found: Matches, smoothing: Literal["exp", "floor", "none"] = "exp", *, effective_order: bool = False
) -> Floats:
    """(N,) sacrebleu's sentence score over 100.

    A precision without a match is 1 / (2^m n-grams) at the m-th such order (exp), 0.1 / n-grams (floor), or 0. Orders
    longer than the text are left out (effective order) or make the score 0.
    """
    zero = (found.correct == 0) & (found.total > 0)
    matched = found.correct.astype(np.float64)
    if smoothing == "exp":
        matched = np.where(zero, 0.5 ** np.cumsum(zero, axis=1), matched)
    elif smoothing == "floor":
        matched = np.where(zero, EPSILON, matched)
    held = found.total > 0
    logs = np.full(matched.shape, NEVER)
    np.log(matched / np.maximum(found.total, 1), out=logs, where=held & (matched > 0))
    orders = held.sum(axis=1) if effective_order else np.full(len(matched), matched.shape[1])
    counted = np.arange(matched.shape[1]) < orders[:, None]
    scores = np.exp((logs * counted).sum(axis=1) / np.maximum(orders, 1)) * brevity(found)
    return np.where(found.correct.any(axis=1), scores, 0.0)


def brevity(found: Matches) -> Floats:
    """exp(min(0, 1 - closest / length)); 0 for an empty text."""
    ratio = found.closest / np.maximum(found.lengths, 1)
    return np.where(found.lengths > 0, np.exp(np.minimum(0.0, 1.0 - ratio)), 0.0)


def scores(
    texts: Sequence[Sequence[str]],
    *,
    order: int = 4,
    smoothing: Smoothing = "nltk",
    effective_order: bool = False,
) -> Floats:
    """(N,) BLEU of each text against all the others, in 0..1; its mean is Self-BLEU."""
    found = matches(texts, order)
    return nltk(found) if smoothing == "nltk" else sacrebleu(found, smoothing, effective_order=effective_order)
