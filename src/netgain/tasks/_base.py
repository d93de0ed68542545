"""What a task file provides: rows to measure, what to ask the model about each, and per-item values from what it did.

A kind is one file with one class derived from `Task` or `Prompted`. It says where its rows come from (`own_rows`,
`own_train_rows`), which metrics it reports, what it asks (`ask`) and what the outcome is worth (`score`). It never
touches a model: `netgain.measure` turns requests into forward passes and scores into rows of evidence.

Evaluation and training rows never share a group: `train_examples` leaves out whatever the evaluation rows hold.
Demonstrations are drawn from it, and so may training data be (the same prompts, the same answers).
"""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from pydantic import NonNegativeInt, PositiveInt

from netgain.data.demonstrations import demonstrations
from netgain.data.source import Example, Turn, digest, read
from netgain.errors import UserError
from netgain.ledger.items import higher_is_better
from netgain.spec.identity import stream
from netgain.spec.plugin import TaskPlugin
from netgain.spec.run import DataSource, EmbeddedSource, Source, TaskSource


@dataclass(frozen=True, slots=True)
class Sampling:
    """So many answers; temperature 0 is greedy. `key` numbers the random stream: the same for every model."""

    samples: int = 1
    temperature: float = 0.0
    top_p: float | None = None
    key: int = 0


GREEDY = Sampling()


@dataclass(frozen=True, slots=True)
class Generate:
    """Write an answer, or several by `sampling` (alike for all requests of a task, but for the key).

    The budget must hold the longest of `golds`; None means that and a margin.
    """

    turns: tuple[Turn, ...]
    demonstrations: tuple[Example, ...]
    golds: tuple[str, ...]
    max_new_tokens: int | None
    sampling: Sampling = GREEDY


@dataclass(frozen=True, slots=True)
class Likelihood:
    """log p(option | prompt) of each option."""

    turns: tuple[Turn, ...]
    demonstrations: tuple[Example, ...]
    options: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Places:
    """log p(option | prompt, the right answer up to there) of each option at each place of an answer.

    The right answer is before[0] gold[0] before[1] gold[1] ..., so every place is asked behind what is right.
    """

    turns: tuple[Turn, ...]
    demonstrations: tuple[Example, ...]
    before: tuple[str, ...]
    options: tuple[str, ...]
    gold: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Nll:
    """-log p of a text, without a prompt."""

    text: str


@dataclass(frozen=True, slots=True)
class Converse:
    """Answer the questions one after another, each behind the model's own answers so far, `samples` times over.

    Temperature 0 is greedy and makes one conversation. `key` numbers the random stream, so that the same question is
    answered with the same random numbers by every model.
    """

    questions: tuple[str, ...]
    key: int
    temperature: float
    top_p: float | None
    samples: int
    max_new_tokens: int


@dataclass(frozen=True, slots=True)
class Fill:
    """Fill in the hidden tokens of the right answer, under a fixed list of sets of hidden places."""

    turns: tuple[Turn, ...]
    demonstrations: tuple[Example, ...]
    answer: str


@dataclass(frozen=True, slots=True)
class Harness:
    """Whatever lm-eval asks about a document, as often as it likes; `turns` is the question for people to read."""

    turns: tuple[Turn, ...]
    demonstrations: tuple[Example, ...] = ()


Request = Generate | Likelihood | Places | Nll | Converse | Fill | Harness


@dataclass(frozen=True, slots=True)
class Generated:
    """What was written, without the ids that end an answer."""

    text: str
    tokens: int
    truncated: bool


@dataclass(frozen=True, slots=True)
class Scored:
    """The log-probability of each option, in the order of the request."""

    logprobs: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Placed:
    """The log-probability of each option at each place, in the order of the request."""

    logprobs: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True)
class Surprise:
    """The sum of -log p over the scored tokens of a text, in nats."""

    total: float
    tokens: int


@dataclass(frozen=True, slots=True)
class Filled:
    """The share of hidden tokens that were filled in rightly, as over a masked share that is uniform in (0, 1)."""

    share: float


Outcome = Generated | Scored | Placed | Surprise | Filled


@dataclass(frozen=True, slots=True)
class Score:
    """One metric of one item. `parsed` is False when the output held no answer: the value is 0, `prediction` None."""

    metric: str
    value: float | None
    reason: str | None = None
    weight: float = 1.0
    prediction: str | None = None
    parsed: bool | None = None


