"""Finished LoRA adapters as parts of something larger: their products, with their own scale folded in."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from netgain.errors import UserError

WEIGHTS = "adapter_model.safetensors"


@dataclass(frozen=True)
class Part:
    """site -> (A (r, in), scale * B (out, r)), as float32; `config` is PEFT's."""

    config: dict[str, Any]
    products: dict[str, tuple[Tensor, Tensor]]

    @property
    def rank(self) -> int:
        """r."""
        return int(self.config["r"])


def read(folder: Path) -> Part:
    """A LoRA adapter's folder; refused where it is another method's."""
    config: dict[str, Any] = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    if config.get("peft_type") != "LORA" or config.get("use_dora") or config.get("rank_pattern"):
        raise UserError(f"{folder}: only plain LoRA adapters can be put together, and this is another method.")
    scale = config["lora_alpha"] / (config["r"] ** 0.5 if config.get("use_rslora") else config["r"])
    tensors = load_file(folder / WEIGHTS)
    sites = [name.removesuffix(".lora_A.weight") for name in sorted(tensors) if name.endswith(".lora_A.weight")]
    if 2 * len(sites) != len(tensors):
        raise UserError(f"{folder}: holds other tensors than pairs of lora_A and lora_B.")
    return Part(
        config,
        {s: (tensors[f"{s}.lora_A.weight"].float(), scale * tensors[f"{s}.lora_B.weight"].float()) for s in sites},
    )


def read_all(folders: Sequence[Path]) -> list[Part]:
    """The adapters of several folders, which must change the same layers."""
    parts = [read(folder) for folder in folders]
    for part, folder in zip(parts[1:], folders[1:], strict=True):
        if part.products.keys() != parts[0].products.keys():
            odd = sorted(part.products.keys() ^ parts[0].products.keys())[0]
            raise UserError(f'{folder} and {folders[0]}: only one of them changes "{odd}", so they are no one recipe.')
    return parts
