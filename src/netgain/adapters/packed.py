"""K adapters of one method over one frozen base: which methods can, and how they get there.

h_k = W x_k + s B_k A_k x_k for the rows x_k of arm k: the base's product is one, the arms' are a batched one.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from netgain.adapters.lora import Lora
from netgain.spec.plugin import MethodPlugin

if TYPE_CHECKING:
    from netgain.adapters._torch.packed import PackedStudent
    from netgain.models.lm import LM


def packable(method: MethodPlugin) -> bool:
    """Whether arms of this method can share a forward pass: what they add to the base must be linear in its input."""
    return isinstance(method, Lora) and not method.use_dora


def pack(method: MethodPlugin, lm: "LM", seeds: Sequence[int]) -> "PackedStudent":
    """One arm for each seed, each as if it had been attached alone; dropout masks are those of the training's seed."""
    from netgain.adapters._torch.packed import PackedStudent

    if not (isinstance(method, Lora) and packable(method)):
        raise ValueError(f"arms of method {method.kind} cannot be packed")
    return PackedStudent(method, lm, seeds)
