"""Orthogonality regulariser: what a layer's products write should lie in different directions.

several products at a layer   sum_{i<j} ||B_i^T B_j||_F^2
one                           sum_{i<j} (b_i . b_j)^2 over the columns of its B
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from netgain.objectives.products import products
from netgain.objectives.term import Penalty

if TYPE_CHECKING:
    from torch import Tensor


class Orthogonality(Penalty):
    """Summed over layers; 0 where nothing overlaps, and at the start, where every B is 0."""

    kind: Literal["orthogonality"] = "orthogonality"

    def value(self, learned: "Mapping[str, Tensor]", initial: "Mapping[str, Tensor]") -> "Tensor":
        import torch

        return torch.stack(
            [_overlap([b.float() for _, b in site]) for site in products(learned, self.kind).values()]
        ).sum()


def _overlap(ends: "list[Tensor]") -> "Tensor":
    """The off-diagonal part of the Gram matrix, squared: between products, or between columns where there is one."""
    import torch

    whole = torch.cat(ends, 1)
    own = ends if len(ends) > 1 else list(ends[0].split(1, 1))
    inside = torch.stack([(end.T @ end).square().sum() for end in own]).sum()
    return ((whole.T @ whole).square().sum() - inside) / 2
