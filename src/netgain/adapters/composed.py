"""Several finished LoRA adapters put together without a step of training: Delta W = sum_j w_j Delta W_j.

    uniform      w_j = 1 / M
    arithmetic   w_j = 1, or as `weights` says: task arithmetic (Ilharco et al. 2023), which may also subtract
A router, which learns to weigh them by what is asked, is the method `routed`.
"""

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from netgain.adapters.method import Built, Shop
from netgain.spec.run import RunRef, SpecError


class Composed(Built):
    """The result has the sum of the modules' ranks, so nothing is lost; `scale` is as in every built method."""

    kind: Literal["composed"] = "composed"
    how: Literal["uniform", "arithmetic"] = "uniform"
    modules: tuple[RunRef, ...] = Field(min_length=2)
    weights: tuple[float, ...] | None = None

    @model_validator(mode="after")
    def _a_weight_for_each(self) -> "Composed":
        if self.weights is not None and self.how == "uniform":
            raise SpecError("uniform weighs every module alike; use how: arithmetic", "weights")
        if self.weights is not None and len(self.weights) != len(self.modules):
            raise SpecError(f"{len(self.modules)} modules need as many weights", "weights")
        return self

    @property
    def shares(self) -> tuple[float, ...]:
        """w."""
        count = len(self.modules)
        return (1 / count,) * count if self.how == "uniform" else self.weights or (1.0,) * count

    def build(self, out: Path, shop: Shop) -> dict[str, Any]:
        import torch
        from safetensors.torch import save_file

        from netgain.adapters._torch.modules import WEIGHTS, read_all

        parts = read_all([shop.folder_of(ref) / "adapter" for ref in self.modules])
        tensors: dict[str, torch.Tensor] = {}
        for site in parts[0].products:
            halves = [part.products[site] for part in parts]
            tensors[f"{site}.lora_A.weight"] = torch.cat([a for a, _ in halves]).contiguous()
            ends = [w * b for w, (_, b) in zip(self.shares, halves, strict=True)]
            tensors[f"{site}.lora_B.weight"] = torch.cat(ends, 1).contiguous()
        rank = sum(part.rank for part in parts)
        config = {**parts[0].config, "r": rank, "lora_alpha": rank, "use_rslora": False}
        out.mkdir(parents=True, exist_ok=True)
        save_file(tensors, out / WEIGHTS, metadata={"format": "pt"})
        (out / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True), encoding="utf-8")
        return {"how": self.how, "weights": list(self.shares), "rank": rank}
