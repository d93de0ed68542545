"""LoRA and its relatives: h = W x + (alpha / r) B A x, A random and B zero: training starts at the base."""

from typing import TYPE_CHECKING, Literal

from pydantic import Field, PositiveInt

from netgain.adapters.budget import Budget, solve
from netgain.adapters.method import Adapter, Method

if TYPE_CHECKING:
    import torch

    from netgain.models.lm import LM


class Lora(Method):
    """Low-rank adaptation (Hu et al. 2021), through HF PEFT and in its file format.

    `targets` is "all-linear" (every linear layer but the head) or the names of layers, such as q_proj.
    `use_rslora` scales by alpha / sqrt(r) (Kalajdzievski 2023); `use_dora` learns a magnitude beside the direction
    (Liu et al. 2024). `budget`, such as 0.5%, chooses the rank for so many of the base's parameters, at the same
    alpha / r.
    """

    kind: Literal["lora"] = "lora"
    r: PositiveInt = 16
    alpha: float = Field(default=32.0, gt=0)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    targets: Literal["all-linear"] | tuple[str, ...] = "all-linear"
    use_rslora: bool = False
    use_dora: bool = False
    init: Literal["kaiming", "gaussian"] = "kaiming"
    budget: Budget | None = None

    def attach(self, lm: "LM", generator: "torch.Generator") -> Adapter:
        from peft import LoraConfig

        from netgain.adapters._torch.peft import PeftAdapter, stores_transposed

        patterns = None if self.targets == "all-linear" else self.targets
        rank = self._rank(lm)
        alpha = self.alpha * rank / self.r
        config = LoraConfig(
            r=rank,
            lora_alpha=int(alpha) if alpha.is_integer() else alpha,  # type: ignore[arg-type]
            lora_dropout=self.dropout,
            target_modules="all-linear" if patterns is None else list(patterns),
            use_rslora=self.use_rslora,
            use_dora=self.use_dora,
            init_lora_weights=True if self.init == "kaiming" else "gaussian",
            fan_in_fan_out=stores_transposed(lm, patterns),
        )
        return PeftAdapter(lm, config, generator)

    def _rank(self, lm: "LM") -> int:
        """The rank that the budget allows: a row and a column in every target each, and DoRA's magnitudes once."""
        if self.budget is None:
            return self.r
        from netgain.adapters._torch.hooked import widths
        from netgain.adapters._torch.peft import all_linear, linear_targets

        layers = all_linear(lm) if self.targets == "all-linear" else linear_targets(lm, self.targets)
        shapes = [widths(layer) for layer in layers]
        return solve(self.budget, lm, sum(map(sum, shapes)), sum(out for _, out in shapes) if self.use_dora else 0)
