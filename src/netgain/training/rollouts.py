"""Sampled answers inside an optimiser step: drawn from the arm as it is, judged, and differentiated at their tokens.

What is drawn is a function of (seed, step) and of the arm's tensors: which rows of the step are asked, and the random
numbers of each answer. So a resumed training draws what it would have drawn, two weights of the same term draw with the
same numbers, and a probe sees the very answers of the step that follows it. Dropout sleeps: the policy that is
differentiated is the one that wrote.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from netgain.data.view import View
from netgain.measure.batches import free_memory, in_batches
from netgain.models.generate import Generation, generate
from netgain.models.lm import LM, Head
from netgain.objectives.linear import chunked_terms
from netgain.objectives.objective import Active
from netgain.objectives.rollout import Floats, length_neutral, toward
from netgain.objectives.sampling import Rollout
from netgain.spec.identity import stream, torch_stream
from netgain.spec.run import FromSource, Tokens

if TYPE_CHECKING:
    from netgain.training.loop import Training


@dataclass(frozen=True)
class Written:
    """R answers behind their prompts, padded on the right: which states predict which of their tokens.

    `ended` marks the tokens that ended an answer: any of the model's end tokens would have.
    """

    ids: Tensor  # (R, T) long
    mask: Tensor  # (R, T) bool
    scored: Tensor  # (R, T) bool
    targets: Tensor  # (N,) long
    ended: Tensor  # (N,) bool
    lengths: tuple[int, ...]

    def part(self, rows: slice) -> "Written":
        """Some of the rows, in their place."""
        lengths = self.lengths[rows]
        start = sum(self.lengths[: rows.start])
        own = slice(start, start + sum(lengths))
        return Written(self.ids[rows], self.mask[rows], self.scored[rows], self.targets[own], self.ended[own], lengths)


@dataclass(frozen=True)
class Rolled:
    """One sampling of one term: `credit` (R,) is what each answer's log-probability is multiplied with."""

    written: Written
    credit: Floats
    score: float
    samples: int
    tokens: int
    seconds: float

    @property
    def moves(self) -> bool:
        """Whether any answer is credited with anything."""
        return bool(np.any(self.credit))


def due(training: "Training", progress: Sequence[float], view: View) -> list[Active[Rollout]]:
    """The sampled terms of this step; one that asks the rows of a source waits for a step that has some."""
    found = training.objective.rolled(progress, training.step)
    return [each for each in found if _askable(training, each.part.tokens, view)]


def _askable(training: "Training", tokens: Tokens, view: View) -> list[int]:
    """The rows of the step that may be asked: all, or those of one source."""
    rows = range(len(view.input_ids))
    if not isinstance(tokens, FromSource):
        return list(rows)
    return [row for row in rows if training.sources[int(view.origin[row])] == tokens.source]


def roll(training: "Training", each: Active[Rollout], view: View) -> Rolled:
    """The answers of this step to this term, drawn once however often they are asked for."""
    key = (training.step, each.part.name)
    if key not in training.rolled:
        training.rolled = {place: found for place, found in training.rolled.items() if place[0] == training.step}
        among = _askable(training, each.part.tokens, view)
        training.rolled[key] = _rolled(training, each.part.term, view, among)
    return training.rolled[key]


def _rolled(training: "Training", term: Rollout, view: View, among: Sequence[int]) -> Rolled:
    start = time.perf_counter()
    lm, step = training.student.lm, training.step
    chosen = asked(view, term.prompts, training.seed, step, among)
    prompts = [prompt(view, row) for row in chosen]
    found = _drawn(training, term, prompts)
    written = rows([each for each in prompts for _ in range(term.samples)], found, lm)
    origins = [int(view.origin[row]) for row in chosen]
    credit, score = _credit(training, term, origins, [each.text for each in found], written)
    return Rolled(written, credit / len(chosen), score, len(found), sum(written.lengths), time.perf_counter() - start)


def _drawn(training: "Training", term: Rollout, prompts: Sequence[list[int]]) -> list[Generation]:
    """The answers to the prompts, in their order; fewer prompts at a time, and the same answers, where memory is short.

    The answers to one prompt are drawn together.
    """
    lm = training.student.lm

    def write(chosen: list[int]) -> list[list[Generation]]:
        found = generate(
            lm,
            [prompts[i] for i in chosen],
            max_new_tokens=term.max_new_tokens,
            stop_ids=lm.eos_ids,
            temperature=term.temperature,
            samples=term.samples,
            generator=torch_stream(training.seed, f"sampling/{training.step}"),
            streams=chosen,
            batch=len(chosen) * term.samples,
        )
        return [found[k : k + term.samples] for k in range(0, len(found), term.samples)]

    lengths = [len(each) for each in prompts]
    drawn = in_batches(lengths, len(prompts), write, release=free_memory, progress=lambda done: None)
    own = [write([i])[0] if each.value is None else each.value for i, each in enumerate(drawn)]  # or it is raised
    return [each for answers in own for each in answers]


def asked(view: View, prompts: int, seed: int, step: int, among: Sequence[int] | None = None) -> list[int]:
    """Which rows of the step's View (of those that may be) are asked: as many as there are, at most `prompts`."""
    drawn = stream(seed, f"asked/{step}").permutation(len(view.input_ids))
    return sorted([int(i) for i in drawn if among is None or i in among][:prompts])


def prompt(view: View, row: int) -> list[int]:
    """The ids before the row's first supervised token."""
    first = int(view.scored[row].nonzero()[0, 0])
    return view.input_ids[row, : first + 1].tolist()


