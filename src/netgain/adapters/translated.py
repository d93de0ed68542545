"""An adapter that was never trained on its model: translated from the source model's through anchors, or without."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import PositiveInt, model_validator

from netgain.adapters.method import Built
from netgain.spec.run import ModelSpec, RunRef, SpecError
from netgain.translate.names import FREE

if TYPE_CHECKING:
    from netgain.models.lm import LM

FEWEST = 3
"""Anchors below which none can be left out to choose a strength."""


class Translated(Built):
    """Delta W_Y from Delta W_X (netgain.translate): sum_i w_i Delta W_Y,i over anchors, or a map between the models.

    source    the run whose adapter is translated: the held-out task on the source model
    anchors   pairs of runs of one task, on the source and on the target model
    k         how many of the nearest anchors a top-k method mixes
    scale     how much of it is put in; "dev" tries 0.25, 0.5, 1 and 1.5 on the run's own dev rows
    rank      that of the result; the target anchors' own unless given
    """

    kind: Literal["translated"] = "translated"
    how: Literal[
        "zero",
        "mean",
        "random",
        "global_ridge",
        "pertensor_ridge",
        "topk_global_ridge",
        "topk_pertensor_ridge",
        "pertensor_pca",
        "pertensor_procrustes",
        "pertensor_mlp",
        "stitch",
        "stitch_procrustes",
        "subspace",
    ]
    source: RunRef
    anchors: tuple[tuple[RunRef, RunRef], ...] = ()
    k: PositiveInt = 8
    rank: PositiveInt | None = None

    @model_validator(mode="after")
    def _enough_anchors(self) -> "Translated":
        if self.how in FREE and self.anchors:
            raise SpecError(f"{self.how} uses no anchors; leave them out", "anchors")
        if self.how not in FREE and len(self.anchors) < FEWEST:
            raise SpecError(f"{self.how} needs at least {FEWEST} anchors, so that one can be left out", "anchors")
        if self.how in FREE and self.rank is not None:
            raise SpecError(f"{self.how} keeps the rank of the source adapter", "rank")
        return self

    def build(self, out: Path, folder_of: Callable[[RunRef], Path], lm: "LM", seed: int) -> dict[str, Any]:
        from netgain.translate.files import Adapter, write

        star = Adapter(folder_of(self.source) / "adapter")
        if self.how not in FREE:
            return self._mixed(out, star, folder_of, seed)
        from netgain.models.load import load
        from netgain.translate.free import without_anchors
        from netgain.translate.names import generic_texts

        spec = json.loads((folder_of(self.source) / "spec.json").read_text(encoding="utf-8"))["run"]["model"]
        source = load(ModelSpec.model_validate(spec), str(lm.device))
        found = without_anchors(self.how, star, source, lm, generic_texts())
        write(out, found.config, found.updates)
        return {"how": self.how, "inputs_explained": found.inputs, "outputs_explained": found.outputs}

    def _mixed(self, out: Path, star: Any, folder_of: Callable[[RunRef], Path], seed: int) -> dict[str, Any]:
        """The weighted sum of the target anchors; what the record says of the weights, as means over tensors."""
        import numpy as np

        from netgain.translate import maps
        from netgain.translate.anchors import Anchor, Anchors
        from netgain.translate.files import Adapter, write

        pairs = [tuple(Adapter(folder_of(ref) / "adapter") for ref in pair) for pair in self.anchors]
        anchors = Anchors([Anchor(str(i), source, target) for i, (source, target) in enumerate(pairs)])
        grams = anchors.grams(star)
        if self.how == "zero":
            weights = np.zeros((len(grams), len(pairs)))
        else:
            weights = maps.weights(self.how, grams, seed=seed, k=self.k)
        config = dict(anchors.anchors[0].target.config)
        rank = self.rank or int(config["r"])
        grown = rank / int(config["r"])
        config |= {"r": rank, "lora_alpha": config["lora_alpha"] * (grown**0.5 if config.get("use_rslora") else grown)}
        write(out, config, anchors.mix(weights, rank))
        chosen = maps.nearest(maps.total(grams), min(self.k, len(pairs))).tolist() if "topk" in self.how else None
        return {"how": self.how, "weights": weights.mean(0).round(4).tolist(), "selected": chosen}
