"""What each term saw of a run's first batch, counted from the rows themselves: evidence that no position has slipped.

A causal model predicts an answer's first token at the last token of its prompt. A term that reads one position late
misses that prediction, and reads one behind the end: its loss falls like any other, so only counting shows it.
"""

from collections.abc import Sequence
from typing import Any

import torch

from netgain.data.chat import Encoded
from netgain.objectives.selection import select
from netgain.training.loop import Training


@torch.no_grad()
def saw(training: Training, arm: int, rows: Sequence[Encoded]) -> dict[str, dict[str, Any]]:
    """term -> share of answers whose first token it saw, share of those with template tokens in which it saw one.

    Terms that choose among an answer's tokens, or among rows, are left out: they may miss any.
    """
    if not training.student.lm.causal:
        return {}
    view = training.views(0)
    encoded = [rows[i] for i in view.origin.tolist()]
    starts = torch.tensor([0, *(len(row.answer) for row in encoded)]).cumsum(0).tolist()
    first = [start + row.lead for start, row in zip(starts, encoded, strict=False)]
    template = [
        [*range(start, start + row.lead), *range(stop - row.end, stop)]
        for start, stop, row in zip(starts[:-1], starts[1:], encoded, strict=True)
    ]
    found: dict[str, dict[str, Any]] = {}
    for part in training.objective.parts:
        if part.tokens not in ("all", "content") or not part.weights[arm]:
            continue
        on = (select(view, [part.tokens], training.seed, 0, training.sources)[part.tokens].weight > 0).tolist()
        found[part.name] = {
            "tokens": part.tokens,
            "rows": len(encoded),
            "first": sum(on[i] for i in first) / len(encoded),
            "template": sum(any(on[i] for i in own) for own in template) / len(encoded),
        }
    return found
