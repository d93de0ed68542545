"""Processes that hold one base together: each of them has a part of every layer, and all make every pass.

A pass gathers each layer from all processes, so all must come to it. Whatever decides how many passes there are, and of
how many rows, is therefore decided by the first process.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from torch import Tensor, distributed

T = TypeVar("T")


@dataclass(frozen=True)
class Holders:
    """Which of how many processes this is; alone, it holds the whole base."""

    rank: int = 0
    world: int = 1

    @property
    def several(self) -> bool:
        """Whether no process has the whole base."""
        return self.world > 1

    @property
    def first(self) -> bool:
        """Whether this process decides, and writes."""
        return self.rank == 0

    def agreed(self, tensor: Tensor) -> Tensor:
        """The first process's numbers; the others' were the same, but for what their machines round otherwise."""
        if self.several:
            tensor = tensor.contiguous()
            distributed.broadcast(tensor, src=0)
        return tensor

    def told(self, make: Callable[[], T]) -> T:
        """What the first process makes; the others do not make it, they hear it."""
        if not self.several:
            return make()
        said = [make() if self.first else None]
        distributed.broadcast_object_list(said, src=0)
        return said[0]  # type: ignore[return-value]


ALONE = Holders()
