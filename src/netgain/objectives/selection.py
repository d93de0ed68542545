"""Which of a step's scored tokens a term sees, and the D_i that it is divided by.

Selected once for the whole View of an optimiser step, so that micro-batches only cut what has been chosen.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from netgain.adapters._torch.dropout import FULL_RANGE, Noise
from netgain.data.view import View
from netgain.spec.run import FromSource, Last, Share, Tokens

SALT = int.from_bytes(hashlib.sha256(b"share of tokens").digest()[:4], "big", signed=True)


@dataclass(frozen=True)
class Selected:
    """weight (n,): what each scored token counts, 0 where it is not seen; total: D_i over the whole step."""

    weight: Tensor
    total: float

    def part(self, tokens: slice) -> "Selected":
        """The same for some of the step's tokens; D_i remains that of the step."""
        return Selected(self.weight[tokens], self.total)


Selection = Mapping[Tokens, Selected]


def select(
    view: View, kinds: Iterable[Tokens], seed: int, step: int, sources: Sequence[str] = ()
) -> dict[Tokens, Selected]:
    """weight_n * [n is seen] and D_i = sum_n weight_n [n is seen] for each kind; D of "all" is the View's own count.

    `sources` names the source of every training row. A kind that sees nothing in this step has D_i = 1: its sum is 0.
    """
    found: dict[Tokens, Selected] = {}
    for kind in dict.fromkeys(kinds):
        if kind == "all":
            found[kind] = Selected(view.weight, view.count)
        else:
            weight = view.weight * seen(view, kind, seed, step, sources)
            found[kind] = Selected(weight, float(weight.sum()) or 1.0)
    return found


def seen(view: View, kind: Tokens, seed: int, step: int, sources: Sequence[str] = ()) -> Tensor:
    """(N,) bool; `share` is a function of (seed, step, row, position) and of nothing else."""
    if isinstance(kind, Last):
        ends = torch.bincount(view.row, minlength=len(view.input_ids)).cumsum(0)
        left = ends[view.row] - torch.arange(len(view.row), device=view.row.device)
        return left <= kind.last
    if isinstance(kind, FromSource):
        rows = torch.tensor([sources[i] == kind.source for i in view.origin.tolist()], device=view.row.device)
        return rows[view.row] & view.content if kind.content else rows[view.row]
    if isinstance(kind, Share):
        noise = Noise()
        noise.at(seed, step, torch.arange(len(view.input_ids)))
        shape = torch.Size((*view.scored.shape, 1))
        keys = noise.keys(shape, SALT, view.scored.device).squeeze(-1)[view.scored]
        return keys < int(kind.share * FULL_RANGE) - FULL_RANGE // 2
    return view.content if kind == "content" else torch.ones_like(view.content)
