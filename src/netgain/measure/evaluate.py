"""A model and its tasks to rows of evidence: the only place where a benchmark meets a forward pass.

Requests of one task become batched generation, label scores or text losses; outcomes go back to the task, which says
what they are worth. Decoding is greedy, and nothing depends on the batch size but speed.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import torch

from netgain.data.chat import Template
from netgain.data.source import Example
from netgain.errors import UserError
from netgain.judges._base import Bench
from netgain.ledger.items import Item
from netgain.measure import dialogue, harness
from netgain.measure.batches import free_memory, in_batches
from netgain.measure.places import branches
from netgain.models import diffusion, unmask
from netgain.models.engine import Writer
from netgain.models.generate import Owners, generate
from netgain.models.lm import LM
from netgain.models.load import cache_folder
from netgain.models.score import label_logprobs, placed_logprobs, token_nll
from netgain.spec.plugin import TaskPlugin
from netgain.tasks._base import (
    Converse,
    Fill,
    Filled,
    Generate,
    Generated,
    Harness,
    Likelihood,
    Nll,
    Outcome,
    Placed,
    Places,
    Request,
    Score,
    Scored,
    Surprise,
    Task,
    tasks_of,
)
from netgain.tasks._dialogue import Dialogue
from netgain.tasks.lm_eval import LmEval

Progress = Callable[[int, int], object]

MARGIN = 16
"""How many tokens a budget that is not given leaves beyond the longest gold answer."""
WINDOW = 1024
"""How many tokens of a document are read at once, where the model takes as many."""


@dataclass(frozen=True, slots=True)
class Measured:
    """The outcomes of one request, one a sample, or the reason why there are none."""

    outcomes: tuple[Outcome, ...] = ()
    reason: str | None = None
    retried: bool = False


TOO_LONG = Measured(reason="too_long")


class Crew(Protocol):
    """K arms in one network: which of them reads which row."""

    def assign(self, owners: torch.Tensor) -> None:
        """Row i of the next forward passes is of arm owners[i]."""
        ...

    def only(self, arm: int) -> AbstractContextManager[None]:
        """Inside, every row is of that arm."""
        ...


@dataclass(frozen=True)
class Session:
    """A model, how its prompts are rendered, and how many rows it takes at once."""

    lm: LM
    template: Template
    batch: int
    on_rows: Callable[[int], object]
    crew: Crew | None = None
    arms: tuple[int, ...] = (0,)
    writer: Writer | None = None
    """Who writes greedy answers in place of the network, where there is somebody."""

    def owners(self, arms: Sequence[int]) -> Owners | None:
        """Whose rows are read next: None where there is one arm."""
        if self.crew is None:
            return None
        return Owners(torch.tensor(arms, device=self.lm.device), self.crew.assign)

    def fits(self, tokens: int) -> bool:
        """Whether the model has positions for so many tokens."""
        return self.lm.max_positions is None or tokens <= self.lm.max_positions


@dataclass(frozen=True)
class Asked:
    """A task, its examples, what is asked about each, and how many tokens a written answer may take."""

    name: str
    task: Task
    examples: list[Example]
    requests: list[Request]
    budget: int


def evaluate(
    lm: LM,
    tasks: Mapping[str, TaskPlugin],
    *,
    template: Template,
    checkpoint: str,
    folder: Path | None,
    batch: int,
    progress: Progress = lambda done, total: None,
    writer: Writer | None = None,
) -> Iterator[Item]:
    """The rows of every task at one checkpoint, task by task, in the order of each task's examples.

    `progress(done, total)` counts examples over all tasks. All data is read and all budgets are checked before anything
    is measured.
    """
    for (items,) in _evaluated(lm, tasks, template, checkpoint, folder, batch, progress, None, (0,), writer):
        yield from lm.holders.told(lambda: list(items))  # noqa: B023 (called at once)


def evaluate_arms(
    crew: Crew,
    arms: Sequence[int],
    lm: LM,
    tasks: Mapping[str, TaskPlugin],
    *,
    template: Template,
    checkpoint: str,
    folder: Path | None,
    batch: int,
    progress: Progress = lambda done, total: None,
) -> list[list[Item]]:
    """For each of `arms`, what `evaluate` gives for it alone; `batch` examples at once, every arm's row of each."""
    found: list[list[Item]] = [[] for _ in arms]
    for each in _evaluated(lm, tasks, template, checkpoint, folder, batch, progress, crew, tuple(arms)):
        for own, items in zip(found, each, strict=True):
            own += items
    return found


