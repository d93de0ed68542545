"""What a row says before it is answered, as few numbers: what adapters that depend on the input look at.

    c = R m / ||m||,  m = the mean embedding of the row's tokens that are real and not hidden,  R (width, H) ~ N(0, 1)

The embeddings are the base's and R is the same for every run, so c is a function of the row and of nothing learned.
"""

from typing import Any

import torch
from torch import Tensor, nn

from netgain.models.lm import LM

SEED = 20240611


class Context:
    """c of the rows that the body is about to read."""

    def __init__(self, lm: LM, width: int) -> None:
        embeddings = lm.net.get_input_embeddings()
        assert isinstance(embeddings, nn.Embedding)
        self.embeddings, self.mask_id = embeddings, lm.mask_id
        hidden = embeddings.embedding_dim
        generator = torch.Generator().manual_seed(SEED)
        self.mix = torch.randn(width, hidden, generator=generator).to(lm.device)
        self.rows = torch.zeros(0, width)

    @torch.no_grad()
    def read(self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Before every forward pass: (B, width), from (B, T) ids and mask."""
        ids: Tensor = kwargs["input_ids"]
        seen = ids != self.mask_id
        if (mask := kwargs.get("attention_mask")) is not None:
            seen = seen & mask.bool()
        weight = seen.float()[..., None]
        mean = (nn.functional.embedding(ids, self.embeddings.weight.detach()).float() * weight).sum(1)
        self.rows = nn.functional.normalize(mean, dim=-1) @ self.mix.T
