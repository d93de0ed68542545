"""A translated adapter without anchors, from both models and generic text: stitching, or projection onto weights."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn
from transformers.pytorch_utils import Conv1D

from netgain.models.lm import LM
from netgain.translate.cka import similar_layers
from netgain.translate.files import Adapter, Place, counterparts
from netgain.translate.gauge import Update, stacked, truncate
from netgain.translate.stitch import stitch, subspace

SUBSPACE_RANK = 64
"""How many singular directions of a weight the subspace projection keeps."""


@dataclass(frozen=True)
class Found:
    """The target's updates and configuration; how much held-out variance the maps explain, where there are maps."""

    updates: list[tuple[Place, Update]]
    config: dict[str, Any]
    inputs: float | None = None
    outputs: float | None = None


def without_anchors(
    method: str, star: Adapter, source: LM, target: LM, texts: Sequence[str], layers: str = "depth"
) -> Found:
    """The adapter `star` of `source` for `target`, by one of netgain.spec.translation.FREE."""
    names = _linear(target)
    pairs = counterparts(star, names)
    if layers == "cka":
        pairs = counterparts(star, names, similar_layers(source, star.places, target, list(pairs), texts))
    wanted = {place: (there, stacked([star.update(each) for each in there])) for place, there in pairs.items()}
    config = _config(star, target, list(pairs), names)
    if method == "subspace":
        return Found([_projected(source, target, place, *each, star.rank) for place, each in wanted.items()], config)
    kind = "procrustes" if method.endswith("procrustes") else "ridge"
    stitched = list(stitch(source, target, wanted, texts, kind, star.rank))
    return Found(
        [(each.place, each.update) for each in stitched],
        config,
        float(np.mean([each.inputs for each in stitched])),
        float(np.mean([each.outputs for each in stitched])),
    )


def _projected(
    source: LM, target: LM, place: Place, there: Sequence[Place], update: Update, rank: int
) -> tuple[Place, Update]:
    ours = np.concatenate([_weight(source.net.get_submodule(each.name)) for each in there])
    made = subspace(ours, _weight(target.net.get_submodule(place.name)), update, SUBSPACE_RANK)
    return place, truncate(made, rank) if made.rank > rank else made


def _linear(lm: LM) -> list[str]:
    """The names of a model's linear layers."""
    return [name for name, module in lm.net.named_modules() if isinstance(module, (nn.Linear, Conv1D))]


def _weight(module: Any) -> np.ndarray:
    """(m, d); GPT-2's layers keep theirs the other way round."""
    weight = module.weight.detach().float().cpu().numpy()
    return weight.T if isinstance(module, Conv1D) else weight


def _config(star: Adapter, target: LM, places: Sequence[Place], names: Sequence[str]) -> dict[str, Any]:
    """The source adapter's configuration, for the target's layers: by the end of their names where that says enough."""
    wanted = {place.name for place in places}
    short = sorted({place.role.rsplit(".", 1)[-1] for place in places})
    meant = {name for name in names if name.rsplit(".", 1)[-1] in short}
    return {
        **star.config,
        "base_model_name_or_path": target.name,
        "target_modules": short if meant == wanted else sorted({place.role for place in places}),
        "fan_in_fan_out": isinstance(target.net.get_submodule(places[0].name), Conv1D),
    }