def _evaluated(
    lm: LM,
    tasks: Mapping[str, TaskPlugin],
    template: Template,
    checkpoint: str,
    folder: Path | None,
    batch: int,
    progress: Progress,
    crew: Crew | None,
    arms: tuple[int, ...],
    writer: Writer | None = None,
) -> Iterator[list[Iterable[Item]]]:
    """Task by task, the rows of each arm."""
    asked = [_ask(name, task, template, folder) for name, task in tasks_of(tasks).items()]
    total, done = sum(len(each.examples) for each in asked) * len(arms), 0

    def on_rows(count: int) -> None:
        nonlocal done
        done += count
        progress(done, total)

    session = Session(lm, template, batch, on_rows, crew, arms, writer)
    for each in asked:
        if any(isinstance(request, Converse | Harness) for request in each.requests):
            yield [_own_way(session, each, arm, checkpoint, folder) for arm in arms]
        else:
            yield [_items(each, checkpoint, measured) for measured in _measure(session, each)]


def _own_way(session: Session, asked: Asked, arm: int, checkpoint: str, folder: Path | None) -> list[Item]:
    """The rows of a task whose questions build on the model's own answers, or that lm-eval asks: an arm at a time."""
    lm, template, batch = session.lm, session.template, session.batch
    with nullcontext() if session.crew is None else session.crew.only(arm):
        if isinstance(asked.task, LmEval):
            found = list(harness.items(lm, batch, asked.name, asked.task, asked.examples, folder, checkpoint))
        else:
            talks = [request for request in asked.requests if isinstance(request, Converse)]
            bench = Bench(folder, cache_folder() / "judges", str(lm.device))
            found = list(
                dialogue.items(lm, template, batch, bench, asked.name, asked.task, asked.examples, talks, checkpoint)
            )
    session.on_rows(len(asked.examples))
    return found


def check(tasks: Mapping[str, TaskPlugin], template: Template, folder: Path | None) -> None:
    """Refuse what `evaluate` would refuse (missing data, too small a budget), before a model is trained for it."""
    for name, task in tasks_of(tasks).items():
        _ask(name, task, template, folder)


def _ask(name: str, task: Task, template: Template, folder: Path | None) -> Asked:
    examples = task.examples(folder)
    requests = task.requests(examples, folder)
    written = [request for request in requests if isinstance(request, Generate)]
    if isinstance(task, Dialogue):
        dialogue.check(task, template, examples, folder)
    return Asked(name, task, examples, requests, _budget(template, name, written) if written else 0)


def _measure(session: Session, asked: Asked) -> list[list[Measured]]:
    """For each arm the outcome of every request; a task asks all of its questions in the same way."""
    generated = [request for request in asked.requests if isinstance(request, Generate)]
    chosen = [request for request in asked.requests if isinstance(request, Likelihood)]
    placed = [request for request in asked.requests if isinstance(request, Places)]
    texts = [request for request in asked.requests if isinstance(request, Nll)]
    hidden = [request for request in asked.requests if isinstance(request, Fill)]
    if len(generated) == len(asked.requests):
        return _generated(session, generated, asked.budget)
    if len(chosen) == len(asked.requests):
        return _chosen(session, chosen)
    if len(placed) == len(asked.requests):
        return _placed(session, placed)
    if len(texts) == len(asked.requests):
        return _surprised(session, texts)
    if len(hidden) == len(asked.requests):
        return _filled(session, hidden)
    raise TypeError(f"task {asked.name} asks in several ways at once")


def required_tokens(template: Template, requests: Sequence[Generate]) -> tuple[int, str]:
    """(tokens of the longest gold answer with the token that ends it, that answer)."""
    lengths: dict[str, int] = {}
    for request in requests:
        for gold in request.golds:
            if gold not in lengths:
                ids = template.answer(request.turns, gold, demonstrations=request.demonstrations, end=True)
                lengths[gold] = len(ids)
    longest = max(lengths, key=lambda gold: lengths[gold])
    return lengths[longest], longest


def _budget(template: Template, name: str, requests: Sequence[Generate]) -> int:
    """max_new_tokens of a task, refused when a right answer could not be written within it."""
    required, longest = required_tokens(template, requests)
    given = requests[0].max_new_tokens
    if given is not None and given < required:
        raise UserError(
            f"task {name}: max_new_tokens is {given} and the longest gold answer takes {required} tokens with its end "
            f'("{longest[:40]}"); give at least {required}.'
        )
    return required + MARGIN if given is None else given