@dataclass(frozen=True)
class Card:
    """What a reader must know beside a score: how it was asked, what guessing is worth, and on what rows.

    `chance` and `majority` are values of `metric`, the first of `metrics`. `ids` is the sha256 of the sorted item ids:
    two arms with different ones were not measured on the same items. f1 is about the label `positive`. A `blind` task
    shows no input: it is a control.
    """

    kind: str
    metric: str
    direction: str
    metrics: tuple[str, ...]
    binary: tuple[str, ...]
    mode: str
    shots: int
    items: int
    clusters: int
    chance: float | None
    majority: float | None
    labels: Mapping[str, int]
    ids: str
    positive: str | None = None
    blind: bool = False

    def to_json(self) -> dict[str, Any]:
        """The card as it stands in a run's record."""
        return asdict(self)


class Task(TaskPlugin):
    """Rows to measure.

    source   where the rows come from; without it the kind's own files under $NETGAIN_DATA
    train    where training rows and demonstrations come from; without it the kind's own, or a suite's next seed
    limit    measure a random subset of that many rows, drawn by `seed`; a smaller limit is a subset of a larger one
    """

    source: Source | None = None
    train: Source | None = None
    limit: PositiveInt | None = None
    seed: int = 0

    asked: ClassVar[str] = "generate"
    derived: ClassVar[tuple[str, ...]] = ()

    def own_rows(self, folder: Path | None) -> list[Example]:
        """The evaluation rows of the kind's own files."""
        raise UserError(f"task {self.kind}: needs a `source` to read its rows from.")

    def own_train_rows(self, folder: Path | None) -> list[Example]:
        """The training rows of the kind's own files."""
        raise UserError(f"task {self.kind}: has no training rows of its own; name some with `train`.")

    def check(self, rows: list[Example]) -> list[Example]:
        """The rows as the kind needs them, or a sentence about the first that is not."""
        return rows

    @property
    def metrics(self) -> tuple[str, ...]:
        """Every metric reported, the primary one first."""
        raise NotImplementedError

    @property
    def item_metrics(self) -> tuple[str, ...]:
        """The metrics that every item has a value of; the others are computed from all items together."""
        return tuple(metric for metric in self.metrics if metric not in self.derived)

    @property
    def binary(self) -> tuple[str, ...]:
        """The metrics whose values are 0 or 1."""
        return ()

    @property
    def mode(self) -> str:
        """How the model is asked: generate, likelihood or nll."""
        return self.asked

    def chance(self, examples: Sequence[Example]) -> float | None:
        """What uniform guessing scores on the primary metric, where that is defined."""
        return None

    def majority(self, examples: Sequence[Example]) -> float | None:
        """What the best constant answer scores on the primary metric, where that is defined."""
        return None

    def label_counts(self, examples: Sequence[Example]) -> Mapping[str, int]:
        """How often each gold label occurs; empty for free answers."""
        return {}

    def requests(self, examples: Sequence[Example], folder: Path | None) -> list[Request]:
        """What to ask the model about each example, in their order."""
        raise NotImplementedError

    def score(self, example: Example, outcome: Outcome) -> list[Score]:
        """What the outcome of the example's request is worth."""
        raise NotImplementedError

    def score_all(self, examples: Sequence[Example], outcomes: Sequence[Sequence[Outcome]]) -> list[list[list[Score]]]:
        """The scores of every sample of every example; a task that can judge many at once does it here."""
        pairs = zip(examples, outcomes, strict=True)
        return [[self.score(example, outcome) for outcome in samples] for example, samples in pairs]

    def score_set(self, example: Example, outcomes: Sequence[Outcome]) -> list[Score]:
        """What the samples of one example are worth together, such as how different they are."""
        return []

    def examples(self, folder: Path | None) -> list[Example]:
        """The evaluation rows: the same for every model, arm and checkpoint."""
        rows = self._all(folder)
        if self.limit is None or self.limit >= len(rows):
            return rows
        chosen = stream(self.seed, "limit").permutation(len(rows))[: self.limit]
        return [rows[i] for i in sorted(chosen)]

    def train_examples(self, folder: Path | None) -> list[Example]:
        """Rows to learn from or to show, none of whose groups occurs in the evaluation rows."""
        if self.train is not None:
            rows = read(self.train, folder)
        elif self.source is None:
            rows = self.own_train_rows(folder)
        elif isinstance(self.source, EmbeddedSource):
            rows = read(self.source.model_copy(update={"seed": self.source.seed ^ 1}), folder)
        else:
            raise UserError(f"task {self.kind}: `source` replaces its own rows; name where to train from with `train`.")
        taken = {row.group for row in self._all(folder)}
        return self.check([row for row in rows if row.group not in taken])

    def card(self, folder: Path | None) -> Card:
        """What is to be known beside this task's scores."""
        rows = self.examples(folder)
        ids = hashlib.sha256("\n".join(sorted(row.id for row in rows)).encode()).hexdigest()
        return Card(
            kind=self.kind,
            metric=self.metrics[0],
            direction="higher" if higher_is_better(self.metrics[0]) else "lower",
            metrics=self.metrics,
            binary=self.binary,
            mode=self.mode,
            shots=getattr(self, "shots", 0),
            items=len(rows),
            clusters=len({row.group for row in rows}),
            chance=self.chance(rows),
            majority=self.majority(rows),
            labels=dict(self.label_counts(rows)),
            ids=ids,
            positive=getattr(self, "positive_word", None),
            blind=getattr(self, "blind", False),
        )

    def _all(self, folder: Path | None) -> list[Example]:
        rows = self.own_rows(folder) if self.source is None else read(self.source, folder)
        if not rows:
            raise UserError(f"task {self.kind}: its source has no rows.")
        twice = [name for name, count in Counter(row.id for row in rows).items() if count > 1]
        if twice:
            raise UserError(f'task {self.kind}: the row id "{twice[0]}" occurs twice; choose another `id` field.')
        return self.check(rows)


