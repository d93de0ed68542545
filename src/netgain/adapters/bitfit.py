"""BitFit: of the whole network only its biases learn (Ben Zaken et al. 2022)."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from netgain.adapters.method import Adapter, Method, swap
from netgain.errors import UserError

if TYPE_CHECKING:
    import torch
    from torch import nn
    from transformers import PreTrainedModel

    from netgain.models.lm import LM


class Bitfit(Method):
    """The biases of the network but its head's; with `norms` the scales of its layer norms too."""

    kind: Literal["bitfit"] = "bitfit"
    norms: bool = False

    def attach(self, lm: "LM", generator: "torch.Generator") -> Adapter:
        import torch

        if lm.dtype != torch.float32:
            raise UserError(
                "method bitfit: its steps are lost when added to bfloat16 biases; set model.dtype: float32."
            )
        return BitfitAdapter(lm, self.norms)


class BitfitAdapter(Adapter):
    """The network's own vectors; the base's are kept beside them."""

    def __init__(self, lm: "LM", norms: bool) -> None:
        super().__init__(lm)
        head = lm.head.bias
        vectors = {
            name: tensor for name, tensor in lm.net.named_parameters() if tensor.ndim == 1 and tensor is not head
        }
        self._parameters = {name: t for name, t in vectors.items() if name.endswith("bias") or (norms and _scale(name))}
        if not self._parameters:
            raise UserError(f"method bitfit: {lm.name} has no biases; choose another method, such as lora.")
        for tensor in self._parameters.values():
            tensor.requires_grad_(True)
        self._base = {name: tensor.detach().clone() for name, tensor in self._parameters.items()}
        self.fingerprint()

    def parameters(self) -> "dict[str, nn.Parameter]":
        return self._parameters

    @contextmanager
    def off(self) -> Iterator[None]:
        learned = swap(self._parameters, self._base)
        try:
            yield
        finally:
            swap(self._parameters, learned)

    @contextmanager
    def learning(self) -> Iterator[None]:
        yield

    def save(self, folder: Path) -> None:
        from netgain.adapters._torch.hooked import write

        write(self.state(), {"kind": "bitfit"}, folder)

    def load(self, folder: Path) -> None:
        from netgain.adapters._torch.hooked import read

        self.set_state(read(self._parameters, {"kind": "bitfit"}, folder, self.lm.name))

    def merged(self) -> "PreTrainedModel":
        return copy.deepcopy(self.lm.net).requires_grad_(False)

    def remove(self) -> None:
        swap(self._parameters, self._base)
        for tensor in self._parameters.values():
            tensor.requires_grad_(False)


def _scale(name: str) -> bool:
    """Whether a vector that is no bias is one of a norm: no other layer has a weight of one dimension."""
    return name.endswith("weight")
