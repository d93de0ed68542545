"""Prefix tuning: every layer attends to `length` learned keys and values besides the tokens (Li and Liang 2021).

    joined   softmax(s q [P; K]^T) [R; V]                              as published, and as PEFT computes it
    gated    softmax(s q K^T) V + tanh(g) softmax(s q P^T) R           one g a head, zero at first (Zhang et al. 2023)

Both share P and R, which begin at random. A joined prefix takes attention away from the tokens from the first step on,
so it does not begin at the base; a gated one does, and is the default. Its gate learns first, and then the rest.
"""

from typing import TYPE_CHECKING, Literal

from pydantic import PositiveInt

from netgain.adapters.budget import Budget
from netgain.adapters.method import Adapter, Method

if TYPE_CHECKING:
    import torch

    from netgain.models.lm import LM


class Prefix(Method):
    """`length` keys and values in every layer; `budget`, such as 0.5%, chooses it. The prefix has no positions: tokens
    keep theirs, where PEFT moves them behind it."""

    kind: Literal["prefix"] = "prefix"
    length: PositiveInt = 16
    form: Literal["gated", "joined"] = "gated"
    budget: Budget | None = None

    def attach(self, lm: "LM", generator: "torch.Generator") -> Adapter:
        from netgain.adapters._torch.prefix import attach

        return attach(self, lm, generator)
