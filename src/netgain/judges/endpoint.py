"""A language model as a judge, behind any OpenAI-compatible endpoint: a grade from 1 to 10, or which of two is better.

What it says is kept on disk by content, so that judging twice costs once. A reply without a grade in the agreed form is
missing for a typed reason: it is neither the lowest grade nor a middling one.
"""

import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from pydantic import Field, PositiveInt

from netgain.data.files import locate
from netgain.errors import UserError
from netgain.judges._base import Bench, Case, Judge, Rating
from netgain.judges._chat import Client, Limits, Question, Reply, Spent
from netgain.judges._prompts import Words, rating, verdict, words
from netgain.ledger.files import write_json


@dataclass(frozen=True, slots=True)
class Preference:
    """Which of two answers is better, asked twice: with A first, and with B first. None where there was no verdict."""

    a_first: str | None
    b_first: str | None
    reason: str | None = None

    @property
    def value(self) -> float | None:
        """1 when A won both times, 0 when B did, 1/2 for a tie or a verdict that followed the position."""
        if self.a_first is None or self.b_first is None:
            return None
        return {("A", "A"): 1.0, ("B", "B"): 0.0}.get((self.a_first, self.b_first), 0.5)


class Endpoint(Judge):
    """A chat model that grades.

    url          what stands before /chat/completions, as https://api.openai.com/v1 or http://localhost:8080/v1
    key_env      the environment variable that holds the key; without it none is sent
    prompts      a file of prompts in the format of FastChat's judge_prompts.jsonl
    referenced   categories whose right answers the judge is shown, where there are some
    ratings      how often it grades each answer; more than once needs a temperature above 0
    price        [read, written]: money a million tokens, for counting costs
    per_minute, workers, timeout (seconds a request), attempts and backoff (the first pause) are its patience
    """

    kind: Literal["endpoint"] = "endpoint"
    url: str
    model: str
    key_env: str | None = None
    prompts: str | None = None
    referenced: tuple[str, ...] = ("math", "coding", "reasoning")
    ratings: PositiveInt = 1
    temperature: float = Field(default=0.0, ge=0)
    max_tokens: PositiveInt = 1024
    price: tuple[float, float] | None = None
    per_minute: PositiveInt | None = None
    workers: PositiveInt = 4
    timeout: float = Field(default=120.0, gt=0)
    attempts: PositiveInt = 5
    backoff: float = Field(default=1.0, ge=0)

    @property
    def repeats(self) -> int:
        return self.ratings

    def ready(self, folder: Path | None) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise UserError(f'judge endpoint: the url "{self.url}" begins with neither http:// nor https://.')
        if self.ratings > 1 and self.temperature == 0:
            raise UserError("judge endpoint: several ratings at temperature 0 are one rating; raise its temperature.")
        self._key()
        self._words(folder)

    def rate(self, cases: Sequence[Case], bench: Bench) -> list[list[Rating]]:
        asking = self._words(bench.folder)
        shown = [self._shown(case) for case in cases]
        questions = [Question(asking.single(case), repeat) for case in shown for repeat in range(self.ratings)]
        replies = iter(self._asked(questions, bench))
        return [[_graded(next(replies)) for _ in range(self.ratings)] for _ in cases]

    def prefer(self, pairs: Sequence[tuple[Case, Case]], bench: Bench) -> list[Preference]:
        """For each (A, B) two verdicts, one for each order; `stats.judge.swap_consistency` says what they are worth."""
        asking = self._words(bench.folder)
        shown = [(self._shown(a), self._shown(b)) for a, b in pairs]
        questions = [Question(asking.pair(*order)) for a, b in shown for order in ((a, b), (b, a))]
        replies = iter(self._asked(questions, bench))
        return [_preferred(next(replies), next(replies)) for _ in pairs]

    def client(self, cache: Path) -> Client:
        """The server with its cache in front."""
        body = {"model": self.model, "temperature": self.temperature, "max_tokens": self.max_tokens}
        limits = Limits(self.timeout, self.attempts, self.backoff, self.per_minute, self.workers)
        return Client(f"{self.url.rstrip('/')}/chat/completions", body, self._key(), limits, cache / "endpoint")

    def _shown(self, case: Case) -> Case:
        """The case with its right answers only where they settle the question."""
        return case if case.category in self.referenced else replace(case, references=())

    def _asked(self, questions: Sequence[Question], bench: Bench) -> list[Reply]:
        client = self.client(bench.cache)
        try:
            return client.ask_all(questions)
        finally:
            self._note(client.spent, bench.cache)

    def _note(self, spent: Spent, cache: Path) -> None:
        """What these replies cost, beside all that were paid for before."""
        if not spent.requests:
            return
        path = cache / "spent" / f"{time.time_ns()}-{os.getpid()}.json"
        write_json(path, {"url": self.url, "model": self.model, **asdict(spent), "cost": spent.cost(self.price)})

    def _key(self) -> str | None:
        if self.key_env is None:
            return None
        key = os.environ.get(self.key_env)
        if not key:
            raise UserError(f"judge endpoint: the environment variable {self.key_env} holds no key; set it.")
        return key

    def _words(self, folder: Path | None) -> Words:
        return words(None if self.prompts is None else locate(self.prompts, folder))


def _graded(reply: Reply) -> Rating:
    if reply.text is None:
        return Rating(None, reply.reason)
    value = rating(reply.text)
    if value is None:
        return Rating(None, "judge_cut" if reply.cut else "judge_unreadable")
    return Rating(value)


def _preferred(a_first: Reply, b_first: Reply) -> Preference:
    """Verdicts name who stood first as A; the second question had B there."""
    turned = {"A": "B", "B": "A", "tie": "tie"}
    found = [None if reply.text is None else verdict(reply.text) for reply in (a_first, b_first)]
    silent = next((reply for reply, each in zip((a_first, b_first), found, strict=True) if each is None), None)
    reason = None if silent is None else silent.reason or ("judge_cut" if silent.cut else "judge_unreadable")
    return Preference(found[0], None if found[1] is None else turned[found[1]], reason)
