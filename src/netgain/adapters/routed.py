"""A router over finished LoRA adapters: Delta W(row) = sum_j w_j(row) Delta W_j, and only w learns.

    w = softmax(M_2 gelu(M_1 c + m_1) + m_2)      c is what the row says (adapters/_torch/context.py)
M_2 and m_2 begin at zero: training starts at the uniform composition of the modules, not at the base. The router learns
from the objective itself, so it needs no label that says which task a row is of.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field, PositiveInt

from netgain.adapters.method import Adapter, Resting
from netgain.errors import UserError
from netgain.spec.run import RunRef

if TYPE_CHECKING:
    import torch

    from netgain.models.lm import LM


class Routed(Resting):
    """`features` numbers of each row go into a hidden layer of `width`, and a weight for each module comes out."""

    kind: Literal["routed"] = "routed"
    modules: tuple[RunRef, ...] = Field(min_length=2)
    features: PositiveInt = 256
    width: PositiveInt = 512

    def attach_to(self, lm: "LM", generator: "torch.Generator", folder_of: Callable[[RunRef], Path]) -> Adapter:
        from netgain.adapters._torch.modules import read_all
        from netgain.adapters._torch.routed import attach

        if lm.causal:
            raise UserError(
                f"method routed: {lm.name} reads an answer token by token, so no row is whole when it is weighed; use "
                "method composed, or a masked language model."
            )
        return attach(self, lm, generator, read_all([folder_of(ref) / "adapter" for ref in self.modules]))
