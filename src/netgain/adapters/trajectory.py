"""Trajectory adapters: low-rank changes whose rank and scale depend on how far an answer has been unmasked.

    t = share of the answer that is masked;   phase(t): t > 2/3 early, > 1/3 middle, else late
    weights   h = W x + sigma(t) alpha B[:, :r(t)] A[:r(t)] x          one LoRA a layer, of which phase t uses r(t) rows
    hidden    h_last + sigma(t) sum_k U_tk relu(D_tk h_last + c_tk)    modules of its own for each phase, as published

Everything that ends a product (B, U) begins at zero, everything else is random: training starts at the base and every
tensor that a phase uses has a gradient as soon as its product has moved.

With `conditioning` a row's text, as so many numbers c (adapters/_torch/context.py), scales what lies between the
factors by 1 + G c; in the hidden form, as published, it also adds B c. G and B begin at zero. The published
regularisers are the terms low_rank and orthogonality, which an objective may weigh.
"""

from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from netgain.adapters.budget import Budget, solve
from netgain.adapters.method import Adapter, Method
from netgain.errors import UserError
from netgain.spec.run import SpecError

if TYPE_CHECKING:
    import torch

    from netgain.models.lm import LM

MODULES = 2
"""How many products the hidden form adds in each phase."""


class Trajectory(Method):
    """`ranks` and `scales` are those of the early, the middle and the late phase. `budget`, such as 0.5%, multiplies
    the ranks by one factor."""

    kind: Literal["trajectory"] = "trajectory"
    form: Literal["weights", "hidden"] = "weights"
    ranks: tuple[PositiveInt, PositiveInt, PositiveInt] = (64, 32, 8)
    scales: tuple[float, float, float] = (1.0, 0.5, 0.25)
    alpha: float = Field(default=1.0, gt=0)
    conditioning: NonNegativeInt = 0
    budget: Budget | None = None
    targets: tuple[str, ...] | None = None

    @model_validator(mode="after")
    def _targets_are_of_weights(self) -> Self:
        if self.form == "hidden" and self.targets is not None:
            raise SpecError("the hidden form changes the last hidden state alone, so it has no targets", "targets")
        return self

    def attach(self, lm: "LM", generator: "torch.Generator") -> Adapter:
        from netgain.adapters._torch.trajectory import on_hidden, on_weights

        if lm.causal:
            raise UserError(
                f"method trajectory: {lm.name} writes from left to right, and only a masked-diffusion model has a "
                "trajectory; choose lora, or a masked language model."
            )
        attach = on_weights if self.form == "weights" else on_hidden
        return attach(self, lm, generator)

    def sized(self, lm: "LM", each: int, nested: bool, fixed: int = 0) -> tuple[int, int, int]:
        """The ranks; `each` is how many numbers one more row takes, in every phase or (nested) in the largest."""
        if self.budget is None:
            return self.ranks
        top = max(self.ranks)
        rows = 1.0 if nested else sum(self.ranks) / top
        rank = solve(self.budget, lm, max(1, round(each * rows)), fixed)
        early, middle, late = (max(1, round(rank * own / top)) for own in self.ranks)
        return early, middle, late