def _generated(session: Session, requests: Sequence[Generate], budget: int) -> list[list[Measured]]:
    lm, template = session.lm, session.template
    prompts = [template.prompt(request.turns, request.demonstrations) for request in requests]

    like = requests[0].sampling
    if session.writer is not None and lm.causal and like.samples == 1 and like.temperature == 0:
        return [_written(session, session.writer, prompts, budget)]
    budget = budget if lm.causal else lm.denoise.length
    write = partial(generate, max_new_tokens=budget) if lm.causal else unmask.write

    def run(rows: list[int], owners: Owners | None) -> list[tuple[Outcome, ...]]:
        written = write(
            lm,
            [prompts[i] for i in rows],
            stop_ids=template.stop_ids,
            temperature=like.temperature,
            top_p=like.top_p,
            samples=like.samples,
            generator=torch.Generator().manual_seed(0),
            streams=[requests[i].sampling.key for i in rows],
            batch=len(rows) * like.samples,
            owners=owners,
        )
        outcomes = [Generated(each.text, each.tokens, each.truncated) for each in written]
        return [tuple(outcomes[i : i + like.samples]) for i in range(0, len(outcomes), like.samples)]

    return _run(session, [len(prompt) + budget for prompt in prompts], run, like.samples)


def _written(session: Session, writer: Writer, prompts: Sequence[list[int]], budget: int) -> list[Measured]:
    """Greedy answers of another engine, which makes its own batches."""
    fits = [i for i, prompt in enumerate(prompts) if session.fits(len(prompt) + budget)]
    measured = [TOO_LONG] * len(prompts)
    if fits:
        found = writer([prompts[i] for i in fits], budget, session.template.stop_ids)
        for i, each in zip(fits, found, strict=True):
            measured[i] = Measured((Generated(each.text, each.tokens, each.truncated),))
    session.on_rows(len(prompts))
    return measured


def _chosen(session: Session, requests: Sequence[Likelihood]) -> list[list[Measured]]:
    lm, template = session.lm, session.template
    prompts = [template.prompt(request.turns, request.demonstrations) for request in requests]
    options = [option_ids(template, request, whole=not lm.causal) for request in requests]
    score = label_logprobs if lm.causal else diffusion.label_logprobs

    def run(rows: list[int], owners: Owners | None) -> list[tuple[Outcome, ...]]:
        asked, answers = [prompts[i] for i in rows], [options[i] for i in rows]
        scored = score(lm, asked, answers, batch=len(rows), owners=owners)
        return [(Scored(tuple(each)),) for each in scored]

    width = 0 if lm.causal else lm.denoise.length
    lengths = [len(prompt) + max(width, *map(len, ids)) for prompt, ids in zip(prompts, options, strict=True)]
    return _run(session, lengths, run)


def _filled(session: Session, requests: Sequence[Fill]) -> list[list[Measured]]:
    lm, template = session.lm, session.template
    if lm.causal:
        raise UserError(f"{lm.name}: answering: denoise asks a masked language model, and this one writes in order.")
    prompts = [template.prompt(request.turns, request.demonstrations) for request in requests]
    answers = [template.answer(r.turns, r.answer, demonstrations=r.demonstrations) for r in requests]

    def run(rows: list[int], owners: Owners | None) -> list[tuple[Outcome, ...]]:
        asked, golds = [prompts[i] for i in rows], [answers[i] for i in rows]
        shares = diffusion.filled(lm, asked, golds, batch=len(rows) * 8, owners=owners)
        return [(Filled(share),) for share in shares]

    return _run(session, [len(prompt) + lm.denoise.length for prompt in prompts], run)


def _placed(session: Session, requests: Sequence[Places]) -> list[list[Measured]]:
    lm = session.lm
    if not lm.causal:
        raise UserError(f"{lm.name}: answering: likelihood of tags asks a causal model what stands at each place.")
    made = [branches(session.template, request) for request in requests]

    def run(rows: list[int], owners: Owners | None) -> list[tuple[Outcome, ...]]:
        asked = [made[i] for i in rows]
        texts, options, places = [a.text for a in asked], [a.options for a in asked], [a.places for a in asked]
        scored = placed_logprobs(lm, texts, options, places, batch=len(rows), owners=owners)
        widths = [len(requests[i].options) for i in rows]
        return [
            (Placed(tuple(tuple(each[k : k + width]) for k in range(0, len(each), width))),)
            for each, width in zip(scored, widths, strict=True)
        ]

    return _run(session, [len(each.text) + max(map(len, each.options)) for each in made], run)


