"""Writing answers: many prompts at once, greedy or sampled, with what each prompt gets alone.

Prompts of like length share a batch, padded on the left. The head reads the last position only. Rows that have ended
leave the batch. Every sample of a prompt starts from one reading of the prompt.

Sampling inverts the cumulative distribution at a uniform number u[prompt, sample, token]. A sample has its own stream
of such numbers, keyed by the generator, the prompt and the sample, so that the size of a batch, its order and its other
rows never change what is drawn.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache

from netgain.errors import UserError
from netgain.models.lm import LM

COMPACT = 8
"""Rows leave the batch when a COMPACT-th of it has ended: dropping them copies the cache once."""


@dataclass(frozen=True, slots=True)
class Generation:
    """What was written behind a prompt, without the token that ended it; `truncated` says that none did.

    `tokens` counts the steps taken, the ending token included.
    """

    ids: list[int]
    text: str
    truncated: bool
    tokens: int


@dataclass(frozen=True)
class Owners:
    """Whose each row is, where the adapters of several arms share one network: `assign` tells it before each pass."""

    of: Tensor  # (rows,) long
    assign: Callable[[Tensor], object]

    def take(self, rows: Sequence[int] | Tensor) -> "Owners":
        """The owners of some of the rows, in that order."""
        return Owners(self.of[torch.as_tensor(rows, dtype=torch.long, device=self.of.device)], self.assign)

    def announce(self) -> None:
        """The next forward pass holds these rows."""
        self.assign(self.of)


def together(rows: list[int], owners: Owners | None) -> list[int]:
    """The same rows, those of one owner beside one another."""
    return rows if owners is None else sorted(rows, key=lambda i: int(owners.of[i]))


@dataclass(frozen=True, slots=True)
class Sampling:
    """p = softmax(z / temperature), cut to the `top_k` likeliest tokens, then to the fewest that hold mass `top_p`."""

    temperature: float = 0.0
    top_k: int | None = None
    top_p: float | None = None

    def choose(self, logits: Tensor, uniform: Tensor | None) -> Tensor:
        """(B, V) logits and (B,) uniform numbers -> (B,) tokens; temperature 0 takes the likeliest."""
        if uniform is None:
            return logits.argmax(-1)
        scores, tokens = logits, None
        if self.top_k is not None and self.top_k < scores.shape[-1]:
            scores, tokens = scores.topk(self.top_k, dim=-1)
        elif self.top_p is not None:
            scores, tokens = scores.sort(dim=-1, descending=True)
        mass = torch.softmax(scores.float() / self.temperature, -1).double().cumsum(-1)
        total = mass[:, -1:]
        if self.top_p is not None:
            enough = (mass < self.top_p * total).sum(-1, keepdim=True).clamp(max=mass.shape[-1] - 1)
            total = mass.gather(-1, enough)
        place = torch.searchsorted(mass, uniform[:, None] * total, right=True).clamp(max=mass.shape[-1] - 1)
        return (place if tokens is None else tokens.gather(-1, place))[:, 0]


@dataclass(slots=True)
class _Row:
    """One answer in the making: how many tokens it may take, the numbers it draws with, what it has so far."""

    budget: int
    uniform: np.ndarray | None
    ids: list[int] = field(default_factory=list)
    ended: bool = False
    said: bool = False

    @property
    def finished(self) -> bool:
        return self.ended or self.said or len(self.ids) == self.budget

    def take(self, token: int, stop: "_Stop") -> None:
        self.ids.append(token)
        self.ended = token in stop.ids
        self.said = not self.ended and stop.said(self.ids)

    def number(self, step: int) -> float | None:
        """The number of a step; a finished row, which waits for its batch to shrink, draws nothing that counts."""
        if self.uniform is None:
            return None
        return float(self.uniform[step]) if step < self.budget else 0.0


class _Stop:
    """What ends an answer: one of these ids, or one of these words in its text."""

    def __init__(self, lm: LM, ids: Sequence[int], words: Sequence[str]) -> None:
        self.ids, self._lm, self._words = frozenset(ids), lm, tuple(filter(None, words))
        self._reach = max((len(word.encode()) for word in self._words), default=0) + 4
        """A token has at least one byte; the others are for what a tokenizer does at the beginning of a text."""

    def said(self, ids: list[int]) -> bool:
        """Whether the last token completes one of the words."""
        if not self._words:
            return False
        text = self._lm.tok.decode(ids[-self._reach :], skip_special_tokens=True)
        assert isinstance(text, str)
        return any(word in text for word in self._words)


@torch.no_grad()
def generate(
    lm: LM,
    prompts: Sequence[list[int]],
    *,
    max_new_tokens: int,
    stop_ids: Sequence[int] = (),
    until: Sequence[str] = (),
    temperature: float = 0.0,
    top_k: int | None = None,
    top_p: float | None = None,
    samples: int = 1,
    generator: torch.Generator | None = None,
    streams: Sequence[int] | None = None,
    batch: int = 32,
    owners: Owners | None = None,
) -> list[Generation]:
    """`samples` answers for each prompt, prompt by prompt; `batch` rows at a time (at least one prompt's samples).

    An answer ends with one of `stop_ids` (with one of the model's own end tokens if none is given), or as soon as its
    text has one of the words `until`, which stay in it, or is truncated at `max_new_tokens` or at the model's last
    position. `streams` numbers the prompts' random streams (default: their places), for a caller who splits its prompts
    over several calls with generators of the same state. `owners` says whose each prompt is, where arms share the
    network.
    """
    if temperature > 0 and generator is None:
        raise ValueError("sampling needs a generator")
    if not prompts:
        return []
    key = int(torch.randint(2**62, (1,), generator=generator)) if temperature > 0 else None
    rows = _rows(lm, prompts, max_new_tokens, samples, streams or range(len(prompts)), key)
    stop = _Stop(lm, stop_ids or lm.eos_ids, until)
    sampling = Sampling(temperature, top_k, top_p)
    order = sorted(range(len(prompts)), key=lambda i: -len(prompts[i]))
    width = max(1, batch // samples)
    for start in range(0, len(order), width):
        chosen = together(order[start : start + width], owners)
        live = [row for i in chosen for row in rows[i * samples : (i + 1) * samples]]
        own = None if owners is None else owners.take(chosen)
        _write(lm, [prompts[i] for i in chosen], live, samples, sampling, stop, own)
    return [_finished(lm, row) for row in rows]


def _rows(
    lm: LM, prompts: Sequence[list[int]], limit: int, samples: int, streams: Sequence[int], key: int | None
) -> list[_Row]:
    rows: list[_Row] = []
    for i, prompt in enumerate(prompts):
        budget = limit if lm.max_positions is None else min(limit, lm.max_positions - len(prompt))
        if budget < 1 or not prompt:
            raise UserError(
                f"{lm.name}: prompt {i} has {len(prompt)} tokens, which leaves no position of its "
                f"{lm.max_positions} to answer in; shorten it."
            )
        for s in range(samples):
            uniform = np.random.default_rng([key, streams[i], s]).random(budget) if key is not None else None
            rows.append(_Row(budget, uniform))
    return rows


def _finished(lm: LM, row: _Row) -> Generation:
    ids = row.ids[:-1] if row.ended else row.ids
    text = lm.tok.decode(ids, skip_special_tokens=True)
    assert isinstance(text, str)
    return Generation(ids, text, truncated=not (row.ended or row.said), tokens=len(row.ids))


def _write(
    lm: LM,
    prompts: list[list[int]],
    rows: list[_Row],
    samples: int,
    sampling: Sampling,
    stop: _Stop,
    owners: Owners | None,
) -> None:
    """Fill rows (samples of each prompt, side by side) until all are finished."""
    cache, mask, last = prefill(lm, prompts, owners)
    if samples > 1:
        cache.batch_repeat_interleave(samples)
        mask, last = mask.repeat_interleave(samples, 0), last.repeat_interleave(samples, 0)
        owners = owners and Owners(owners.of.repeat_interleave(samples), owners.assign)
    positions = mask.sum(1)
    for step in itertools.count():
        tokens = lm.holders.agreed(sampling.choose(lm.head.logits(last), _uniform(rows, step, lm.device)))
        for row, token in zip(rows, tokens.tolist(), strict=True):
            if not row.finished:
                row.take(token, stop)
        open_rows = [k for k, row in enumerate(rows) if not row.finished]
        if not open_rows:
            return
        if len(rows) - len(open_rows) >= max(1, len(rows) // COMPACT):
            keep = torch.tensor(open_rows, device=lm.device)
            cache.batch_select_indices(keep)
            mask, positions, tokens = mask[keep], positions[keep], tokens[keep]
            rows = [rows[k] for k in open_rows]
            owners = owners and owners.take(keep)
        if owners is not None:
            owners.announce()
        mask = torch.cat([mask, mask.new_ones(len(rows), 1)], dim=1)
        place = positions if lm.max_positions is None else positions.clamp(max=lm.max_positions - 1)
        last = lm.extend(tokens[:, None], cache, mask, place[:, None])[:, -1]
        positions = positions + 1


def prefill(lm: LM, prompts: Sequence[list[int]], owners: Owners | None = None) -> tuple[DynamicCache, Tensor, Tensor]:
    """Read B prompts, padded on the left: (their cache, mask (B, S), the state (B, H) behind each prompt)."""
    if owners is not None:
        owners.announce()
    length = max(len(prompt) for prompt in prompts)
    ids = torch.full((len(prompts), length), lm.pad_id, dtype=torch.long)
    mask = torch.zeros(len(prompts), length, dtype=torch.long)
    for i, prompt in enumerate(prompts):
        ids[i, length - len(prompt) :] = torch.tensor(prompt)
        mask[i, length - len(prompt) :] = 1
    ids, mask = ids.to(lm.device), mask.to(lm.device)
    cache = DynamicCache(config=lm.net.config)
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    return cache, mask, lm.extend(ids, cache, mask, positions)[:, -1]


def _uniform(rows: Sequence[_Row], step: int, device: torch.device) -> Tensor | None:
    """(B,) the numbers that each row draws with at this step; None when the likeliest token is taken."""
    numbers = [row.number(step) for row in rows]
    drawn = [number for number in numbers if number is not None]
    return torch.tensor(drawn, dtype=torch.float64, device=device) if drawn else None
