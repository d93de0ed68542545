"""The untouched base: nothing learns. It is measured by the same estimator as what was tuned."""

import copy
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from netgain.adapters.method import Adapter, Method
from netgain.errors import UserError

if TYPE_CHECKING:
    import torch
    from torch import nn
    from transformers import PreTrainedModel

    from netgain.models.lm import LM


class Untouched(Method):
    """The base model as it is."""

    kind: Literal["none"] = "none"
    learns: ClassVar[bool] = False

    def attach(self, lm: "LM", generator: "torch.Generator") -> Adapter:
        return NoAdapter(lm)


class NoAdapter(Adapter):
    """No tensors; on and off are the same."""

    def parameters(self) -> "dict[str, nn.Parameter]":
        return {}

    def off(self) -> AbstractContextManager[None]:
        return nullcontext()

    def learning(self) -> AbstractContextManager[None]:
        raise UserError("method none: nothing learns, so there is nothing to train.")

    def save(self, folder: Path) -> None:
        raise UserError("method none: there is no adapter to save; the model is the base.")

    def load(self, folder: Path) -> None:
        raise UserError("method none: there is no adapter to load; the model is the base.")

    def merged(self) -> "PreTrainedModel":
        return copy.deepcopy(self.lm.net)

    def remove(self) -> None:
        """Nothing was put in."""
