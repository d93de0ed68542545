"""Choosing one of a few labels, by their likelihood or by writing one down."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

from netgain.data.source import Example
from netgain.errors import UserError
from netgain.measure import text
from netgain.tasks._base import (
    Generated,
    Likelihood,
    Outcome,
    Prompted,
    Request,
    Score,
    Scored,
    share_of_most_common,
    with_labels,
)


class Classification(Prompted):
    """Sentence(s) to a label.

    likelihood   p over the label set alone: accuracy (argmax of the sums), accuracy_norm (argmax of the sums per
                 character), label_nll (-log of the gold label's share of the labels' probability)
    generate     accuracy of what is written; what names no label is wrong, and counted as unparsed
    """

    answering: Literal["likelihood", "generate"] = "likelihood"

    @property
    def mode(self) -> str:
        return self.answering

    @property
    def metrics(self) -> tuple[str, ...]:
        return ("accuracy", "accuracy_norm", "label_nll") if self.answering == "likelihood" else ("accuracy",)

    @property
    def binary(self) -> tuple[str, ...]:
        return tuple(metric for metric in self.metrics if metric != "label_nll")

    def check(self, rows: list[Example]) -> list[Example]:
        if not all(row.labels for row in rows):
            rows = with_labels(rows, sorted({row.answer for row in rows}))
        for row in rows:
            if row.answer not in row.labels:
                known = ", ".join(row.labels)
                raise UserError(f'task {self.kind}: row "{row.id}" has the label "{row.answer}", not one of {known}.')
            if len(row.labels) < 2:
                raise UserError(f'task {self.kind}: its only label is "{row.answer}"; a choice needs two.')
        return rows

    def chance(self, examples: Sequence[Example]) -> float | None:
        """The mean over items of 1 / number of labels."""
        return sum(1 / len(row.labels) for row in examples) / len(examples)

    def majority(self, examples: Sequence[Example]) -> float | None:
        return share_of_most_common(self.label_counts(examples))

    def label_counts(self, examples: Sequence[Example]) -> Mapping[str, int]:
        counts = Counter({label: 0 for row in examples for label in row.labels})
        counts.update(row.answer for row in examples)
        return counts

    def golds(self, example: Example) -> tuple[str, ...]:
        return example.labels

    def ask(self, example: Example, shown: tuple[Example, ...]) -> Request:
        if self.answering == "likelihood":
            return Likelihood(example.turns, shown, example.labels)
        return super().ask(example, shown)

    def score(self, example: Example, outcome: Outcome) -> list[Score]:
        if isinstance(outcome, Scored):
            return choice_scores(example.labels, example.answer, outcome.logprobs)
        assert isinstance(outcome, Generated)
        found = text.label(outcome.text, example.labels)
        return [Score("accuracy", float(found == example.answer), prediction=found, parsed=found is not None)]


def choice_scores(options: Sequence[str], gold: str, logprobs: Sequence[float]) -> list[Score]:
    """accuracy, accuracy_norm and label_nll of a choice; undefined where a log-probability is no number.

    A tie is no choice: it scores 0 and is unparsed, since taking the first would make a broken model a constant one.
    """
    if not all(math.isfinite(each) for each in logprobs):
        return [Score(metric, None, reason="undefined") for metric in ("accuracy", "accuracy_norm", "label_nll")]
    gold_at = list(options).index(gold)
    top = max(logprobs)
    total = top + math.log(sum(math.exp(each - top) for each in logprobs))
    per_character = [each / len(option) for each, option in zip(logprobs, options, strict=True)]
    scores = []
    for metric, values in (("accuracy", list(logprobs)), ("accuracy_norm", per_character)):
        at = values.index(max(values)) if values.count(max(values)) == 1 else None
        picked = None if at is None else options[at]
        scores.append(Score(metric, float(at == gold_at), prediction=picked, parsed=at is not None))
    told, parsed = scores[0].prediction, scores[0].parsed
    return [*scores, Score("label_nll", total - logprobs[gold_at], prediction=told, parsed=parsed)]
