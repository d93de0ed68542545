"""Writing with a masked-diffusion model: from an answer of masks to tokens, some each round; none is taken back.

confidence   the hidden places at which the model is surest are revealed first, as many each round (MaskGIT)
absorbing    the posterior of the masking process: from time j/S to (j-1)/S each hidden place is revealed with
             probability (alpha_s - alpha_t) / (1 - alpha_t), and keeps its token (MDLM)
With `block`, blocks of so many tokens are written from left to right, each behind the finished ones (LLaDA).
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from netgain.models.diffusion import answer_states
from netgain.models.generate import Generation, Owners, Sampling, together
from netgain.models.lm import LM
from netgain.spec.denoise import Denoise


@torch.no_grad()
def write(
    lm: LM,
    prompts: Sequence[list[int]],
    *,
    stop_ids: Sequence[int],
    temperature: float = 0.0,
    top_p: float | None = None,
    samples: int = 1,
    generator: torch.Generator | None = None,
    streams: Sequence[int] | None = None,
    batch: int = 32,
    owners: Owners | None = None,
) -> list[Generation]:
    """`samples` answers for each prompt, prompt by prompt; each has its own stream of random numbers, so that batches
    change nothing. At temperature 0 the likeliest token is taken, whichever place is revealed."""
    sampling = Sampling(temperature, None, top_p)
    key = int(torch.randint(2**62, (1,), generator=generator)) if generator is not None else 0
    numbered = streams or range(len(prompts))
    flat = [(i, s) for i in range(len(prompts)) for s in range(samples)]
    of = None if owners is None else owners.take([i for i, _ in flat])
    order = sorted(range(len(flat)), key=lambda k: -len(prompts[flat[k][0]]))
    found: dict[int, Generation] = {}
    for start in range(0, len(order), max(1, batch)):
        rows = together(order[start : start + max(1, batch)], of)
        numbers = [np.random.default_rng([key, numbered[flat[k][0]], flat[k][1]]) for k in rows]
        own = None if of is None else of.take(rows)
        answers = unmask(lm, [prompts[flat[k][0]] for k in rows], sampling, numbers, own)
        found.update({k: _finished(lm, ids, stop_ids) for k, ids in zip(rows, answers.tolist(), strict=True)})
    return [found[k] for k in range(len(flat))]


def unmask(
    lm: LM,
    prompts: Sequence[list[int]],
    sampling: Sampling,
    numbers: Sequence[np.random.Generator],
    owners: Owners | None = None,
    watch: Callable[[Tensor], object] | None = None,
) -> Tensor:
    """(B, L) answers, written by the model's own sampler; `watch` sees them after every round."""
    like = lm.denoise
    answers = torch.full((len(prompts), like.length), lm.mask_id)
    for first, last, steps in _blocks(like):
        for j in range(steps, 0, -1):
            hidden = answers == lm.mask_id
            hidden[:, last:] = False
            if not hidden.any():
                break
            tokens, sure = _proposals(lm, prompts, answers, sampling, numbers, owners)
            now = _revealed(like, hidden, sure, j, steps, last - first, numbers)
            answers = lm.holders.agreed(torch.where(now, tokens, answers))
            if watch is not None:
                watch(answers)
    return answers


@torch.no_grad()
def rounds(lm: LM, prompts: Sequence[list[int]]) -> list[list[list[int]]]:
    """The likeliest answer to each prompt as it stands after each round of writing it, first as nothing but masks."""
    seen = [[[lm.mask_id] * lm.denoise.length] for _ in prompts]

    def watch(answers: Tensor) -> None:
        for own, now in zip(seen, answers.tolist(), strict=True):
            own.append(now)

    unmask(lm, prompts, Sampling(0.0, None, None), [np.random.default_rng(0) for _ in prompts], watch=watch)
    return seen


def _blocks(like: Denoise) -> list[tuple[int, int, int]]:
    """(first place, place behind the last, rounds) of each block; the rounds are shared out by length."""
    width = like.block or like.length
    steps = like.steps or like.length
    ends = [(first, min(first + width, like.length)) for first in range(0, like.length, width)]
    return [(first, last, max(1, round(steps * (last - first) / like.length))) for first, last in ends]


def _proposals(
    lm: LM,
    prompts: Sequence[list[int]],
    answers: Tensor,
    sampling: Sampling,
    numbers: Sequence[np.random.Generator],
    owners: Owners | None,
) -> tuple[Tensor, Tensor]:
    """A token for every place (B, L), and how sure the model is of its likeliest one there; a mask is no token."""
    rows, length = answers.shape
    states = answer_states(lm, prompts, answers, owners)
    logits = lm.head.logits(states.flatten(0, 1)).float()
    logits[:, lm.mask_id] = -torch.inf
    uniform = None
    if sampling.temperature > 0:
        drawn = np.stack([each.random(length) for each in numbers]).reshape(-1)
        uniform = torch.tensor(drawn, device=logits.device)
    tokens = sampling.choose(logits, uniform).view(rows, length).cpu()
    sure = (logits.amax(-1) - logits.logsumexp(-1)).view(rows, length).cpu()
    return tokens, sure


def _revealed(
    like: Denoise,
    hidden: Tensor,
    sure: Tensor,
    j: int,
    steps: int,
    width: int,
    numbers: Sequence[np.random.Generator],
) -> Tensor:
    """Which hidden places (B, L) are revealed in the round from time j/S to (j-1)/S; in the last one all are."""
    if like.sampler == "absorbing":
        share = 1.0 if j == 1 else 1 - _masked(like, (j - 1) / steps) / _masked(like, j / steps)
        drawn = torch.tensor(np.stack([each.random(hidden.shape[1]) for each in numbers]))
        return hidden & (drawn < share)
    left = math.floor(width * (j - 1) / steps)  # how many may stay hidden
    order = sure.masked_fill(~hidden, -torch.inf).argsort(dim=1, descending=True, stable=True)
    rank = order.argsort(dim=1)
    return hidden & (rank < hidden.sum(1, keepdim=True) - left)


def _masked(like: Denoise, time: float) -> float:
    """m(t) = 1 - alpha(t)."""
    return time if like.schedule == "linear" else 1 - math.cos(math.pi * time / 2)


def _finished(lm: LM, ids: list[int], stop_ids: Sequence[int]) -> Generation:
    stop = frozenset(stop_ids or lm.eos_ids)
    end = next((k for k, token in enumerate(ids) if token in stop), None)
    own = ids if end is None else ids[:end]
    text = lm.tok.decode(own, skip_special_tokens=True)
    assert isinstance(text, str)
    return Generation(own, text, truncated=end is None, tokens=len(ids) if end is None else end + 1)
