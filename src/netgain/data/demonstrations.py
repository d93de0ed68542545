"""Which rows are shown, answered, before a question: drawn for each question once and for all.

The pool is of training rows, so nothing that is measured is ever shown; the question's own group is left out.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from netgain.data.source import Example
from netgain.errors import UserError
from netgain.spec.identity import stream


def demonstrations(example: Example, pool: Sequence[Example], shots: int, seed: int) -> tuple[Example, ...]:
    """`shots` rows of the pool, of different groups and none of the example's: the same for this example ever after."""
    if not shots:
        return ()
    groups, shown = {example.group}, list[Example]()
    for i in stream(seed, f"shots/{example.id}").permutation(len(pool)):
        if pool[i].group not in groups:
            groups.add(pool[i].group)
            shown.append(pool[i])
        if len(shown) == shots:
            return tuple(shown)
    raise UserError(
        f'"{example.id}" is to be shown {shots} demonstrations of different groups and there are {len(shown)}; '
        "give more training rows or fewer shots."
    )


def with_others_answers(pool: Sequence[Example], rng: np.random.Generator) -> list[Example]:
    """The same questions, each with the answer of another row: one cycle through all rows, in random order.

    Every answer occurs as often as before, and none stays where it was, so a single demonstration is changed too. With
    few labels some answers are right by chance, at their own frequency: the labels say nothing, rather than the
    opposite.
    """
    order = rng.permutation(len(pool))
    taken = dict(zip(order.tolist(), np.roll(order, 1).tolist(), strict=True))
    return [replace(example, answer=pool[taken[i]].answer) for i, example in enumerate(pool)]
