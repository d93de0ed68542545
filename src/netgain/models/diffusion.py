"""Masked-diffusion likelihood: how probable an answer is to a model that fills in hidden tokens in any order.

    -log p(x | prompt) <= E_{k ~ U{1..L}} E_{|S| = k} [ L/k sum_{i in S} -log p(x_i | prompt, x outside S) ]  (NELBO)

which is the training loss with its time integrated out. Answers are `length` tokens, padded with the token that ends
them, so that an answer of any length is compared with any other.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from netgain.errors import UserError
from netgain.models.generate import Owners, together
from netgain.models.lm import LM
from netgain.models.score import log_probs

EXACT = 32
"""Up to so many sets of hidden tokens are all tried; beyond, DRAWS sets of every size but the whole answer."""
DRAWS = 3
SEED = 20240607
"""The sets are the same for every model, arm, question and option: differences are not blurred by them."""

Labels = Sequence[list[int]]


@dataclass(frozen=True, slots=True)
class Bound:
    """An upper bound on -log p in nats, and the standard error of its own drawing: 0 where every set was tried."""

    value: float
    error: float


@dataclass(frozen=True)
class Plan:
    """M sets of hidden places: hidden (M, L) bool, size (M,)."""

    hidden: Tensor
    size: Tensor

    @property
    def exact(self) -> bool:
        """Whether it has every set."""
        return len(self.hidden) == 2 ** self.hidden.shape[1] - 1


def plan(length: int, draws: int = DRAWS) -> Plan:
    """Every set of places where there are few, otherwise `draws` of each size and the whole answer once."""
    sets: list[tuple[int, ...]] = []
    rng = np.random.default_rng(SEED)
    for k in range(1, length + 1):
        if 2**length - 1 <= EXACT or k == length:
            sets += combinations(range(length), k)
        else:
            sets += [tuple(rng.permutation(length)[:k]) for _ in range(draws)]
    hidden = torch.zeros(len(sets), length, dtype=torch.bool)
    for m, places in enumerate(sets):
        hidden[m, list(places)] = True
    return Plan(hidden, hidden.sum(1))


def fixed(lm: LM, answer: list[int]) -> list[int]:
    """An answer that ends, padded to the model's length by its last token."""
    spare = lm.denoise.length - len(answer)
    if spare < 0:
        text = lm.tok.decode(answer)
        raise UserError(
            f'{lm.name}: the answer "{text}" takes {len(answer)} tokens and model.denoise.length is '
            f"{lm.denoise.length}; raise it."
        )
    return answer + [answer[-1]] * spare


@torch.no_grad()
def nelbo(
    lm: LM,
    prompts: Sequence[list[int]],
    answers: Sequence[list[int]],
    *,
    batch: int,
    draws: int = DRAWS,
    owners: Owners | None = None,
) -> list[Bound]:
    """The bound of each answer, all of one length, behind its prompt; `batch` rows a pass."""
    sets = plan(len(answers[0]), draws)
    rows, m = len(prompts), len(sets.hidden)
    clean = torch.tensor(answers).repeat_interleave(m, 0)
    hidden = sets.hidden.repeat(rows, 1)
    of = [i for i in range(rows) for _ in range(m)]
    expanded = None if owners is None else owners.take(of)
    scores = _hidden_scores(lm, [prompts[i] for i in of], clean, hidden, batch, expanded)
    length = hidden.shape[1]
    values = (-scores * length / hidden.sum(1)).view(rows, m)
    means, errors = [], []
    for k in range(1, length + 1):
        own = values[:, sets.size == k]
        means.append(own.mean(1))
        spread = own.var(1, correction=1) / own.shape[1] if own.shape[1] > 1 and not sets.exact else 0 * own[:, 0]
        errors.append(spread)
    value = torch.stack(means).mean(0)
    error = torch.stack(errors).sum(0).sqrt() / length
    return [Bound(v, e) for v, e in zip(value.tolist(), error.tolist(), strict=True)]


@torch.no_grad()
def filled(
    lm: LM, prompts: Sequence[list[int]], answers: Sequence[list[int]], batch: int, owners: Owners | None = None
) -> list[float]:
    """For each answer, E_t[right hidden tokens] / E_t[hidden tokens] with t uniform, over the fixed sets of `plan`:

    sum_k mean_{|S| = k} #{i in S: argmax_v p(v at i | prompt, x outside S) = x_i}  /  sum_k k
    """
    whole = [fixed(lm, answer) for answer in answers]
    sets = plan(lm.denoise.length)
    rows, m = len(prompts), len(sets.hidden)
    of = [i for i in range(rows) for _ in range(m)]
    clean, hidden = torch.tensor(whole).repeat_interleave(m, 0), sets.hidden.repeat(rows, 1)
    right = torch.zeros(len(of), dtype=torch.float64)
    expanded = None if owners is None else owners.take(of)
    for start in range(0, len(of), batch):
        chosen = together(list(range(start, min(start + batch, len(of)))), expanded)
        own = None if expanded is None else expanded.take(chosen)
        blank, words = hidden[chosen], clean[chosen]
        states = answer_states(lm, [prompts[of[i]] for i in chosen], words.masked_fill(blank, lm.mask_id), own)
        at = blank.to(states.device)
        hits = lm.head.logits(states[at]).argmax(-1) == words.to(at.device)[at]
        counts = torch.zeros(len(chosen), dtype=torch.float64, device=at.device)
        right[chosen] = counts.index_add_(0, at.nonzero()[:, 0], hits.double()).cpu()
    of_size = [right.view(rows, m)[:, sets.size == k].mean(1) for k in range(1, hidden.shape[1] + 1)]
    return (torch.stack(of_size).sum(0) / sum(range(1, hidden.shape[1] + 1))).tolist()


