"""Which rows make which optimiser step: epochs shuffled one after the other, cut into batches without a remainder."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Order:
    """Step k holds rows k*batch .. (k+1)*batch - 1 of an endless chain of permutations of range(n).

    Any step is found without walking to it, so a resumed run sees exactly the steps that it would have seen.
    """

    n: int
    batch: int
    key: int

    def epoch(self, number: int) -> np.ndarray:
        """The permutation of epoch `number`, (n,)."""
        return np.random.default_rng([self.key, number]).permutation(self.n)

    def step(self, k: int, lengths: Sequence[int] | None = None) -> np.ndarray:
        """The rows of step k, (batch,); with lengths, longest first.

        Lengths only arrange rows inside their step, for micro-batches of like length: which rows make a step never
        depends on them.
        """
        first, last = k * self.batch, (k + 1) * self.batch
        epochs = range(first // self.n, (last - 1) // self.n + 1)
        chain = np.concatenate([self.epoch(number) for number in epochs])
        rows = chain[first - epochs[0] * self.n : last - epochs[0] * self.n]
        if lengths is None:
            return rows
        return rows[np.argsort([-lengths[row] for row in rows], kind="stable")]


def order(
    n: int,
    batch: int,
    steps: int,
    rng: np.random.Generator,
    *,
    lengths: Sequence[int] | None = None,
    start: int = 0,
) -> Iterator[np.ndarray]:
    """The rows of steps start .. steps - 1; the generator is read once, so skipping ahead changes nothing."""
    chosen = Order(n, batch, int(rng.integers(2**63)))
    return (chosen.step(k, lengths) for k in range(start, steps))
