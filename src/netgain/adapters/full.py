"""Full fine-tuning: every weight of the network learns."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from netgain.adapters.method import Adapter, Method, swap
from netgain.errors import UserError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn
    from transformers import PreTrainedModel

    from netgain.models.lm import LM


class Full(Method):
    """All weights learn. The base stays reachable through a copy of its weights, made when training starts."""

    kind: Literal["full"] = "full"

    def attach(self, lm: "LM", generator: "torch.Generator") -> Adapter:
        import torch

        if lm.dtype != torch.float32:
            raise UserError(
                "method full: AdamW steps are lost when added to bfloat16 weights; set model.dtype to float32, "
                "or use a method that keeps its own float32 tensors, such as lora."
            )
        return FullAdapter(lm)


class FullAdapter(Adapter):
    """The network's own weights. Once they may change, a copy of the base is kept: one more model in memory."""

    def __init__(self, lm: "LM") -> None:
        super().__init__(lm)
        lm.net.requires_grad_(True)
        self._parameters = dict(lm.net.named_parameters())
        self._base: dict[str, Tensor] | None = None
        self.fingerprint()

    def parameters(self) -> "dict[str, nn.Parameter]":
        return self._parameters

    def _keep_base(self) -> "dict[str, Tensor]":
        if self._base is None:
            self._base = {name: tensor.detach().clone() for name, tensor in self._parameters.items()}
        return self._base

    @contextmanager
    def off(self) -> Iterator[None]:
        if self._base is None:
            yield
            return
        learned = swap(self._parameters, self._base)
        try:
            yield
        finally:
            swap(self._parameters, learned)

    @contextmanager
    def learning(self) -> Iterator[None]:
        self._keep_base()
        yield

    def set_state(self, tensors: "dict[str, Tensor]") -> None:  # type: ignore[override]
        self._keep_base()
        super().set_state(tensors)

    def save(self, folder: Path) -> None:
        self.lm.net.save_pretrained(str(folder))

    def load(self, folder: Path) -> None:
        stored = type(self.lm.net).from_pretrained(str(folder), dtype=self.lm.dtype, local_files_only=True)
        self.set_state(dict(stored.named_parameters()))

    def merged(self) -> "PreTrainedModel":
        return copy.deepcopy(self.lm.net).requires_grad_(False)

    def remove(self) -> None:
        if self._base is not None:
            swap(self._parameters, self._base)
        self.lm.net.requires_grad_(False)
