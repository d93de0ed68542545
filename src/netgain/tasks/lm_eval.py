"""Tasks of lm-evaluation-harness, asked and scored by lm-eval itself, on the model that is being measured."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from pydantic import NonNegativeInt, model_validator

from netgain.data.files import locate
from netgain.data.source import Example
from netgain.ledger.items import higher_is_better
from netgain.spec.run import SpecError
from netgain.tasks import _harness
from netgain.tasks._base import Card, Harness, Request, Task, row, share_of_most_common

MODES = {
    "multiple_choice": "likelihood", "loglikelihood": "likelihood", "loglikelihood_rolling": "nll",
    "generate_until": "generate",
}  # fmt: skip
CHOSEN = ("acc", "acc_norm")


class LmEval(Task):
    """lm-eval writes the prompts, draws the demonstrations, filters the answers and scores them; its rows of evidence
    have the metrics that lm-eval gives single documents.

    name    a task of lm-eval's, or a tag or group: items are then called TASK/DOCUMENT
    path    in its place, a YAML file of a task of your own; it may name Python, which is run
    shots   demonstrations (num_fewshot); lm-eval's own number for the task without it
    chat    put prompts into the model's chat template, as lm-eval does with --apply_chat_template
    """

    kind: Literal["lm_eval"] = "lm_eval"
    name: str | None = None
    path: str | None = None
    shots: NonNegativeInt | None = None
    chat: bool = False

    @model_validator(mode="after")
    def _one_place(self) -> "LmEval":
        if (self.name is None) == (self.path is None):
            raise SpecError("give either name, a task of lm-eval's, or path, a YAML file of your own", "name")
        if self.source is not None or self.train is not None:
            raise SpecError("lm-eval reads the rows of its tasks itself", "train" if self.source is None else "source")
        return self

    def leaves(self, folder: Path | None) -> Mapping[str, Any]:
        """task -> lm-eval's object."""
        if self.path is None:
            return _harness.leaves(str(self.name), False, self.shots)
        return _harness.leaves(str(locate(self.path, folder)), True, self.shots)

    def metric_names(self, folder: Path | None) -> dict[str, str]:
        """What the reader of lm-eval's samples calls a metric -> what the ledger does."""
        return {k: v for task in self.leaves(folder).values() for k, v in _harness.metric_names(task).items()}

    @property
    def metrics(self) -> tuple[str, ...]:
        """Of a `path`, only where that is absolute or under $NETGAIN_DATA; its card knows them in any case."""
        return tuple(self.metric_names(None).values())

    def own_rows(self, folder: Path | None) -> list[Example]:
        leaves = self.leaves(folder)
        return [_row(name, i, doc, task, len(leaves)) for name, task in leaves.items() for i, doc in _documents(task)]

    def requests(self, examples: Sequence[Example], folder: Path | None) -> list[Request]:
        return [Harness(example.turns) for example in examples]

    def chance(self, examples: Sequence[Example]) -> float | None:
        """Of choices: the mean over items of 1 / number of choices."""
        if not all(len(each.labels) > 1 for each in examples):
            return None
        return sum(1 / len(each.labels) for each in examples) / len(examples)

    def label_counts(self, examples: Sequence[Example]) -> Mapping[str, int]:
        """Of choices among the same labels for all items; others have none that could be counted."""
        labels = {each.labels for each in examples}
        if len(labels) != 1 or not examples[0].labels:
            return {}
        counts = Counter(dict.fromkeys(examples[0].labels, 0))
        counts.update(each.answer for each in examples)
        return counts

    def card(self, folder: Path | None) -> Card:
        rows, leaves = self.examples(folder), list(self.leaves(folder).values())
        metrics = tuple(dict.fromkeys(self.metric_names(folder).values()))
        choice = metrics[0] in CHOSEN
        known = "\n".join(sorted(f"{each.id} {each.group}" for each in rows))
        return Card(
            kind=self.kind,
            metric=metrics[0],
            direction="higher" if higher_is_better(metrics[0]) else "lower",
            metrics=metrics,
            binary=tuple(filter(_harness.yes_or_no, metrics)),
            mode=MODES[leaves[0].OUTPUT_TYPE],
            shots=leaves[0].get_config("num_fewshot"),
            items=len(rows),
            clusters=len({each.group for each in rows}),
            chance=self.chance(rows) if choice else None,
            majority=share_of_most_common(self.label_counts(rows)) if choice else None,
            labels=dict(self.label_counts(rows)),
            ids=hashlib.sha256(known.encode()).hexdigest(),
        )


def _documents(task: Any) -> Iterator[tuple[int, Any]]:
    yield from task.doc_iterator(rank=0, limit=None, world_size=1)


def _row(name: str, i: int, doc: Any, task: Any, of: int) -> Example:
    """A document as an example: its question without demonstrations, its answer, and its choices where it has some."""
    target, choices = task.doc_to_target(doc), ()
    if task.OUTPUT_TYPE == "multiple_choice":
        choices = tuple(str(each) for each in task.doc_to_choice(doc))
        target = choices[target] if isinstance(target, int) and target in range(len(choices)) else target
    asked = target if task.OUTPUT_TYPE == "loglikelihood_rolling" else task.doc_to_text(doc)
    answer = target if isinstance(target, str) else json.dumps(target, ensure_ascii=False, default=str)
    made = row(str(i) if of == 1 else f"{name}/{i}", str(asked), answer, leaf=name, document=str(i))
    return replace(made, labels=choices)
