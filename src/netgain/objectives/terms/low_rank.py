"""Rank regulariser: half the sum of ||A||^2 + ||B||^2 over products B A, which bounds their nuclear norms.

min over all A, B with B A = W of (||A||_F^2 + ||B||_F^2) / 2 = ||W||_*: the squares that low-rank papers sum and the
nuclear norm that they write of are one penalty, and the first has a gradient where W = 0.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from netgain.objectives.products import products
from netgain.objectives.term import Penalty

if TYPE_CHECKING:
    from torch import Tensor


class LowRank(Penalty):
    """sum over products of (||A||_F^2 + ||B||_F^2) / 2 >= sum ||B A||_*."""

    kind: Literal["low_rank"] = "low_rank"

    def value(self, learned: "Mapping[str, Tensor]", initial: "Mapping[str, Tensor]") -> "Tensor":
        import torch

        pairs = [pair for site in products(learned, self.kind).values() for pair in site]
        return torch.stack([(a.float().square().sum() + b.float().square().sum()) / 2 for a, b in pairs]).sum()