def rows(prompts: Sequence[list[int]], found: Sequence[Generation], lm: LM) -> Written:
    """The answers as rows to be read again; an answer that ended has its end, whichever it was."""
    answers = [each.ids if each.truncated else [*each.ids, lm.eos_ids[0]] for each in found]
    length = max(len(before) + len(own) for before, own in zip(prompts, answers, strict=True))
    ids = torch.full((len(answers), length), lm.pad_id, dtype=torch.long)
    mask, scored = torch.zeros_like(ids, dtype=torch.bool), torch.zeros_like(ids, dtype=torch.bool)
    ended: list[bool] = []
    for i, (before, own, each) in enumerate(zip(prompts, answers, found, strict=True)):
        end = len(before) + len(own)
        ids[i, :end] = torch.tensor([*before, *own])
        mask[i, :end] = True
        scored[i, len(before) - 1 : end - 1] = True
        ended += [False] * (len(own) - 1) + [not each.truncated]
    targets = ids[:, 1:][scored[:, :-1]]
    device = lm.device
    tensors = (ids, mask, scored, targets, torch.tensor(ended))
    return Written(*(tensor.to(device) for tensor in tensors), lengths=tuple(len(own) for own in answers))


def _credit(
    training: "Training", term: Rollout, origins: Sequence[int], texts: Sequence[str], written: Written
) -> tuple[Floats, float]:
    """(R,) credit of each answer, and the mean over prompts of what is raised."""
    if training.judge is None:
        raise ValueError("a term of sampled answers needs a judge")
    gap, likelihood = _against_base(training, term, written)
    credit, score = np.zeros(len(texts)), 0.0
    for p, origin in enumerate(origins):
        own = slice(p * term.samples, (p + 1) * term.samples)
        answers = training.judge(term, origin, texts[own])
        if term.quality == "likelihood":
            answers = replace(answers, quality=likelihood[own])
        found = term.credited(answers)
        credit[own] = found.advantages
        score += found.score / len(origins)
        if term.toward_base:
            credit[own] += term.toward_base * toward(gap[own], np.zeros(term.samples))
            score -= term.toward_base * float(gap[own].mean()) / len(origins)
        if term.length_neutral:
            credit[own] = length_neutral(credit[own], written.lengths[own])
    # A judge may answer every process otherwise, and all must learn the same.
    return training.student.lm.holders.agreed(torch.from_numpy(credit)).numpy(), score


def _against_base(training: "Training", term: Rollout, written: Written) -> tuple[Floats, Floats]:
    """(log pi(y) - log base(y), exp of the mean log base(token)) of each answer, where either is needed."""
    if not term.toward_base and term.quality != "likelihood":
        return np.zeros(0), np.zeros(0)
    with training.student.off():
        base = logprobs(training, written, term.temperature)
        plain = base if term.temperature == 1 else logprobs(training, written, 1.0)
    own = logprobs(training, written, term.temperature) if term.toward_base else base
    return own - base, np.exp(plain / np.array(written.lengths))


@torch.no_grad()
def logprobs(training: "Training", written: Written, temperature: float) -> Floats:
    """(R,) log-probability of each answer under the model as it is."""
    found: list[float] = []
    for part in _parts(training, written):
        weights = torch.zeros(len(part.lengths), len(part.targets), device=part.ids.device)
        start = 0
        for i, length in enumerate(part.lengths):
            weights[i, start : start + length] = 1.0
            start += length
        found += _sums(training, part, weights, temperature)[1].flatten().tolist()
    return np.array(found)


def backward(training: "Training", rolled: Rolled, weight: float, temperature: float) -> None:
    """Add weight * d(-sum_i credit_i log pi(y_i)) to the gradients, as many rows at a time as in the step itself."""
    start = 0
    for part in _parts(training, rolled.written):
        credit = rolled.credit[start : start + len(part.lengths)]
        each = torch.from_numpy(-weight * np.repeat(credit, part.lengths))
        loss, _ = _sums(training, part, each[None], temperature)
        training.accelerator.backward(loss.sum())
        start += len(part.lengths)


def _parts(training: "Training", written: Written) -> list[Written]:
    size = training.runtime.micro_batch or len(written.ids)
    return [written.part(slice(start, start + size)) for start in range(0, len(written.ids), size)]


def _sums(training: "Training", part: Written, weights: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """weights (S, N) -> (sum over S and N, (S, 1)) of weight * log p(token), the first differentiable."""
    lm = training.student.lm
    stop = torch.tensor(lm.eos_ids, device=part.ids.device)
    recomputed = training.runtime.gradient_checkpointing and torch.is_grad_enabled()
    with lm.checkpointing(recomputed), training.accelerator.autocast():
        states = lm.hidden(part.ids, part.mask)[part.scored][None]
    wide = states.to(torch.promote_types(states.dtype, torch.float32))
    counts = weights.to(wide)

    def measure(hidden: Tensor, head: Head, tokens: slice) -> Tensor:
        z = head.logits(hidden)
        logp = (z.to(wide.dtype) / temperature).log_softmax(-1)
        one = logp.gather(-1, part.targets[tokens][None, :, None]).squeeze(-1)
        values = torch.where(part.ended[tokens], logp[..., stop].logsumexp(-1), one)
        return counts[:, tokens] @ values.T

    ones = torch.ones(len(counts), 1, dtype=wide.dtype, device=wide.device)
    loss, sums = chunked_terms(wide, lm.head, measure, ones, training.runtime.chunk)
    return loss, sums
