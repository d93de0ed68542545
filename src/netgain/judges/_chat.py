"""Asking a chat server: any OpenAI-compatible /v1/chat/completions, one careful request at a time.

    reply = what is on disk for the same content, else the server's answer

A server that fails (5xx, 429), stalls or garbles is asked again with doubling pauses; when it still fails, the reply is
missing for a typed reason. A server that refuses the key, the address or the model is an error: no row would be right.
"""

import hashlib
import http.client
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from netgain.errors import UserError
from netgain.ledger.files import write_json

AGAIN = frozenset({408, 409, 425, 429, *range(500, 600)})
"""Statuses that another attempt may change."""
WRONG = frozenset({401, 403, 404, 405})
"""Statuses that say that the settings are wrong."""
CHUNK = 65_536
LONGEST_PAUSE = 60.0
DEAD = 8
"""So many requests without a reply in a row: nobody is there, and going on would only make missing values."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How patient a client is: seconds a request, attempts, the first pause, requests a minute, requests at once."""

    timeout: float
    attempts: int
    backoff: float
    per_minute: int | None
    workers: int


@dataclass(frozen=True, slots=True)
class Question:
    """What is sent. `repeat` tells apart questions that are asked twice on purpose."""

    messages: tuple[tuple[str, str], ...]
    repeat: int = 0


@dataclass(frozen=True, slots=True)
class Reply:
    """The text that came back, and whether it was cut; or the reason why there is none."""

    text: str | None
    cut: bool = False
    reason: str | None = None


@dataclass(slots=True)
class Spent:
    """What the replies cost: requests sent, replies from disk, second attempts, tokens."""

    requests: int = 0
    cached: int = 0
    retries: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def cost(self, price: tuple[float, float] | None) -> float | None:
        """tokens * price, with prices a million tokens read and written; None without prices."""
        if price is None:
            return None
        return (self.prompt_tokens * price[0] + self.completion_tokens * price[1]) / 1e6


class Failure(Exception):
    """One attempt that gave no reply; `wait` is how long the server asked to be left alone, `final` that no other
    attempt can help."""

    def __init__(self, reason: str, *, wait: float = 0.0, final: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.wait, self.final = reason, wait, final


@dataclass
class Client:
    """A chat server with a cache in front of it. `body` holds the settings that decide a reply (model, temperature)."""

    url: str
    body: dict[str, Any]
    key: str | None
    limits: Limits
    cache: Path
    sleep: Callable[[float], object] = time.sleep
    spent: Spent = field(default_factory=Spent)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._next = 0.0
        self._dead = 0

    def ask_all(self, questions: Sequence[Question]) -> list[Reply]:
        """The reply to each question, in their order; after an error nothing more is sent."""
        pool = ThreadPoolExecutor(self.limits.workers)
        try:
            return list(pool.map(self.ask, questions))
        finally:
            pool.shutdown(cancel_futures=True)

    def ask(self, question: Question) -> Reply:
        """From disk, else from the server; only a reply is kept on disk."""
        body = {**self.body, "messages": [{"role": role, "content": text} for role, text in question.messages]}
        path = self._place(body, question.repeat)
        if path.exists():
            with self._lock:
                self.spent.cached += 1
            return _reply(json.loads(path.read_text(encoding="utf-8"))["response"])
        try:
            tree = self._patiently(json.dumps(body).encode())
        except Failure as failure:
            if not failure.final:
                self._count_dead(failure.reason)
            return Reply(None, reason=failure.reason)
        with self._lock:
            self._dead = 0
            usage = tree.get("usage") or {}
            self.spent.prompt_tokens += int(usage.get("prompt_tokens") or 0)
            self.spent.completion_tokens += int(usage.get("completion_tokens") or 0)
        write_json(path, {"url": self.url, "request": body, "repeat": question.repeat, "response": tree})
        return _reply(tree)

    def _place(self, body: dict[str, Any], repeat: int) -> Path:
        canonical = json.dumps({"url": self.url, "body": body, "repeat": repeat}, sort_keys=True)
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        return self.cache / digest[:2] / f"{digest}.json"

    def _count_dead(self, reason: str) -> None:
        with self._lock:
            self._dead += 1
            if self._dead >= DEAD:
                raise UserError(
                    f"{self.url}: no reply to {self._dead} requests in a row (the last: {reason}); see to the server "
                    "and run again: replies so far are kept."
                )

    def _patiently(self, payload: bytes) -> dict[str, Any]:
        """The server's answer after at most `attempts` tries, with doubling pauses between them."""
        for attempt in range(self.limits.attempts):
            self._take_turn()
            with self._lock:
                self.spent.requests += 1
                self.spent.retries += attempt > 0
            try:
                return self._once(payload)
            except Failure as failure:
                if attempt + 1 == self.limits.attempts or failure.final:
                    raise
                self.sleep(min(max(self.limits.backoff * 2**attempt, failure.wait), LONGEST_PAUSE))
        raise AssertionError("at least one attempt is made")

    def _take_turn(self) -> None:
        """Wait until a request may start: not more than `per_minute` of them, evenly spaced."""
        if self.limits.per_minute is None:
            return
        with self._lock:
            now = time.monotonic()
            start = max(now, self._next)
            self._next = start + 60.0 / self.limits.per_minute
        self.sleep(start - now)

    def _once(self, payload: bytes) -> dict[str, Any]:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self.key is not None:
            headers["Authorization"] = f"Bearer {self.key}"
        request = urllib.request.Request(self.url, data=payload, headers=headers, method="POST")
        deadline = time.monotonic() + self.limits.timeout
        try:
            with urllib.request.urlopen(request, timeout=self.limits.timeout) as response:
                raw = _read_until(response, deadline)
        except urllib.error.HTTPError as error:
            with error:
                raise self._refused(error) from None
        except TimeoutError:
            raise Failure("judge_timeout") from None
        except urllib.error.URLError as error:
            stalled = isinstance(error.reason, TimeoutError)
            raise Failure("judge_timeout" if stalled else "judge_unreachable") from None
        except (OSError, http.client.HTTPException):
            raise Failure("judge_unreachable") from None
        return _understood(raw)

    def _refused(self, error: urllib.error.HTTPError) -> Failure:
        if error.code in WRONG:
            raise UserError(
                f"{self.url}: the server refuses with {error.code} {error.reason}; check the judge's url, its model "
                f'"{self.body.get("model")}" and the key in its key_env.'
            )
        wait = error.headers.get("Retry-After", "")
        seconds = float(wait) if wait.isdecimal() else 0.0
        return Failure(f"judge_http_{error.code}", wait=seconds, final=error.code not in AGAIN)


def _read_until(response: http.client.HTTPResponse, deadline: float) -> bytes:
    """The whole body; a server that sends it drop by drop is as late as one that sends nothing."""
    parts: list[bytes] = []
    while part := response.read1(CHUNK):
        parts.append(part)
        if time.monotonic() > deadline:
            raise TimeoutError
    return b"".join(parts)


def _understood(raw: bytes) -> dict[str, Any]:
    """The JSON of a chat completion; anything else counts as a failed attempt."""
    try:
        tree = json.loads(raw)
        content = tree["choices"][0]["message"]["content"]
    except (UnicodeDecodeError, json.JSONDecodeError, KeyError, IndexError, TypeError):
        raise Failure("judge_garbled") from None
    if not isinstance(content, str):
        raise Failure("judge_garbled")
    return tree


def _reply(tree: dict[str, Any]) -> Reply:
    choice = tree["choices"][0]
    return Reply(choice["message"]["content"], cut=choice.get("finish_reason") == "length")
