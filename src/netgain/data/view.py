"""What is fed and what is scored: a View, built once per optimiser step and then cut into micro-batches.

Student, teacher, reference and every arm of a sweep read the same View, so they see the same tokens. How rows become
a View is all that tells autoregressive from masked-diffusion training.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from netgain.data.chat import Encoded
from netgain.errors import UserError


@dataclass(frozen=True)
class View:
    """B rows of T tokens, and N scored positions in row-major order: `scored.sum() == N`.

    The hidden state at a scored position predicts its target: the next token in an autoregressive View, the hidden
    token at that very position in a masked one.
    A loss over the step is sum_n weight_n * term_n / D with D = `count` of the whole step; the counts of its
    micro-batches add up to D.
    """

    input_ids: Tensor  # (B, T) long, padded on the right
    attention_mask: Tensor  # (B, T) bool
    scored: Tensor  # (B, T) bool
    targets: Tensor  # (N,) long
    weight: Tensor  # (N,) float32
    row: Tensor  # (N,) long, the row of this View that a scored position lies in
    counts: Tensor  # (B,) float32, each row's share of D
    content: Tensor  # (N,) bool, the target is the answer's own text: no template token, none that ends the answer
    origin: Tensor  # (B,) long, where each row stands in the training rows; -1 for a row that is none of them
    causal: bool
    time: Tensor | None = None  # (B,) float32, how much of each row's answer was to be masked; None where nothing is

    @property
    def count(self) -> float:
        """This View's share of D."""
        return float(self.counts.sum())

    def rows(self, index: Tensor | Sequence[int]) -> "View":
        """The View of some rows, in that order, cut to its longest row; an index may repeat (one copy per arm)."""
        pick = torch.as_tensor(index, dtype=torch.long, device=self.input_ids.device)
        length = int(self.attention_mask[pick].sum(1).max())
        place = torch.zeros(self.scored.shape, dtype=torch.long, device=self.input_ids.device)
        place[self.scored] = torch.arange(len(self.targets), device=self.input_ids.device)
        scored = self.scored[pick]
        chosen = place[pick][scored]
        return View(
            input_ids=self.input_ids[pick, :length],
            attention_mask=self.attention_mask[pick, :length],
            scored=scored[:, :length],
            targets=self.targets[chosen],
            weight=self.weight[chosen],
            row=scored.nonzero()[:, 0],
            counts=self.counts[pick],
            content=self.content[chosen],
            origin=self.origin[pick],
            causal=self.causal,
            time=None if self.time is None else self.time[pick],
        )

    def split(self, size: int) -> list["View"]:
        """Micro-batches of `size` rows (the last may be smaller): every scored token lies in exactly one."""
        total = self.input_ids.shape[0]
        return [self.rows(range(start, min(start + size, total))) for start in range(0, total, size)]

    def to(self, device: torch.device | str) -> "View":
        """The same View on another device."""
        moved = {name: value.to(device) for name, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, **moved)


class Autoregressive:
    """Next-token prediction: the state at t is scored when token t + 1 is supervised."""

    def view(
        self,
        batch: Sequence[Encoded],
        pad_id: int,
        generator: torch.Generator,
        origin: Sequence[int] | np.ndarray | None = None,
    ) -> View:
        """The View of one optimiser step. Nothing is corrupted here, so the generator is left untouched.

        `origin` (B,) says which training rows these are, for whoever remembers something about them.
        """
        ids, attention, supervised, content = _laid_out(batch, pad_id)
        _check_mask(batch, supervised, attention)
        scored = torch.zeros_like(supervised)
        scored[:, :-1] = supervised[:, 1:]
        targets = ids[:, 1:][scored[:, :-1]]
        return View(
            input_ids=ids,
            attention_mask=attention,
            scored=scored,
            targets=targets,
            weight=torch.ones(len(targets)),
            row=scored.nonzero()[:, 0],
            counts=scored.sum(1).float(),
            content=content[:, 1:][scored[:, :-1]],
            origin=_origin(batch, origin),
            causal=True,
        )


