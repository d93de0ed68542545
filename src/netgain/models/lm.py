"""A language model as the rest of netgain sees it: a body that gives hidden states, and a head that reads them.

The two are kept apart because almost every use needs the head at few positions only: the loss at supervised tokens,
a label score at the label's tokens, generation at the last position.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import Cache, PreTrainedModel, PreTrainedTokenizerBase
from transformers.modeling_layers import GradientCheckpointingLayer

from netgain.data.view import Autoregressive, MaskedDiffusion
from netgain.errors import UserError
from netgain.models.holders import ALONE
from netgain.spec.denoise import Denoise

if TYPE_CHECKING:
    from netgain.data.view import View


@dataclass(frozen=True)
class Head:
    """z = scale * (W h + b), then softcap * tanh(z / softcap): from a hidden state (..., H) to logits (..., V)."""

    weight: Tensor  # (V, H)
    bias: Tensor | None = None  # (V,)
    scale: float | None = None
    softcap: float | None = None

    @property
    def trainable(self) -> bool:
        """Whether anything in the head learns, so that no result may rest on it being frozen."""
        return self.weight.requires_grad or (self.bias is not None and self.bias.requires_grad)

    def logits(self, hidden: Tensor) -> Tensor:
        """(..., H) -> (..., V), in the dtype of the head, which a wider or remembered state is brought to."""
        z = F.linear(hidden.to(self.weight.dtype), self.weight, self.bias)
        if self.scale is not None:
            z = z * self.scale
        if self.softcap is not None:
            z = torch.tanh(z / self.softcap) * self.softcap
        return z


@dataclass(frozen=True)
class Frame:
    """Where the body of a network is, what happens between it and the head (`transform`), and between the head's
    product and the logits. With `both_ways` a body made to look back is told to look at every real token."""

    body: nn.Module
    scale: float | None = None
    softcap: float | None = None
    takes_positions: bool = True
    transform: Callable[[Tensor], Tensor] | None = None
    causal: bool = True
    both_ways: bool = False


class LM:
    """A frozen base model with its tokenizer.

    The network stays in evaluation mode, in training too: the base's own dropout is off, so that a student, its
    reference and its evaluation are the same function of the same tokens. Randomness belongs to what learns.
    """

    def __init__(
        self,
        net: PreTrainedModel,
        tok: PreTrainedTokenizerBase,
        name: str,
        device: torch.device,
        frame: Frame,
        eos_ids: tuple[int, ...],
        pad_id: int,
        max_positions: int | None,
        denoise: Denoise | None = None,
    ) -> None:
        self.net, self.tok, self.name, self.device = net, tok, name, device
        self.denoise = denoise or Denoise()
        self.eos_ids, self.pad_id, self.max_positions = eos_ids, pad_id, max_positions
        self._frame = frame
        self.holders = ALONE
        """Which processes hold the base together; see models/shard.py."""
        self.size = sum(tensor.numel() for tensor in net.parameters())
        """How many numbers the base has, whatever a method puts into it later."""

    @property
    def body(self) -> nn.Module:
        """The network without its head."""
        return self._frame.body

    @property
    def layers(self) -> list[GradientCheckpointingLayer]:
        """The repeated layers of the body: what is checkpointed, and shared out over processes, one by one."""
        return [module for module in self.body.modules() if isinstance(module, GradientCheckpointingLayer)]

    @property
    def causal(self) -> bool:
        """Whether state t predicts token t + 1; that of a masked-diffusion model predicts token t."""
        return self._frame.causal

    @property
    def mask_id(self) -> int:
        """The token that stands where one is hidden."""
        found = self.tok.mask_token_id
        if not isinstance(found, int):
            raise UserError(f"{self.name}: its tokenizer has no mask token.")
        return found

    @property
    def family(self) -> Autoregressive | MaskedDiffusion:
        """How rows become the Views that this model learns from."""
        if self.causal:
            return Autoregressive()
        return MaskedDiffusion(self.mask_id, self.denoise.length, self.denoise.schedule)

    @property
    def head(self) -> Head:
        """The head as it is now; a method that makes it learn changes what this returns."""
        layer = self.net.get_output_embeddings()
        if type(layer) is not nn.Linear:
            raise UserError(
                f"{self.name}: the output layer is a {type(layer).__name__}, and netgain needs a plain linear layer; "
                "leave the head out of the method's targets."
            )
        return Head(layer.weight, layer.bias, self._frame.scale, self._frame.softcap)

    @property
    def vocab(self) -> int:
        """V, the number of rows of the head."""
        return self.head.weight.shape[0]

    @property
    def takes_positions(self) -> bool:
        """Whether the body places tokens where it is told to, rather than one behind the other."""
        return self._frame.takes_positions

    @property
    def dtype(self) -> torch.dtype:
        """The dtype that the body computes in."""
        return self.net.dtype

    def hidden(
        self, inputs: "View | Tensor", attention_mask: Tensor | None = None, position_ids: Tensor | None = None
    ) -> Tensor:
        """(B, T) -> (B, T, H): the states that the head reads; state t predicts token t + 1 (t, if not `causal`).

        `attention_mask` is (B, T), 1 at real tokens, or (B, 1, T, T) bool, True where a query may look.
        """
        ids = inputs if isinstance(inputs, Tensor) else inputs.input_ids
        mask = attention_mask if isinstance(inputs, Tensor) else inputs.attention_mask
        return self._run(ids, mask, position_ids, None)

    def extend(self, ids: Tensor, cache: Cache, attention_mask: Tensor, position_ids: Tensor) -> Tensor:
        """(B, T) new tokens behind a cache of S -> (B, T, H); `attention_mask` (B, S + T); the cache grows by T."""
        return self._run(ids, attention_mask, position_ids, cache)

    def seen(self, ids: Tensor, mask: Tensor | None) -> Tensor | None:
        """The mask that the body takes for (B, T) real tokens: itself, or (B, 1, T, T) where all see all of them."""
        if self._frame.both_ways and (mask is None or mask.dim() == 2):
            real = torch.ones_like(ids, dtype=torch.bool) if mask is None else mask.bool()
            return real[:, None, None, :].expand(-1, 1, ids.shape[1], -1)
        return mask.long() if mask is not None and mask.dim() == 2 else mask

    def _run(self, ids: Tensor, mask: Tensor | None, positions: Tensor | None, cache: Cache | None) -> Tensor:
        keywords: dict[str, Any] = (
            {"position_ids": positions} if positions is not None and self._frame.takes_positions else {}
        )
        mask = self.seen(ids, mask)
        if self.causal or self._frame.both_ways:
            keywords |= {"past_key_values": cache, "use_cache": cache is not None}
        states: Tensor = self.body(input_ids=ids, attention_mask=mask, **keywords).last_hidden_state
        return states if self._frame.transform is None else self._frame.transform(states)

    @contextmanager
    def checkpointing(self, on: bool = True) -> Iterator[None]:
        """Inside, the body keeps no activations but its layers' inputs and recomputes the rest in the backward pass.

        The library checkpoints only layers that are in training mode; exactly those are put there, their children
        are not, so no dropout wakes up. Generation needs a cache and must stay outside.
        """
        layers = self.layers if on else []
        if on and not layers:
            raise UserError(f"{self.name}: this model family has no gradient checkpointing; switch it off.")
        for layer in layers:
            layer.training = layer.gradient_checkpointing = True
            vars(layer)["_gradient_checkpointing_func"] = partial(checkpoint, use_reentrant=False)
        try:
            yield
        finally:
            for layer in layers:
                layer.training = layer.gradient_checkpointing = False
