"""An adapter that was never trained on its model: translated from the source model's through anchors, or without."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import PositiveInt, model_validator

from netgain.adapters.method import Built, Shop
from netgain.spec.run import ModelSpec, RunRef, SpecError
from netgain.spec.translation import FREE, Distil, How

if TYPE_CHECKING:
    from netgain.models.lm import LM
    from netgain.translate.anchors import Anchors
    from netgain.translate.maps import Ridges

FEWEST = 3
"""Anchors below which none can be left out to choose a strength."""
EVERY = 3
"""Of the strengths that the algebra knows exactly, every so many-th is tried on the anchors' dev rows."""


class Translated(Built):
    """Delta W_Y from Delta W_X (netgain.translate): sum_i w_i Delta W_Y,i over anchors, or a map between the models.

    source    the run whose adapter is translated: the held-out task on the source model
    anchors   pairs of runs of one task, on the source and on the target model
    k         how many of the nearest anchors a top-k method mixes
    strength  what chooses a ridge's strength when each anchor is translated by the others: the distance of the updates,
              in closed form over the whole path, or the loss of the translated adapters on the anchors' own dev rows
    layers    which source layer answers to a target layer: that of its relative depth, or the most similar by CKA
    distil    of method distil: where it starts and how it goes on
    scale     how much of it is put in; "dev" tries 0.25, 0.5, 1 and 1.5 on the run's own dev rows
    rank      that of the result; the target anchors' own unless given
    """

    kind: Literal["translated"] = "translated"
    how: How
    source: RunRef
    anchors: tuple[tuple[RunRef, RunRef], ...] = ()
    k: PositiveInt = 8
    rank: PositiveInt | None = None
    strength: Literal["updates", "loss"] = "updates"
    layers: Literal["depth", "cka"] = "depth"
    distil: Distil = Distil()

    @property
    def begun(self) -> str:
        """The method without the steps that follow it."""
        return self.distil.start if self.how == "distil" else self.how

    @model_validator(mode="after")
    def _enough_anchors(self) -> "Translated":
        if self.begun in FREE and self.anchors:
            raise SpecError(f"{self.begun} uses no anchors; leave them out", "anchors")
        if self.begun not in FREE and len(self.anchors) < FEWEST:
            raise SpecError(f"{self.begun} needs at least {FEWEST} anchors, so that one can be left out", "anchors")
        if self.begun in FREE and self.rank is not None:
            raise SpecError(f"{self.begun} keeps the rank of the source adapter", "rank")
        if self.strength == "loss" and "ridge" not in self.begun:
            raise SpecError(f"{self.begun} has no strength to choose; leave it out", "strength")
        return self

    def build(self, out: Path, shop: Shop) -> dict[str, Any]:
        from netgain.translate.files import Adapter, write

        star = Adapter(shop.folder_of(self.source) / "adapter")
        if self.begun not in FREE:
            return {"how": self.how, **self._mixed(out, star, shop)}
        from netgain.translate.free import without_anchors
        from netgain.translate.names import generic_texts

        found = without_anchors(self.begun, star, self.source_lm(shop), shop.lm, generic_texts(), self.layers)
        write(out, found.config, found.updates)
        return {"how": self.how, "inputs_explained": found.inputs, "outputs_explained": found.outputs}

    def source_lm(self, shop: Shop) -> "LM":
        """The source model, without its adapter."""
        from netgain.models.load import load

        spec = json.loads((shop.folder_of(self.source) / "spec.json").read_text(encoding="utf-8"))["run"]["model"]
        return load(ModelSpec.model_validate(spec), str(shop.lm.device))

    def _mixed(self, out: Path, star: Any, shop: Shop) -> dict[str, Any]:
        """The weighted sum of the target anchors; what the record says of the weights, as means over tensors."""
        from netgain.translate import maps
        from netgain.translate.anchors import Anchor, Anchors
        from netgain.translate.files import Adapter, write

        pairs = [tuple(Adapter(shop.folder_of(ref) / "adapter") for ref in pair) for pair in self.anchors]
        named = [Anchor(str(i), source, target) for i, (source, target) in enumerate(pairs)]
        anchors = Anchors(named, self._depths(shop, named))
        grams = anchors.grams(star)
        about: dict[str, Any] = {}
        if self.strength == "loss":
            ridges = maps.ridges(self.begun, grams, self.k)
            losses = self._losses(ridges, anchors, shop)
            best = min(losses, key=lambda at: (losses[at], -at))
            weights = ridges.weights(best)
            about["left_out_losses"] = {f"{maps.PATH[at]:.3g}": loss for at, loss in losses.items()}
        else:
            weights = maps.weights(self.begun, grams, seed=shop.seed, k=self.k)
        config = dict(anchors.anchors[0].target.config)
        rank = self.rank or int(config["r"])
        grown = rank / int(config["r"])
        config |= {"r": rank, "lora_alpha": config["lora_alpha"] * (grown**0.5 if config.get("use_rslora") else grown)}
        write(out, config, anchors.mix(weights, rank))
        topk = "topk" in self.begun
        chosen = maps.nearest(maps.total(grams), min(self.k, len(pairs))).tolist() if topk else None
        return {"weights": weights.mean(0).round(4).tolist(), "selected": chosen, **about}

    def _depths(self, shop: Shop, anchors: Any) -> dict[int, int] | None:
        if self.layers == "depth":
            return None
        from netgain.translate.cka import similar_layers
        from netgain.translate.names import generic_texts

        first = anchors[0]
        return similar_layers(self.source_lm(shop), first.source.places, shop.lm, first.target.places, generic_texts())

    def _losses(self, ridges: "Ridges", anchors: "Anchors", shop: Shop) -> dict[int, float]:
        """strength -> mean over the anchors that are mixed of the dev loss of each as the others translate it."""
        from netgain.translate.files import tensors

        tried = range(0, ridges.count, EVERY)
        sums = dict.fromkeys(tried, 0.0)
        for i in ridges.chosen:
            with shop.trial(self.anchors[i][1]) as loss:
                for at in tried:
                    sums[at] += loss(tensors(anchors.anchors[0].target.config, anchors.mix(ridges.left_out(at, i))))
        return {at: total / len(ridges.chosen) for at, total in sums.items()}
