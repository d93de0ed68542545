"""Splits that no group crosses: a group's side is a hash of its name, so adding rows never moves others."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from itertools import combinations

from netgain.data.source import Example
from netgain.errors import UserError


def position(group: str, seed: int) -> float:
    """A number in [0, 1) that depends on nothing but the group and the seed."""
    return int.from_bytes(hashlib.sha256(f"{seed}/split/{group}".encode()).digest()[:8], "big") / 2**64


def split(examples: Sequence[Example], dev: float | int, seed: int) -> tuple[list[Example], list[Example]]:
    """(train, dev) by group, both in the order given.

    dev < 1     the groups whose position lies below `dev` (the lowest one if none does)
    dev >= 1    the groups of the lowest positions until they hold `dev` rows
    """
    if dev == 0:
        return list(examples), []
    sizes = Counter(example.group for example in examples)
    ranked = sorted(sizes, key=lambda group: position(group, seed))
    if dev < 1:
        held = {group for group in ranked if position(group, seed) < dev} or set(ranked[:1])
    else:
        held, rows = set(), 0
        for group in ranked:
            if rows >= dev:
                break
            held.add(group)
            rows += sizes[group]
    train = [example for example in examples if example.group not in held]
    if not train:
        raise UserError(
            f"data.dev: holding out {dev:g} of {len(examples)} rows in {len(sizes)} groups leaves none to learn from; "
            "hold out fewer."
        )
    return train, [example for example in examples if example.group in held]


def require_disjoint(**named: Sequence[Example]) -> None:
    """Refuse sets of examples that share an id or a group."""
    for (left, ours), (right, theirs) in combinations(named.items(), 2):
        ids, groups = {row.id for row in ours}, {row.group for row in ours}
        shared = [row for row in theirs if row.id in ids or row.group in groups]
        if shared:
            raise UserError(
                f'{left} and {right} share {len(shared)} rows or their groups, such as the row "{shared[0].id}"; one '
                "of them must lose it, or a score of it is a score of memory."
            )
