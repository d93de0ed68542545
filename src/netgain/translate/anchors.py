"""Translation through anchors: pairs of adapters of the same task on both models, read tensor by tensor.

Two passes. The first makes the N x N inner products of each tensor; a method turns them into weights (maps.py). The
second mixes the target anchors by their weights and truncates. Memory is the anchors of one tensor, never all of them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from netgain.errors import UserError
from netgain.translate.files import Adapter, Place, match_depth, same_places, write
from netgain.translate.gauge import Bundle, Update, cross_inner
from netgain.translate.maps import Grams


@dataclass(frozen=True)
class Anchor:
    """One task's adapter on the source and on the target model."""

    name: str
    source: Adapter
    target: Adapter


class Anchors:
    """N anchors of two models, and which source layers answer to which target layer."""

    def __init__(self, anchors: Sequence[Anchor]) -> None:
        if len(anchors) < 3:
            raise UserError(f"{len(anchors)} anchors are too few to leave one out; give at least 3.")
        if len({anchor.name for anchor in anchors}) < len(anchors):
            raise UserError("two anchors have the same name.")
        self.anchors = tuple(anchors)
        self.source_places = same_places([anchor.source for anchor in anchors])
        self.places = same_places([anchor.target for anchor in anchors])
        self.answers = match_depth(self.source_places, self.places)

    @property
    def names(self) -> tuple[str, ...]:
        """The anchors' names, in the order of every weight."""
        return tuple(anchor.name for anchor in self.anchors)

    def grams(self, star: Adapter) -> list[Grams]:
        """The inner products of every target tensor, with its source layer's, and with the adapter `star`."""
        same_places([self.anchors[0].source, star])
        sources = {place: self._source(place, star) for places in self.answers.values() for place in places}
        found: list[Grams] = []
        for place in self.places:
            parts = [sources[there] for there in self.answers[place]]
            x, cross, own = (sum(part[i] for part in parts) for i in range(3))
            found.append(Grams(np.asarray(x), self._targets(place).inner(), np.asarray(cross), float(own)))
        return found

    def mix(self, weights: np.ndarray, rank: int | None = None) -> Iterator[tuple[Place, Update]]:
        """The target's updates under weights (T, N), of the anchors' rank or of another."""
        for place, row in zip(self.places, weights, strict=True):
            yield place, self._targets(place).combine(row, rank or self.anchors[0].target.rank)

    def write(self, folder: Path, weights: np.ndarray) -> None:
        """The translated adapter, with the configuration of the target anchors."""
        write(folder, self.anchors[0].target.config, self.mix(weights))

    def _source(self, place: Place, star: Adapter) -> tuple[np.ndarray, np.ndarray, float]:
        """Inner products of the source anchors at one place, with `star`, and of `star` with itself."""
        bundle = Bundle([anchor.source.update(place) for anchor in self.anchors])
        own = star.update(place)
        return bundle.inner(), cross_inner(bundle, own), _squared(own)

    def _targets(self, place: Place) -> Bundle:
        return Bundle([anchor.target.update(place) for anchor in self.anchors])


def _squared(update: Update) -> float:
    """||Delta W||^2 = tr((b'b)(a a'))."""
    return float(((update.b.T @ update.b) * (update.a @ update.a.T)).sum())
