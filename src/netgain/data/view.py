"""What is fed and what is scored: a View, built once per optimiser step and then cut into micro-batches.

Student, teacher, reference and every arm of a sweep read the same View, so they see the same tokens. How rows become
a View is all that tells autoregressive from masked-diffusion training.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from netgain.data.chat import Encoded
from netgain.errors import UserError


@dataclass(frozen=True)
class View:
    """B rows of T tokens, and N scored positions in row-major order: `scored.sum() == N`.

    The hidden state at a scored position predicts its target: the next token in an autoregressive View.
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
        )

    def split(self, size: int) -> list["View"]:
        """Micro-batches of `size` rows (the last may be smaller): every scored token lies in exactly one."""
        total = self.input_ids.shape[0]
        return [self.rows(range(start, min(start + size, total))) for start in range(0, total, size)]

    def to(self, device: torch.device | str) -> "View":
        """The same View on another device."""
        return replace(self, **{name: value.to(device) for name, value in vars(self).items() if name != "causal"})


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
        length = max(len(row.ids) for row in batch)
        ids = torch.full((len(batch), length), pad_id, dtype=torch.long)
        attention = torch.zeros(len(batch), length, dtype=torch.bool)
        supervised = torch.zeros(len(batch), length, dtype=torch.bool)
        content = torch.zeros(len(batch), length, dtype=torch.bool)
        for i, row in enumerate(batch):
            n = len(row.ids)
            ids[i, :n] = torch.tensor(row.ids)
            attention[i, :n] = True
            supervised[i, :n] = torch.tensor(row.supervised)
            places = supervised[i].nonzero()[:, 0]
            content[i, places[row.lead : len(places) - row.end]] = True
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
            origin=torch.full((len(batch),), -1) if origin is None else torch.as_tensor(origin, dtype=torch.long),
            causal=True,
        )


def _check_mask(batch: Sequence[Encoded], supervised: Tensor, attention: Tensor) -> None:
    names = ", ".join(f'"{row.id}"' for row in batch[:3]) + (", ..." if len(batch) > 3 else "")
    if not supervised[:, 1:].any():
        raise UserError(f"no token of the rows {names} is supervised: there is nothing to learn from this batch.")
    if supervised.equal(attention):
        raise UserError(f"every token of the rows {names} is supervised: their prompts are not masked.")
