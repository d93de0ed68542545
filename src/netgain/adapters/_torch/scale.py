"""Half an adapter: its effect turned down after training, from nothing (the base) to all of it.

LoRA and its kin   Delta W(s) = s * scaling * B A, by scaling B alone
full               W(s) = W_base + s (W_tuned - W_base)
"""

from torch import Tensor

from netgain.adapters.full import FullAdapter
from netgain.adapters.method import Adapter
from netgain.errors import UserError

SCALED = "lora_B", "lora_embedding_B"


def at_scale(adapter: Adapter, tuned: dict[str, Tensor], scale: float) -> dict[str, Tensor]:
    """The state of `adapter` at `scale` of what `tuned` (a copy of its learned state) adds to the base."""
    if isinstance(adapter, FullAdapter):
        with adapter.off():
            return {name: base + scale * (tuned[name] - base) for name, base in adapter.state().items()}
    if not any(part in name for name in tuned for part in SCALED):
        raise UserError("adapter_scales: this method adds no product of two matrices, so it cannot be turned down.")
    return {name: tensor * scale if any(part in name for part in SCALED) else tensor for name, tensor in tuned.items()}
