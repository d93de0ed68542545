"""The module that a bottleneck adapter puts behind a layer."""

import torch
from torch import Tensor, nn

from netgain.adapters._torch.hooked import normal


class Beside(nn.Module):
    """U relu(D h + c) + u, with D ~ N(0, 1 / H) and U, u, c = 0."""

    def __init__(self, hidden: int, width: int, generator: torch.Generator) -> None:
        super().__init__()
        self.down = normal((width, hidden), hidden**-0.5, generator)
        self.down_bias = nn.Parameter(torch.zeros(width))
        self.up = nn.Parameter(torch.zeros(hidden, width))
        self.up_bias = nn.Parameter(torch.zeros(hidden))

    def forward(self, hidden: Tensor) -> Tensor:
        """(..., H) -> (..., H), in the dtype of what came in."""
        inner = nn.functional.linear(hidden.to(self.down.dtype), self.down, self.down_bias).relu()
        return nn.functional.linear(inner, self.up, self.up_bias).to(hidden.dtype)