def label_logprobs(
    lm: LM, prompts: Sequence[list[int]], labels_ids: Sequence[Labels], batch: int, owners: Owners | None = None
) -> list[list[float]]:
    """For each prompt, how probable each of its labels (answers with their end) is.

    Where the options differ at one place only, log p(token at that place | prompt, nothing of the answer): exact, and
    one forward pass a prompt. Otherwise -NELBO of each whole answer.
    """
    options = [[fixed(lm, label) for label in labels] for labels in labels_ids]
    places = [_differing(each) for each in options]
    found: dict[int, list[float]] = {}
    single = [i for i, place in enumerate(places) if len(place) == 1]
    for start in range(0, len(single), batch):
        rows = together(single[start : start + batch], owners)
        own = None if owners is None else owners.take(rows)
        logp = _blank(lm, [prompts[i] for i in rows], [places[i][0] for i in rows], own)
        for i, line in zip(rows, logp, strict=True):
            found[i] = [float(line[option[places[i][0]]]) for option in options[i]]
    rest = [i for i in range(len(prompts)) if i not in found]
    flat = [(i, option) for i in rest for option in options[i]]
    if flat:
        own = None if owners is None else owners.take([i for i, _ in flat])
        bounds = iter(nelbo(lm, [prompts[i] for i, _ in flat], [o for _, o in flat], batch=batch * 8, owners=own))
        found.update({i: [-next(bounds).value for _ in options[i]] for i in rest})
    return [found[i] for i in range(len(prompts))]


def _differing(options: Labels) -> list[int]:
    """The places at which not all options have the same token."""
    return [j for j in range(len(options[0])) if len({option[j] for option in options}) > 1]


def laid_out(lm: LM, prompts: Sequence[list[int]], answers: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Prompts with answers (B, L) behind them: ids, mask, and the flat places of the answers (B, L)."""
    rows, length = answers.shape
    starts = torch.tensor([len(prompt) for prompt in prompts])
    width = int(starts.max()) + length
    if lm.max_positions is not None and width > lm.max_positions:
        raise UserError(
            f"{lm.name}: a prompt of {int(starts.max())} tokens leaves no room for an answer of {length} within its "
            f"{lm.max_positions} positions; shorten it."
        )
    ids = torch.full((rows, width), lm.pad_id, dtype=torch.long)
    for i, prompt in enumerate(prompts):
        ids[i, : len(prompt)] = torch.tensor(prompt)
    places = torch.arange(rows)[:, None] * width + starts[:, None] + torch.arange(length)
    ids.view(-1)[places] = answers
    mask = torch.arange(width) < (starts + length)[:, None]
    return ids.to(lm.device), mask.to(lm.device), places.to(lm.device)


def answer_states(lm: LM, prompts: Sequence[list[int]], answers: Tensor, owners: Owners | None) -> Tensor:
    """(B, L, H): the states that the head reads at the places of the answers, some of whose tokens are masked."""
    ids, mask, places = laid_out(lm, prompts, answers)
    if owners is not None:
        owners.announce()
    return lm.hidden(ids, mask).flatten(0, 1)[places]


def _blank(lm: LM, prompts: Sequence[list[int]], places: Sequence[int], owners: Owners | None) -> Tensor:
    """(B, V) log p of the token at one place of each answer, of which nothing is known."""
    with torch.no_grad():
        answers = torch.full((len(prompts), lm.denoise.length), lm.mask_id)
        states = answer_states(lm, prompts, answers, owners)[torch.arange(len(prompts)), list(places)]
        return lm.head.logits(states).double().log_softmax(-1)


def _hidden_scores(
    lm: LM, prompts: Sequence[list[int]], clean: Tensor, hidden: Tensor, batch: int, owners: Owners | None
) -> Tensor:
    """(B,) double: sum over the hidden places of log p(token | prompt, the places that are not hidden)."""
    sums = torch.zeros(len(prompts), dtype=torch.float64)
    order = sorted(range(len(prompts)), key=lambda i: -len(prompts[i]))
    for start in range(0, len(order), batch):
        rows = together(order[start : start + batch], owners)
        own = None if owners is None else owners.take(rows)
        blank, words = hidden[rows], clean[rows]
        states = answer_states(lm, [prompts[i] for i in rows], words.masked_fill(blank, lm.mask_id), own)
        at = blank.to(states.device)
        chosen = states[at]
        scores = log_probs(lm.head, chosen, torch.arange(len(chosen), device=at.device), words.to(at.device)[at])
        part = torch.zeros(len(rows), dtype=torch.float64, device=at.device)
        sums[rows] = part.index_add_(0, at.nonzero()[:, 0], scores.double()).cpu()
    return sums