def option_ids(template: Template, request: Likelihood, whole: bool = False) -> list[list[int]]:
    """The ids of each option behind the prompt.

    The token that ends an answer belongs to every option when one option is the beginning of another, since a part is
    never less likely than the whole; and where answers are compared as a whole.
    """

    def ids(end: bool) -> list[list[int]]:
        return [
            template.answer(request.turns, option, demonstrations=request.demonstrations, end=end)
            for option in request.options
        ]

    if whole:
        return ids(end=True)
    bare = ids(end=False)
    nested = any(a is not b and b[: len(a)] == a for a in bare for b in bare)
    return ids(end=True) if nested else bare


def _surprised(session: Session, requests: Sequence[Nll]) -> list[list[Measured]]:
    lm = session.lm
    if not lm.causal:
        raise UserError(
            f"{lm.name}: a masked language model gives a text no probability from left to right; leave tasks such as "
            "ppl out, or choose a causal model."
        )
    documents = [text_ids(lm, request.text) for request in requests]
    window = min(WINDOW, lm.max_positions or WINDOW)

    def run(rows: list[int], owners: Owners | None) -> list[tuple[Outcome, ...]]:
        sums = token_nll(lm, [documents[i] for i in rows], batch=len(rows), window=window, owners=owners)
        return [(Surprise(total, tokens),) for total, tokens in sums]

    return _run(session, [min(len(ids), window) for ids in documents], run)


def text_ids(lm: LM, text: str) -> list[int]:
    """The ids of a plain text behind one special token, so that every token of the text itself is scored."""
    first = lm.tok.bos_token_id if lm.tok.bos_token_id is not None else lm.tok.eos_token_id
    if not isinstance(first, int):
        raise UserError(f"{lm.name}: its tokenizer has no token that begins a text.")
    ids: list[int] = lm.tok.encode(text, add_special_tokens=False)
    return [first, *ids]


def _run(
    session: Session,
    lengths: Sequence[int],
    run: Callable[[list[int], Owners | None], list[tuple[Outcome, ...]]],
    samples: int = 1,
) -> list[list[Measured]]:
    """Rows that fit the model's positions go through it in batches, all arms' rows together; the others are missing.

    An arm's row that fails for lack of memory is tried again with fewer others, down to alone, as it would be alone.
    """
    arms = session.arms
    units = [(i, k) for i, length in enumerate(lengths) if session.fits(length) for k in range(len(arms))]
    session.on_rows(len(lengths) * len(arms) - len(units))

    def some(chosen: list[int]) -> list[tuple[Outcome, ...]]:
        return run([units[u][0] for u in chosen], session.owners([arms[units[u][1]] for u in chosen]))

    answers = in_batches(
        [lengths[i] for i, _ in units],
        max(1, session.batch // samples) * len(arms),
        some,
        release=free_memory,
        progress=session.on_rows,
    )
    measured = [[TOO_LONG] * len(lengths) for _ in arms]
    for (i, k), answer in zip(units, answers, strict=True):
        measured[k][i] = Measured(answer.value or (), None if answer.value is not None else "oom", answer.retried)
    return measured


def _items(asked: Asked, checkpoint: str, measured: Sequence[Measured]) -> Iterator[Item]:
    """One row for each sample and metric that the task gives an item; a missing row a metric without an outcome."""
    task = asked.task
    answered = [i for i, each in enumerate(measured) if each.outcomes]
    judged = task.score_all([asked.examples[i] for i in answered], [measured[i].outcomes for i in answered])
    scores = dict(zip(answered, judged, strict=True))
    for i, (example, each) in enumerate(zip(asked.examples, measured, strict=True)):
        if i not in scores:
            missing = [Score(metric, None, reason=each.reason) for metric in task.item_metrics]
            yield from (_item(asked, checkpoint, example, each, score) for score in missing)
            continue
        for sample, (outcome, found) in enumerate(zip(each.outcomes, scores[i], strict=True)):
            yield from (_item(asked, checkpoint, example, each, score, outcome, sample) for score in found)
        together = task.score_set(example, each.outcomes)
        yield from (_item(asked, checkpoint, example, each, score) for score in together)


def _item(
    asked: Asked,
    checkpoint: str,
    example: Example,
    measured: Measured,
    score: Score,
    outcome: Outcome | None = None,
    sample: int = 0,
) -> Item:
    written = outcome if isinstance(outcome, Generated) else None
    return Item(
        task=asked.name,
        metric=score.metric,
        item=example.id,
        checkpoint=checkpoint,
        sample=sample,
        value=score.value,
        reason=score.reason,
        weight=score.weight,
        cluster=example.group,
        label=example.answer if example.turns else None,
        prediction=score.prediction,
        output=None if written is None else written.text,
        parsed=score.parsed,
        truncated=None if written is None else written.truncated,
        tokens=None if written is None else written.tokens,
        retried=measured.retried,
    )
