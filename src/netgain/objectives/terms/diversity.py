"""Diversity of sampled answers: term = -S(y_1..y_n), whose gradient goes through the answers' probabilities.

    marginal             S(set), each answer credited with what it adds to the others
    set                  S of disjoint sets of `set_size`, the same credit for every member (polychromic)
    quality_x_diversity  each answer with its own quality times its mean distance to the others (as DARLING's reward)

S is the diversity of a set, times the mean quality of its members where a quality is named.
"""

import itertools
from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import model_validator

from netgain.objectives import rollout
from netgain.objectives.sampling import Answers, Credit, Rollout, SetScoreName
from netgain.spec.run import SpecError


class Diversity(Rollout):
    """score      of a set: mean pairwise distance of embeddings, 1 - Self-BLEU, Distinct-n, Vendi, different answers
    embedder   minilm (meaning, needs its wheel), hashed (wording, no model) or "package.module:function"
    credit     marginal, set or quality_x_diversity
    set_size   answers in one set, for `set`; at least two sets are drawn
    """

    kind: Literal["diversity"] = "diversity"
    score: SetScoreName = "semantic_distance"
    embedder: str = "minilm"
    credit: Literal["marginal", "set", "quality_x_diversity"] = "marginal"
    set_size: int = 4

    @model_validator(mode="after")
    def _whole_sets(self) -> "Diversity":
        if self.credit == "set" and (self.set_size < 2 or self.samples % self.set_size or self.samples < self.fewest):
            raise SpecError(f"{self.samples} answers make no two or more sets of {self.set_size}", "set_size")
        if self.credit == "quality_x_diversity" and self.quality is None:
            raise SpecError("this credit multiplies by a quality; name one", "quality")
        return self

    @property
    def fewest(self) -> int:
        return 2 * self.set_size if self.credit == "set" else 3

    @property
    def set_score(self) -> SetScoreName:
        return self.score

    def credited(self, answers: Answers) -> Credit:
        count = len(answers.texts)

        def worth(members: Sequence[int]) -> float:
            own = answers.diversity(members)
            return own if answers.quality is None else own * float(answers.quality[list(members)].mean())

        if self.credit == "set":
            starts = range(0, count, self.set_size)
            scores = np.array([worth(range(start, start + self.set_size)) for start in starts])
            return Credit(float(scores.mean()), np.repeat(rollout.sets(scores), self.set_size))
        if self.credit == "quality_x_diversity":
            assert answers.quality is not None
            apart = np.zeros((count, count))
            for i, j in itertools.combinations(range(count), 2):
                apart[i, j] = apart[j, i] = answers.diversity((i, j))
            reward = answers.quality * apart.sum(axis=1) / (count - 1)
            return Credit(float(reward.mean()), rollout.own_share(answers.quality, apart))
        return Credit(worth(range(count)), rollout.marginal(worth, count))
