"""One step over several processes: each does some of its micro-batches, and all get the sum of the gradients.

loss = sum_n weight_n term(n) / D with D over the whole step, so the gradients of the parts add up to the gradient of
one process. Everything else in a step is a function of (seed, stream, step), and is the same everywhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, distributed


@dataclass(frozen=True)
class Ranks:
    """Which of how many processes this is."""

    rank: int = 0
    world: int = 1

    @staticmethod
    def here() -> "Ranks":
        """The process group that torchrun's processes have joined; else this process alone."""
        if distributed.is_available() and distributed.is_initialized():
            return Ranks(distributed.get_rank(), distributed.get_world_size())
        return Ranks()

    def rows(self, batch: int, asked: int | None) -> int | None:
        """Rows of a micro-batch: so few that every process has one, and no more than asked for."""
        if self.world == 1:
            return asked
        each = -(-batch // self.world)
        return each if asked is None else min(asked, each)

    def parts(self, count: int) -> list[tuple[int, float]]:
        """Which of the micro-batches are this process's, and how each counts.

        They are as many in every process, since those that hold a base together (models/shard.py) make every pass
        together: where they do not come out even, the first one is repeated and counts 0."""
        turns = range(self.rank, -(-count // self.world) * self.world, self.world)
        return [(turn, 1.0) if turn < count else (0, 0.0) for turn in turns]

    def add(self, parameters: Sequence[Tensor], *numbers: Tensor) -> list[Tensor]:
        """Sum over processes: gradients in place, a tensor without one counting 0; the other numbers as new tensors."""
        if self.world == 1:
            return list(numbers)
        for tensor in parameters:
            if tensor.grad is None:
                tensor.grad = torch.zeros_like(tensor)
        gradients = [tensor.grad for tensor in parameters if tensor.grad is not None]
        for same in {gradient.dtype: None for gradient in gradients}:
            _sum_in_place([gradient for gradient in gradients if gradient.dtype == same])
        found = [number.clone() for number in numbers]
        for number in found:
            distributed.all_reduce(number)
        return found

    def any(self, here: bool) -> bool:
        """Whether it is so in any process."""
        if self.world == 1:
            return here
        found = torch.tensor(float(here))
        distributed.all_reduce(found)
        return bool(found)


ALONE = Ranks()


def _sum_in_place(tensors: Sequence[Tensor]) -> None:
    """One message for all tensors of a dtype."""
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    distributed.all_reduce(flat)
    start = 0
    for tensor in tensors:
        tensor.copy_(flat[start : start + tensor.numel()].view_as(tensor))
        start += tensor.numel()
