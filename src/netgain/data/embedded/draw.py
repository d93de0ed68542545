"""The random draws of one generated row: the same on every machine, and disjoint between seeds by construction.

Row i of a suite depends on (suite, seed, i) alone, so fewer rows are a prefix of more. What identifies a row's content
is its *family*, a tuple of indices. The families are divided into `CELLS` cells, and a seed only meets the families of
its own cell, seed mod CELLS: rows of two seeds that differ modulo CELLS never share a group.

The generator is SplitMix64 written out (Steele, Lea and Flood 2014), because neither `random` nor numpy's `Generator`
promises the same `choice` in every version.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import TypeVar

CELLS = 8
PRETRAINING_CELLS = (4, 5, 6, 7)
"""The cells that the embedded tiny models were pretrained on: rows of seeds 0, 1, 2 and 3 modulo 8 are new to them."""

_MASK = 2**64 - 1
_GAMMA = 0x9E3779B97F4A7C15

T = TypeVar("T")


def _mix(z: int) -> int:
    """A bijection of 64 bits that spreads every bit of z over the whole word."""
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)


class Draw:
    """The stream of draws of row `index` of a suite under a seed."""

    __slots__ = ("cell", "state")

    def __init__(self, suite: str, seed: int, index: int) -> None:
        self.state = int.from_bytes(sha256(f"{suite}/{seed}/{index}".encode()).digest()[:8], "big")
        self.cell = seed % CELLS

    def below(self, n: int) -> int:
        """A uniform integer in 0..n-1."""
        self.state = (self.state + _GAMMA) & _MASK
        return (_mix(self.state) * n) >> 64

    def choice(self, items: Sequence[T]) -> T:
        """A uniform item."""
        return items[self.below(len(items))]

    def chance(self, numerator: int, denominator: int) -> bool:
        """True with probability numerator/denominator."""
        return self.below(denominator) < numerator

    def sample(self, items: Sequence[T], k: int) -> list[T]:
        """k distinct items in random order."""
        pool = list(items)
        for i in range(k):
            j = i + self.below(len(pool) - i)
            pool[i], pool[j] = pool[j], pool[i]
        return pool[:k]

    def family(self, *sizes: int) -> tuple[int, ...]:
        """Indices below `sizes` whose family lies in this seed's cell.

        A family (a, ..., y, z) is of cell (h(a, ..., y) + z) mod CELLS: all but the last index are free, the last takes
        every CELLS-th value. So every value occurs in every cell, and only the combinations are divided.
        """
        *free, last = sizes
        head = [self.below(size) for size in free]
        h = 0
        for index in head:
            h = _mix((h * 31 + index + _GAMMA) & _MASK)
        start = (self.cell - h) % CELLS
        return (*head, start + CELLS * self.below((last - start + CELLS - 1) // CELLS))
