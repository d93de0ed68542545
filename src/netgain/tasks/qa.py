"""Extractive question answering, scored by SQuAD's official F1 and exact match (Rajpurkar et al. 2016)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import model_validator

from netgain.data.files import locate
from netgain.data.source import Example
from netgain.data.split import split
from netgain.measure import text
from netgain.spec.run import EmbeddedSource, SpecError
from netgain.tasks._base import Generated, Outcome, Prompted, Score, group_of, row
from netgain.tasks._files import Question, squad
from netgain.tasks._hub import XQUAD, XTREME, questions

FILES = {
    "tydiqa": "xtreme/tydiqa/tydiqa-goldp-v1.1-train/tydiqa.goldp.{language}.train.json",
    "mlqa": "xtreme/mlqa/MLQA_V1/dev/dev-context-{language}-question-{language}.json",
}
HELD_OUT, SPLIT_SEED = 0.2, 0


class Qa(Prompted):
    """A question that a span of the context answers; the first line written is the answer.

    tydiqa (Clark et al. 2020, gold passages) and mlqa (Lewis et al. 2020): one labelled file each, a fifth of its
    contexts measured and the rest to learn from. Clusters are contexts.

    hub    from the Hugging Face hub instead: mlqa's or xquad's test questions, and SQuAD's train split to learn from
    """

    kind: Literal["qa"] = "qa"
    corpus: Literal["tydiqa", "mlqa", "xquad"] = "tydiqa"
    language: str = "en"
    hub: bool = False

    @model_validator(mode="after")
    def _known_place(self) -> "Qa":
        if self.hub and self.corpus == "tydiqa":
            raise SpecError("tydiqa is read from files; choose mlqa or xquad on the hub", "corpus")
        if not self.hub and self.corpus == "xquad":
            raise SpecError("xquad is read from the hub; say `hub: true`", "corpus")
        return self

    @property
    def metrics(self) -> tuple[str, ...]:
        return ("f1", "exact")

    @property
    def binary(self) -> tuple[str, ...]:
        return ("exact",)

    def chance(self, examples: Sequence[Example]) -> float | None:
        """Known for the embedded suite alone: guessing among the context's names of the right sort."""
        if isinstance(self.source, EmbeddedSource):
            from netgain.data.embedded import SUITES

            return SUITES[self.source.suite].chance
        return None

    def own_rows(self, folder: Path | None) -> list[Example]:
        if self.hub:
            code = self.language
            mlqa = self.corpus == "mlqa"
            place = (XTREME, f"MLQA.{code}.{code}", "test") if mlqa else (XQUAD, f"xquad.{code}", "validation")
            return self._rows(f"{self.corpus}-{code}-test", questions(*place, folder))
        return split(self._read(folder), HELD_OUT, SPLIT_SEED)[1]

    def own_train_rows(self, folder: Path | None) -> list[Example]:
        if self.hub:
            return self._rows("squad-train", questions(XTREME, "SQuAD", "train", folder))
        return split(self._read(folder), HELD_OUT, SPLIT_SEED)[0]

    def _read(self, folder: Path | None) -> list[Example]:
        path = locate(FILES[self.corpus].format(language=self.language), folder)
        return self._rows(f"{self.corpus}-{self.language}", squad(path))

    def _rows(self, name: str, found: Sequence[Question]) -> list[Example]:
        return [
            row(
                f"{name}-{i}",
                f"Context: {each.context}\nQuestion: {each.question}\nAnswer:",
                each.answers[0],
                group_of(each.context),
                references="\n".join(each.answers),
            )
            for i, each in enumerate(found)
        ]

    def golds(self, example: Example) -> tuple[str, ...]:
        return references(example)

    def score(self, example: Example, outcome: Outcome) -> list[Score]:
        assert isinstance(outcome, Generated)
        answer = text.first_line(outcome.text)
        if answer is None:
            return [Score(metric, 0.0, parsed=False) for metric in self.metrics]
        values = text.squad(answer, references(example))
        return [
            Score(metric, value, prediction=answer, parsed=True)
            for metric, value in zip(self.metrics, values, strict=True)
        ]


def references(example: Example) -> tuple[str, ...]:
    """Every accepted answer: the gold one, and those that the row lists one a line."""
    return tuple(dict.fromkeys((example.answer, *example.meta.get("references", "").splitlines())))
