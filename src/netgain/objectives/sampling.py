"""A term that rests on sampled answers: sample, score the set, give each answer credit. Never a number beside the loss.

    loss = -w mean_x E[S(y_1..y_n)],   y_i ~ pi(. | x) at `temperature`
    gradient = -w mean_x sum_i A_i grad log pi(y_i | x)

A rollout says which credit A_i an answer gets (netgain.objectives.rollout); the loop samples and differentiates, and
whoever runs it brings the judge that scores sets and answers. So a term never holds a model, and a judge no gradient.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, PositiveInt, SerializeAsAny, model_validator

from netgain.objectives.rollout import Floats, SetScore
from netgain.objectives.schedule import always_zero
from netgain.spec.plugin import Frozen, JudgePlugin, TermPlugin
from netgain.spec.run import SpecError, Weighted

SetScoreName = Literal["semantic_distance", "self_bleu", "distinct1", "distinct2", "vendi", "answer_clusters"]


class TaskQuality(Frozen):
    """The metric (the first one unless named) that a task of the run gives an answer to the training row, 0..1."""

    task: str
    metric: str | None = None


class JudgeQuality(Frozen):
    """sigmoid(r(answer) - r(the row's own answer)): how often a judge of one score would take the sampled one."""

    judge: SerializeAsAny[Annotated[JudgePlugin, BeforeValidator(JudgePlugin.parse)]]


Quality = Literal["likelihood"] | TaskQuality | JudgeQuality
"""`likelihood` is exp of the mean log-probability of the answer's tokens under the base, 0..1."""


@dataclass(frozen=True)
class Answers:
    """n answers to one prompt, judged: the score of any subset of them (higher is better), and q (n,) if asked for."""

    texts: tuple[str, ...]
    diversity: SetScore
    quality: Floats | None = None


@dataclass(frozen=True)
class Credit:
    """S of one prompt's answers, and what each of them is credited with (n,)."""

    score: float
    advantages: Floats


Judge = Callable[["Rollout", int, Sequence[str]], Answers]
"""(term, number of the training row, its answers) -> what they are worth; `likelihood` is left to the loop."""


class Rollout(TermPlugin, ABC):
    """every            steps between two samplings; the others take no part of this term, so w counts 1 / every
    prompts          rows of the optimiser step that are asked, drawn from all of it
    samples          answers to each
    max_new_tokens   where an answer is cut; a cut answer is one too
    temperature      of sampling, and of the policy whose gradient it is
    toward_base      adds -toward_base * KL(pi || base) to what is raised, sampled on the same answers
    length_neutral   an answer's credit counts by its tokens' mean: no longer the exact gradient where lengths differ
    """

    every: PositiveInt = 1
    prompts: PositiveInt = 4
    samples: int = Field(default=8, ge=2)
    max_new_tokens: PositiveInt = 48
    temperature: float = Field(default=1.0, gt=0)
    toward_base: float = Field(default=0.0, ge=0)
    length_neutral: bool = False
    quality: Quality | None = None

    @property
    def set_score(self) -> SetScoreName | None:
        """The score of a set that its credit asks for."""
        return None

    @abstractmethod
    def credited(self, answers: Answers) -> Credit:
        """What the answers to one prompt are worth, and to whom it is owed."""

    def cost(self, steps: int) -> tuple[int, int]:
        """(answers, tokens at most) that a run of so many steps samples."""
        times = -(-steps // self.every)
        return times * self.prompts * self.samples, times * self.prompts * self.samples * self.max_new_tokens

    @model_validator(mode="after")
    def _enough_samples(self) -> "Rollout":
        if self.samples < self.fewest:
            raise SpecError(f"this credit needs {self.fewest} answers or more", "samples")
        return self

    @property
    def fewest(self) -> int:
        """The smallest number of answers that its credit is defined for."""
        return 2


def rollouts_of(objective: Mapping[str, Weighted]) -> dict[str, Rollout]:
    """The terms of an objective that sample answers and weigh anything."""
    return {
        name: each.term
        for name, each in objective.items()
        if isinstance(each.term, Rollout) and not always_zero(each.weight)
    }
