"""Pass@k of sampled answers: term = -(1 - C(n - c, k) / C(n, k)), c of n answers being right (Chen et al. 2025)."""

from typing import Literal

from pydantic import Field, PositiveInt, model_validator

from netgain.objectives import rollout
from netgain.objectives.sampling import Answers, Credit, Rollout
from netgain.spec.run import SpecError


class PassAtK(Rollout):
    """k        tries of which one has to be right
    passes   the quality from which on an answer is right
    """

    kind: Literal["pass_at_k"] = "pass_at_k"
    k: PositiveInt = 4
    passes: float = Field(default=1.0, gt=0)

    @model_validator(mode="after")
    def _judged(self) -> "PassAtK":
        if self.quality is None:
            raise SpecError("somebody must say which answers are right; name a quality", "quality")
        return self

    @property
    def fewest(self) -> int:
        return max(2, self.k)

    def credited(self, answers: Answers) -> Credit:
        assert answers.quality is not None
        right = answers.quality >= self.passes
        return Credit(rollout.pass_at_k_score(right, self.k), rollout.pass_at_k(right, self.k))
