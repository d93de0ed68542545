"""Translation through anchors: pairs of adapters of the same task on both models, read tensor by tensor.

Two passes. The first makes the N x N inner products of each tensor; a method turns them into weights (maps.py). The
second mixes the target anchors by their weights and truncates. Memory is the anchors of a few tensors, never all of
them; tensors are read and multiplied by as many threads as torch may use.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from netgain.errors import UserError
from netgain.translate.files import Adapter, Place, bundle, match_depth, same_places, write
from netgain.translate.gauge import Products, Update, cross_inner
from netgain.translate.maps import Grams

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Anchor:
    """One task's adapter on the source and on the target model."""

    name: str
    source: Adapter
    target: Adapter


class Anchors:
    """N anchors of two models, and which source layers answer to which target layer: those at its relative depth,
    unless `depths` names the source layer of each target layer."""

    def __init__(self, anchors: Sequence[Anchor], depths: Mapping[int, int] | None = None) -> None:
        if len(anchors) < 3:
            raise UserError(f"{len(anchors)} anchors are too few to leave one out; give at least 3.")
        if len({anchor.name for anchor in anchors}) < len(anchors):
            raise UserError("two anchors have the same name.")
        self.anchors = tuple(anchors)
        self.source_places = same_places([anchor.source for anchor in anchors])
        self.places = same_places([anchor.target for anchor in anchors])
        self.answers = match_depth(self.source_places, self.places, depths)
        self._products: dict[Place, Products] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """The anchors' names, in the order of every weight."""
        return tuple(anchor.name for anchor in self.anchors)

    def grams(self, star: Adapter) -> list[Grams]:
        """The inner products of every target tensor, with its source layer's, and with the adapter `star`."""
        same_places([self.anchors[0].source, star])
        wanted = dict.fromkeys(place for places in self.answers.values() for place in places)
        sources = dict(zip(wanted, in_order(lambda place: self._source(place, star), wanted), strict=True))
        found: list[Grams] = []
        for place, products in zip(self.places, in_order(self._target, self.places), strict=True):
            self._products[place] = products
            parts = [sources[there] for there in self.answers[place]]
            x, cross, own = (sum(part[i] for part in parts) for i in range(3))
            found.append(Grams(np.asarray(x), products.inner(), np.asarray(cross), float(own)))
        return found

    def mix(self, weights: np.ndarray, rank: int | None = None) -> Iterator[tuple[Place, Update]]:
        """The target's updates under weights (T, N), of the anchors' rank or of another."""
        wanted = rank or self.anchors[0].target.rank
        targets = [anchor.target for anchor in self.anchors]

        def mixed(at: tuple[Place, np.ndarray]) -> tuple[Place, Update]:
            place, row = at
            return place, bundle(targets, place).combine(row, wanted, self._products.get(place))

        yield from in_order(mixed, zip(self.places, weights, strict=True))

    def write(self, folder: Path, weights: np.ndarray) -> None:
        """The translated adapter, with the configuration of the target anchors."""
        write(folder, self.anchors[0].target.config, self.mix(weights))

    def _source(self, place: Place, star: Adapter) -> tuple[np.ndarray, np.ndarray, float]:
        """Inner products of the source anchors at one place, with `star`, and of `star` with itself."""
        found = bundle([anchor.source for anchor in self.anchors], place)
        own = star.update(place)
        return found.inner(), cross_inner(found, own), _squared(own)

    def _target(self, place: Place) -> Products:
        return bundle([anchor.target for anchor in self.anchors], place).products()


def in_order(work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """map(work, items) on torch's number of threads, at most one item a thread ahead of what is taken. Each computes
    alone: threads of its own for every product would only get in the others' way."""
    threads = torch.get_num_threads()
    if threads == 1:
        yield from map(work, items)
        return
    ahead: deque[Future[R]] = deque()
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(threads) as pool:
        for item in items:
            ahead.append(pool.submit(work, item))
            if len(ahead) > threads:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def _squared(update: Update) -> float:
    """||Delta W||^2 = tr((b'b)(a a'))."""
    return float(((update.b.T @ update.b) * (update.a @ update.a.T)).sum())
