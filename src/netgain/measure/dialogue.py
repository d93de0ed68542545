"""Conversations: turn by turn, every question behind the model's own answers, then every answer before the judges.

Greedy or sampled by the request's own random numbers, so that neither the batch nor the other rows change an answer.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from netgain.data.chat import Template
from netgain.data.source import Example, Turn
from netgain.judges._base import Bench, Case, Rating, judges_of
from netgain.ledger.items import Item
from netgain.measure.batches import free_memory, in_batches
from netgain.models.generate import Generation, generate
from netgain.models.lm import LM
from netgain.tasks._base import Converse, Task
from netgain.tasks._dialogue import FINISHED, Dialogue, item_id, references

STREAM = 20_231_009
"""The generator of every turn starts here: what is drawn depends on the request's key, the sample and the turn."""


@dataclass
class Talk:
    """One conversation in the making. A turn without an answer (`reason`) ends it."""

    example: Example
    request: Converse
    sample: int
    said: list[Generation] = field(default_factory=list)
    retried: bool = False
    reason: str | None = None

    def turns(self, upto: int) -> tuple[Turn, ...]:
        """The questions 0..upto, each but the last with the model's own answer."""
        found: list[Turn] = []
        for i, question in enumerate(self.request.questions[: upto + 1]):
            found.append(Turn("user", question))
            if i < upto:
                found.append(Turn("assistant", self.said[i].text))
        return tuple(found)


def items(
    lm: LM,
    template: Template,
    batch: int,
    bench: Bench,
    name: str,
    task: Task,
    examples: Sequence[Example],
    requests: Sequence[Converse],
    checkpoint: str,
) -> Iterator[Item]:
    """The rows of one task: per question, turn and sample one of `finished` and one of each judge's ratings.

    A judge that rates several times has one row a repeat: sample = conversation * repeats + repeat.
    """
    assert isinstance(task, Dialogue)
    talks = [
        Talk(example, request, sample)
        for example, request in zip(examples, requests, strict=True)
        for sample in range(request.samples)
    ]
    for turn in range(max(len(talk.request.questions) for talk in talks)):
        _answer(lm, template, batch, talks, turn)
    rated = lm.holders.told(lambda: _rated(task, talks, bench))
    for t, talk in enumerate(talks):
        for turn in range(len(talk.request.questions)):
            yield _row(name, checkpoint, talk, turn, FINISHED, talk.sample, _finished(talk, turn))
            for judge, ratings in rated.items():
                for r, rating in enumerate(ratings[t][turn]):
                    sample = talk.sample * len(ratings[t][turn]) + r
                    yield _row(name, checkpoint, talk, turn, judge, sample, rating)


def check(task: Dialogue, template: Template, examples: Sequence[Example], folder: Path | None) -> None:
    """Refuse, before anything is trained, a judge that could not work and a template without second questions."""
    for judge in judges_of(task.judges).values():
        judge.ready(folder)
    longest = max(examples, key=lambda example: len(example.turns))
    turns = [Turn("user", turn.text) for turn in longest.turns]
    template.prompt([turn for asked in turns for turn in (asked, Turn("assistant", "An answer."))][:-1])


def _answer(lm: LM, template: Template, batch: int, talks: Sequence[Talk], turn: int) -> None:
    """Let every conversation that has come so far answer its question of this turn."""
    live = [talk for talk in talks if talk.reason is None and turn < len(talk.request.questions)]
    prompts = {id(talk): template.prompt(talk.turns(turn)) for talk in live}
    for talk in live:
        length = len(prompts[id(talk)]) + talk.request.max_new_tokens
        if lm.max_positions is not None and length > lm.max_positions:
            talk.reason = "too_long"
    groups: dict[tuple[float, float | None, int], list[Talk]] = {}
    for talk in live:
        if talk.reason is None:
            key = (talk.request.temperature, talk.request.top_p, talk.request.max_new_tokens)
            groups.setdefault(key, []).append(talk)
    for (temperature, top_p, budget), group in groups.items():

        def run(rows: list[int], group=group, temperature=temperature, top_p=top_p, budget=budget) -> list[Generation]:
            return generate(
                lm,
                [prompts[id(group[i])] for i in rows],
                max_new_tokens=budget,
                stop_ids=template.stop_ids,
                temperature=temperature,
                top_p=top_p,
                generator=torch.Generator().manual_seed(STREAM + turn),
                streams=[_stream(group[i]) for i in rows],
                batch=len(rows),
            )

        lengths = [len(prompts[id(talk)]) + budget for talk in group]
        found = in_batches(lengths, batch, run, release=free_memory, progress=lambda done: None)
        for talk, answer in zip(group, found, strict=True):
            talk.retried |= answer.retried
            if answer.value is None:
                talk.reason = "oom"
            else:
                talk.said.append(answer.value)


def _stream(talk: Talk) -> int:
    return talk.request.key * 4096 + talk.sample


def _rated(task: Dialogue, talks: Sequence[Talk], bench: Bench) -> dict[str, list[list[list[Rating]]]]:
    """judge -> ratings[talk][turn][repeat]; an answer that was never written has the reason why."""
    cases = [
        Case(
            id=f"{item_id(talk.example, turn + 1)}/{talk.sample}",
            turns=talk.turns(turn),
            answer=said.text,
            references=references(talk.example)[: turn + 1],
            category=talk.example.meta["category"],
        )
        for talk in talks
        for turn, said in enumerate(talk.said)
    ]
    rated: dict[str, list[list[list[Rating]]]] = {}
    for name, judge in judges_of(task.judges).items():
        given = iter(judge.rate(cases, bench))
        rated[name] = [
            [
                next(given) if turn < len(talk.said) else [Rating(None, talk.reason)] * judge.repeats
                for turn in range(len(talk.request.questions))
            ]
            for talk in talks
        ]
    return rated


def _finished(talk: Talk, turn: int) -> Rating:
    """1 for an answer that is not empty and ended by itself."""
    if turn >= len(talk.said):
        return Rating(None, talk.reason)
    said = talk.said[turn]
    return Rating(float(bool(said.text.strip()) and not said.truncated))


def _row(name: str, checkpoint: str, talk: Talk, turn: int, metric: str, sample: int, rating: Rating) -> Item:
    said = talk.said[turn] if turn < len(talk.said) else None
    right = references(talk.example)
    return Item(
        task=name,
        metric=metric,
        item=item_id(talk.example, turn + 1),
        checkpoint=checkpoint,
        value=rating.value,
        reason=rating.reason,
        sample=sample,
        cluster=talk.example.group,
        label=right[turn] if turn < len(right) else None,
        output=None if said is None else said.text,
        truncated=None if said is None else said.truncated,
        tokens=None if said is None else said.tokens,
        retried=talk.retried,
    )
