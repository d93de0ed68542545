"""Whether what is asked reaches the model: the same answers behind one another's prompts must not be as likely.

    moved = mean over predicted tokens of 1/2 sum_v |p(v | own prompt) - p(v | another row's prompt)|
Rows that all have one prompt, or a network that cannot see it, give exactly 0, whatever a score says.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from netgain.data.chat import Encoded
from netgain.measure.batches import free_memory, in_batches
from netgain.models.lm import LM

FIRST, ROWS = 2, 8
"""Rows that are tried: so many, and all of these where the first move little."""
CLEAR = 1e-3
"""A mean so far from 0 that more rows would only say it more exactly."""
SEED = 20240617
CHUNK = 64
"""Positions whose probabilities are held at once."""


@torch.no_grad()
def reach(lm: LM, rows: Sequence[Encoded]) -> dict[str, Any]:
    """For the record: how many rows, and prompts, there are, and how far exchanging prompts moves predictions; None
    where no two prompts could be exchanged."""
    prompts = [tuple(row.ids[: row.supervised.index(True)]) for row in rows]
    found: dict[str, Any] = {"rows": len(rows), "prompts": len(set(prompts)), "exchanged": 0, "moved": None}
    pairs = _pairs(lm, rows, prompts)

    def moved(at: int, chosen: list[int]) -> list[tuple[float, int]]:
        some = [pairs[at + k] for k in chosen]
        own, counts = _states(lm, [rows[i] for i, _ in some])
        other, _ = _states(lm, [_behind(rows[i], prompts[j]) for i, j in some])
        gaps = [(_predictions(lm, a) - _predictions(lm, b)).abs().sum(-1) / 2 for a, b in _chunks(own, other)]
        return [(float(each.sum()), len(each)) for each in torch.cat(gaps).split(counts)]

    sums: list[tuple[float, int]] = []
    for at, some in ((0, pairs[:FIRST]), (FIRST, pairs[FIRST:])):
        lengths = [len(rows[i].ids) for i, _ in some]
        told = in_batches(lengths, max(1, len(some)), partial(moved, at), release=free_memory, progress=lambda _: None)
        sums += [each.value for each in told if each.value is not None]
        if sums:
            found |= {"exchanged": len(sums), "moved": _mean(sums)}
        if sums and _mean(sums) > CLEAR:
            break
    return found


def _mean(sums: Sequence[tuple[float, int]]) -> float:
    return sum(total for total, _ in sums) / sum(count for _, count in sums)


def _pairs(lm: LM, rows: Sequence[Encoded], prompts: Sequence[tuple[int, ...]]) -> list[tuple[int, int]]:
    """(row, whose prompt it gets instead): another one of the same length where there is one, so that nothing else
    moves."""
    limit = lm.max_positions or 2**31
    order = sorted((i for i in range(len(rows)) if prompts[i]), key=lambda i: (len(prompts[i]), i))
    pairs: list[tuple[bool, int, int]] = []
    for i, j in zip(order, [*order[1:], *order[:1]], strict=True):
        room = lm.denoise.length if not lm.causal else len(rows[i].ids) - len(prompts[i])
        if prompts[i] != prompts[j] and len(prompts[j]) + room <= limit:
            pairs.append((len(prompts[i]) != len(prompts[j]), i, j))
    return [(i, j) for _, i, j in sorted(pairs)[:ROWS]]


def _behind(row: Encoded, prompt: Sequence[int]) -> Encoded:
    """The row's answer behind another prompt."""
    start = row.supervised.index(True)
    supervised = [*([False] * len(prompt)), *row.supervised[start:]]
    return replace(row, ids=[*prompt, *row.ids[start:]], supervised=supervised)


def _states(lm: LM, rows: Sequence[Encoded]) -> tuple[Tensor, list[int]]:
    """(N, H) states at the scored positions, and how many are each row's; what is hidden depends on the number of rows
    alone."""
    view = lm.family.view(rows, lm.pad_id, torch.Generator().manual_seed(SEED)).to(lm.device)
    return lm.hidden(view)[view.scored], view.scored.sum(1).tolist()


def _chunks(own: Tensor, other: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    return zip(own.split(CHUNK), other.split(CHUNK), strict=True)


def _predictions(lm: LM, states: Tensor) -> Tensor:
    """(n, V) probabilities."""
    return lm.head.logits(states).double().softmax(-1)