class Prompted(Task):
    """A task that asks questions.

    shots            demonstrations before each question, drawn for it from the training rows by `seed`
    max_new_tokens   the budget of a generated answer; without it the longest gold answer and a margin
    """

    shots: NonNegativeInt = 0
    max_new_tokens: PositiveInt | None = None

    def ask(self, example: Example, shown: tuple[Example, ...]) -> Request:
        """The request about one example, after the demonstrations."""
        return Generate(example.turns, shown, self.golds(example), self.max_new_tokens)

    def golds(self, example: Example) -> tuple[str, ...]:
        """Every answer that the budget must have room for."""
        return (example.answer,)

    def requests(self, examples: Sequence[Example], folder: Path | None) -> list[Request]:
        pool = self.train_examples(folder) if self.shots else []
        return [self.ask(example, demonstrations(example, pool, self.shots, self.seed)) for example in examples]


def tasks_of(plugins: Mapping[str, TaskPlugin]) -> dict[str, Task]:
    """The named tasks of a run, which know their plugins by family only."""
    tasks: dict[str, Task] = {}
    for name, plugin in plugins.items():
        if not isinstance(plugin, Task):
            raise UserError(f'task {name}: "{plugin.kind}" is no task class; derive it from netgain.tasks._base.Task.')
        tasks[name] = plugin
    return tasks


def read_source(source: DataSource, folder: Path | None) -> list[Example]:
    """The rows of a run's source; those of a task are what it would show as demonstrations."""
    if not isinstance(source, TaskSource):
        return read(source, folder)
    rows = tasks_of({source.task.kind: source.task})[source.task.kind].train_examples(folder)
    if source.limit is None or source.limit >= len(rows):
        return rows
    chosen = stream(source.seed, "limit").permutation(len(rows))[: source.limit]
    return [rows[i] for i in sorted(chosen)]


def row(name: str, prompt: str, answer: str, group: str | None = None, **meta: str) -> Example:
    """An example with one user turn; without a group, prompts that differ in case and blanks only are of one."""
    group = group_of(prompt.casefold()) if group is None else group
    return Example(id=name, group=group, turns=(Turn("user", prompt),), answer=answer, meta=meta)


def group_of(field: str) -> str:
    """The group of a row, as a source that names this field as its `group` would call it."""
    return digest(" ".join(field.split()))


def with_labels(rows: Sequence[Example], labels: Sequence[str]) -> list[Example]:
    """The rows with that label set."""
    return [replace(each, labels=tuple(labels)) for each in rows]


def share_of_most_common(counts: Mapping[str, int]) -> float | None:
    """max / sum of the counts."""
    return max(counts.values()) / sum(counts.values()) if counts else None