@dataclass(frozen=True)
class MaskedDiffusion:
    """Answers of `length` tokens behind prompts that are never masked, each token hidden with probability m(t).

    -log p(answer | prompt) <= E_t [ w(t) sum_{i hidden} -log p(x_i | prompt, what is not hidden) ]
    linear   m(t) = t                  w(t) = 1 / t
    cosine   m(t) = 1 - cos(pi t / 2)  w(t) = (pi / 2) sin(pi t / 2) / m(t)

    Answers end and are padded with the token that ends them, which is learned like any other: no length is given away.
    A draw that hides nothing has no loss, so at least one token is hidden and the weight is w(t) P(not none | t) =
    w(t) (1 - (1 - m)^L): the same expectation, and no weight is larger than a constant times L. The t of a step's rows
    are spread evenly over (0, 1) from one uniform offset; each is uniform.
    """

    mask_id: int
    length: int
    schedule: Literal["linear", "cosine"] = "linear"

    def view(
        self,
        batch: Sequence[Encoded],
        pad_id: int,
        generator: torch.Generator,
        origin: Sequence[int] | np.ndarray | None = None,
    ) -> View:
        """The View of one optimiser step; all that is random about it comes from `generator`, before any model."""
        clean, attention, answer, content = _laid_out([self.fixed(row) for row in batch], pad_id)
        _check_mask(batch, answer, attention)
        rows = len(batch)
        spread = torch.arange(rows, dtype=torch.float64) / rows
        time = 1.0 - (torch.rand(1, generator=generator, dtype=torch.float64) + spread) % 1.0
        rate, weight = self._rate(time)
        hidden = torch.zeros_like(answer)
        hidden[answer] = _some_hidden(rate, self.length, generator).flatten()
        row = hidden.nonzero()[:, 0]
        return View(
            input_ids=clean.masked_fill(hidden, self.mask_id),
            attention_mask=attention,
            scored=hidden,
            targets=clean[hidden],
            weight=weight.float()[row],
            row=row,
            counts=torch.full((rows,), float(self.length)),
            content=content[hidden],
            origin=_origin(batch, origin),
            causal=False,
            time=time.float(),
        )

    def fixed(self, row: Encoded) -> Encoded:
        """The row with its answer padded to `length` by the token that ends it."""
        answer = row.answer
        spare = self.length - len(answer)
        if spare < 0:
            raise UserError(
                f'row "{row.id}": its answer takes {len(answer)} tokens and model.denoise.length is {self.length}; '
                "raise it."
            )
        ids, on = [*row.ids, *([answer[-1]] * spare)], [*row.supervised, *([True] * spare)]
        return replace(row, ids=ids, supervised=on, end=row.end + spare)

    def _rate(self, time: Tensor) -> tuple[Tensor, Tensor]:
        """m(t) and w(t) (1 - (1 - m)^L), at times in (0, 1]."""
        if self.schedule == "linear":
            rate, weight = time, 1 / time
        else:
            angle = time * (torch.pi / 2)
            rate = 2 * torch.sin(angle / 2) ** 2
            weight = torch.pi / 2 * torch.sin(angle) / rate
        return rate, weight * -torch.expm1(self.length * torch.log1p(-rate.clamp(max=1 - 1e-12)))


def _some_hidden(rate: Tensor, length: int, generator: torch.Generator) -> Tensor:
    """(B, L) bool: each true with its row's probability m, given that one of the row is.

    The first is at j with probability m (1 - m)^j / (1 - (1 - m)^L), found by inverting its distribution; those behind
    it are free. So a row takes as many numbers from the generator whatever they are.
    """
    u = torch.rand(len(rate), length + 1, generator=generator, dtype=torch.float64)
    keep = torch.log1p(-rate.clamp(max=1 - 1e-12))[:, None]  # log(1 - m)
    places = torch.arange(length)
    reached = torch.expm1(keep * (places + 1)) / torch.expm1(keep * length)  # P(first <= j)
    first = (u[:, :1] >= reached).sum(1, keepdim=True).clamp(max=length - 1)
    return (places == first) | ((places > first) & (u[:, 1:] < rate[:, None]))


def _laid_out(batch: Sequence[Encoded], pad_id: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(ids, attention, supervised, content), each (B, T), padded on the right."""
    shape = len(batch), max(len(row.ids) for row in batch)
    ids, attention, supervised, content = np.full(shape, pad_id), *(np.zeros(shape, bool) for _ in range(3))
    for i, row in enumerate(batch):
        n = len(row.ids)
        ids[i, :n] = row.ids
        attention[i, :n] = True
        supervised[i, :n] = row.supervised
        places = np.flatnonzero(supervised[i])
        content[i, places[row.lead : len(places) - row.end]] = True
    return torch.from_numpy(ids), torch.from_numpy(attention), torch.from_numpy(supervised), torch.from_numpy(content)


def _origin(batch: Sequence[Encoded], origin: Sequence[int] | np.ndarray | None) -> Tensor:
    return torch.full((len(batch),), -1) if origin is None else torch.as_tensor(origin, dtype=torch.long)


def _check_mask(batch: Sequence[Encoded], supervised: Tensor, attention: Tensor) -> None:
    names = ", ".join(f'"{row.id}"' for row in batch[:3]) + (", ..." if len(batch) > 3 else "")
    if not supervised[:, 1:].any():
        raise UserError(f"no token of the rows {names} is supervised: there is nothing to learn from this batch.")
    if supervised.equal(attention):
        raise UserError(f"every token of the rows {names} is supervised: their prompts are not masked.")
