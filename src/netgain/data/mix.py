"""Mixtures with exact counts: largest remainders, rows drawn without replacement, a record of what was drawn."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from netgain.data.source import Example
from netgain.errors import UserError


@dataclass(frozen=True, slots=True)
class Mixture:
    """For every source: its share, the rows planned, the rows there are, the rows drawn."""

    share: dict[str, float]
    planned: dict[str, int]
    available: dict[str, int]
    drawn: dict[str, int]
    repeated: bool

    def to_json(self) -> dict[str, Any]:
        """As it goes into a run's data.json."""
        return asdict(self)


def apportion(shares: Mapping[str, float], rows: int) -> dict[str, int]:
    """Whole numbers that add up to `rows`, each within 1 of its exact share: the largest remainders are rounded up."""
    total = sum(shares.values())
    exact = {name: rows * share / total for name, share in shares.items()}
    counts = {name: int(value) for name, value in exact.items()}
    by_remainder = sorted(exact, key=lambda name: counts[name] - exact[name])
    for name in by_remainder[: rows - sum(counts.values())]:
        counts[name] += 1
    return counts


def balanced(pools: Mapping[str, Sequence[Example]], temperature: float) -> dict[str, float]:
    """Shares in proportion to n^(1/T): T = 1 by size, a large T all alike."""
    return {name: len(pool) ** (1 / temperature) for name, pool in pools.items()}


def mix(
    pools: Mapping[str, Sequence[Example]],
    weights: Mapping[str, float] | None,
    rows: int | None,
    rng: np.random.Generator,
    *,
    repeat: bool = False,
) -> tuple[list[Example], Mixture]:
    """`rows` examples with shares `weights`; without weights by size, without rows every row once.

    A pool that is too small is an error, unless `repeat` allows each of its rows to be drawn equally often (within 1).
    """
    available = {name: len(pool) for name, pool in pools.items()}
    shares = {name: float(weights.get(name, 0.0)) for name in pools} if weights is not None else None
    if shares is None:
        shares = {name: float(count) for name, count in available.items()}
    planned = apportion(shares, rows) if rows is not None else dict(available)
    chosen: dict[str, list[Example]] = {}
    for (name, pool), draw in zip(pools.items(), rng.spawn(len(pools)), strict=True):
        wanted = planned[name]
        if wanted > len(pool) and not (repeat and pool):
            raise UserError(
                f'data.mixture: "{name}" has {len(pool)} rows to learn from and its share of {rows} is {wanted}; '
                "lower data.rows or its share."
            )
        picks: list[int] = []
        while len(picks) < wanted:
            picks += draw.permutation(len(pool))[: wanted - len(picks)].tolist()
        chosen[name] = [pool[i] for i in picks] if rows is not None else list(pool)
    total = sum(shares.values())
    mixture = Mixture(
        share={name: share / total for name, share in shares.items()},
        planned=planned,
        available=available,
        drawn={name: len(examples) for name, examples in chosen.items()},
        repeated=any(planned[name] > available[name] for name in pools),
    )
    return [example for examples in chosen.values() for example in examples], mixture
