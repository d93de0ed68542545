"""How different the answers of a model are: sets of texts in, values or typed reasons out, with intervals by prompt.

A *prompt's* diversity compares samples of one prompt. *Pooled* diversity compares texts of different prompts: it is
mostly the variety of the prompts, and is never called by the same name (`pooled_distinct2`).

What cannot be computed (one sample, texts without n-grams, an embedding without direction) is missing with a reason,
never 0. Longer texts repeat themselves more; `length` cuts every text to so many tokens and leaves shorter ones out.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from netgain.ledger.items import Item
from netgain.measure import selfbleu
from netgain.measure.embedder import Embedder
from netgain.measure.text import normalise
from netgain.measure.vendi import effective_number, vendi
from netgain.stats.intervals import mean
from netgain.stats.result import Pivot, pivot

Floats = NDArray[np.float64]
Tokens = Sequence[Sequence[str]]
Reason = Literal["too_few", "too_short", "no_direction"]

BLOCK = 1024
"""Rows of embeddings held in double precision at once."""
GROUPS = 20
"""Groups of prompts that the jackknife of a pooled value leaves out in turn."""
_TOKEN = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True, slots=True)
class Missing:
    """Why a set has no value: fewer than two texts, texts too short for an n-gram, or an embedding of zeros."""

    reason: Reason


Value = float | Missing
TOO_FEW, TOO_SHORT, NO_DIRECTION = Missing("too_few"), Missing("too_short"), Missing("no_direction")


def tokens(text: str) -> list[str]:
    """Words and signs, without case."""
    return _TOKEN.findall(text.casefold())


def at_length(texts: Tokens, length: int) -> list[Sequence[str]]:
    """The first `length` tokens of every text that has as many; the others are left out."""
    return [text[:length] for text in texts if len(text) >= length]


def distinct(texts: Tokens, n: int) -> Value:
    """Distinct-n: different n-grams / n-grams, over the whole set (Li et al. 2016)."""
    grams = [gram for text in texts for gram in zip(*(text[i:] for i in range(n)), strict=False)]
    return len(set(grams)) / len(grams) if grams else TOO_SHORT


def expected_distinct(texts: Tokens, n: int, vocabulary: int) -> Value:
    """Different n-grams / those expected of as many draws from V equally likely ones: u / (V (1 - (1 - 1/V)^C)).

    Unlike Distinct-n it does not fall with length alone (Liu et al. 2022).
    """
    grams = [gram for text in texts for gram in zip(*(text[i:] for i in range(n)), strict=False)]
    if not grams:
        return TOO_SHORT
    return len(set(grams)) / (-vocabulary * math.expm1(len(grams) * math.log1p(-1.0 / vocabulary)))


def self_bleu(
    texts: Tokens, *, order: int = 4, smoothing: selfbleu.Smoothing = "nltk", effective_order: bool = False
) -> Value:
    """Mean over texts of BLEU against all the others, in 0..1; high means alike (Zhu et al. 2018)."""
    if len(texts) < 2:
        return TOO_FEW
    return float(selfbleu.scores(texts, order=order, smoothing=smoothing, effective_order=effective_order).mean())


def semantic_distance(blocks: Iterable[NDArray[np.floating]]) -> Value:
    """Mean over pairs of 1 - cos: 1 - (|sum e|^2 - N) / (N (N - 1)) of N unit rows, block by block, (D,) in memory."""
    count, total = 0, np.zeros(0)
    for block in blocks:
        rows = np.asarray(block, dtype=np.float64)
        length = np.linalg.norm(rows, axis=1)
        if not length.all():
            return NO_DIRECTION
        summed = (rows / length[:, None]).sum(axis=0)
        total = summed if count == 0 else total + summed
        count += len(rows)
    if count < 2:
        return TOO_FEW
    return float(1.0 - (total @ total - count) / (count * (count - 1.0)))


def in_blocks(rows: NDArray[np.floating], size: int = BLOCK) -> Iterable[NDArray[np.floating]]:
    """Rows (N, D) a block at a time."""
    return (rows[i : i + size] for i in range(0, len(rows), size))


def distance_to_others(rows: Floats) -> Floats:
    """(N,) mean 1 - cos of each unit row to the others: 1 - (e.s - 1) / (N - 1) with s the sum of all rows."""
    return 1.0 - (rows @ rows.sum(axis=0) - 1.0) / (len(rows) - 1.0)


def semantic(embeddings: Floats) -> Value:
    """Mean pairwise 1 - cos of a set (N, D)."""
    return semantic_distance(in_blocks(embeddings))


def vendi_score(embeddings: Floats) -> Value:
    """Effective number of different texts, 1..N."""
    if not len(embeddings):
        return TOO_FEW
    return vendi(embeddings) if np.linalg.norm(embeddings, axis=1).all() else NO_DIRECTION


def answer_clusters(answers: Sequence[str | None]) -> Value:
    """Number of different answers, compared without case, blanks and outer punctuation; no answer is none of them."""
    found = {normalise(answer) for answer in answers if answer is not None}
    return float(len(found)) if answers else TOO_FEW


def effective_answers(answers: Sequence[str | None]) -> Value:
    """exp(entropy) of the answers' shares: 1 when all agree, N when all differ."""
    given = [normalise(answer) for answer in answers if answer is not None]
    if not given:
        return TOO_FEW
    return effective_number(np.unique(given, return_counts=True)[1].astype(np.float64))


def meaning_clusters(embeddings: Floats, threshold: float) -> Value:
    """Number of groups of texts linked by a cosine of at least `threshold`; for one prompt's samples, N^2 in time."""
    if not len(embeddings):
        return TOO_FEW
    near = embeddings @ embeddings.T >= threshold
    left, groups = set(range(len(near))), 0
    while left:
        groups, reached = groups + 1, [left.pop()]
        while reached:
            found = left & set(np.flatnonzero(near[reached.pop()]).tolist())
            left -= found
            reached.extend(found)
    return float(groups)


@dataclass(frozen=True)
class TextSet:
    """The samples of one prompt, tokenised and embedded once for all metrics."""

    tokens: Tokens
    embeddings: Floats | None
    answers: Sequence[str | None]


Metric = Callable[[TextSet], Value]


def _embedded(metric: Callable[[Floats], Value]) -> Metric:
    def of(texts: TextSet) -> Value:
        if texts.embeddings is None:
            raise ValueError("this metric needs an embedder")
        return metric(texts.embeddings)

    return of


METRICS: dict[str, Metric] = {
    "distinct1": lambda texts: distinct(texts.tokens, 1),
    "distinct2": lambda texts: distinct(texts.tokens, 2),
    "self_bleu": lambda texts: self_bleu(texts.tokens),
    "semantic_distance": _embedded(semantic),
    "vendi": _embedded(vendi_score),
    "answer_clusters": lambda texts: answer_clusters(texts.answers),
}
EMBEDDED = frozenset({"semantic_distance", "vendi"})


def text_set(texts: Sequence[str], embed: Embedder | None, answers: Sequence[str | None] | None = None) -> TextSet:
    """A set ready to be measured; without parsed answers each text is its own."""
    return TextSet([tokens(text) for text in texts], embed(texts) if embed else None, answers or list(texts))


def measured(texts: TextSet, metrics: Iterable[str], *, length: int | None = None) -> dict[str, Value]:
    """Each metric of a set; with `length` the token metrics see texts of that many tokens (`distinct2_at_20`)."""
    found = {name: METRICS[name](texts) for name in metrics}
    if length is not None:
        cut = TextSet(at_length(texts.tokens, length), None, ())
        found |= {f"{name}_at_{length}": METRICS[name](cut) for name in found if name[:4] in ("dist", "self")}
    return found


def items(
    sets: Mapping[str, Sequence[str]],
    metrics: Sequence[str],
    *,
    task: str,
    checkpoint: str,
    embed: Embedder | None = None,
    length: int | None = None,
    clusters: Mapping[str, str] | None = None,
) -> list[Item]:
    """Rows of evidence: prompt -> its samples gives one row a prompt and metric, missing ones with their reason."""
    rows: list[Item] = []
    for prompt, texts in sets.items():
        for name, value in measured(text_set(texts, embed), metrics, length=length).items():
            cluster = clusters[prompt] if clusters else None
            given, reason = (None, value.reason) if isinstance(value, Missing) else (value, None)
            rows.append(Item(task, name, prompt, checkpoint, given, reason, cluster=cluster))
    return rows


def by_prompt(
    values: Sequence[Value], *, what: str, level: float = 0.95, clusters: Sequence[object] | None = None
) -> Pivot | Missing:
    """Mean over prompts with its t interval over prompts (or clusters of them); `n` counts prompts with a value."""
    present = [i for i, value in enumerate(values) if not isinstance(value, Missing)]
    if not present:
        return next((value for value in values if isinstance(value, Missing)), TOO_FEW)
    table = np.array([values[i] for i in present], dtype=np.float64)
    groups = None if clusters is None else [clusters[i] for i in present]
    return mean(table, clusters=groups, level=level, what=what)


def pooled(
    sets: Mapping[str, Sequence[Sequence[str]]],
    metric: Callable[[Tokens], Value],
    *,
    name: str,
    level: float = 0.95,
    rng: np.random.Generator,
) -> Pivot | Missing:
    """A token metric over the texts of all prompts at once, named `pooled_<name>`, +- t over groups of prompts.

    Resampling prompts with replacement would plant copies, which is what these metrics count. So groups of prompts are
    left out in turn: se^2 = (G-1)/G sum_g (t_g - tbar)^2.
    """
    whole = metric([text for texts in sets.values() for text in texts])
    if isinstance(whole, Missing):
        return whole
    count = min(GROUPS, len(sets))
    group = rng.permutation(len(sets)) % count
    without = [
        metric([text for g, texts in zip(group, sets.values(), strict=True) if g != left for text in texts])
        for left in range(count if count > 1 else 0)
    ]
    values = [value for value in without if not isinstance(value, Missing)]
    complete = len(values) == count > 1
    spread = np.array(values) - np.mean(values) if complete else np.array([math.inf])
    return pivot(
        f"pooled_{name}",
        whole,
        se=math.sqrt((count - 1) / count * float((spread**2).sum())) if complete else math.inf,
        df=max(count - 1.0, 1.0),
        level=level,
        method=f"jackknife over {count} groups of prompts, t",
        n=len(sets),
        scale="raw",
        note="" if complete else "Too few prompts for an interval.",
    )
