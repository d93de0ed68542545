"""A translated adapter without anchors, from both models and generic text: stitching, or projection onto weights."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from netgain.models.lm import LM
from netgain.translate.files import Adapter, Place, counterparts
from netgain.translate.gauge import Update
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


def without_anchors(method: str, star: Adapter, source: LM, target: LM, texts: Sequence[str]) -> Found:
    """The adapter `star` of `source` for `target`, by one of names.FREE."""
    pairs = counterparts(star, [name for name, _ in target.net.named_modules()])
    if method == "subspace":
        updates = [(place, _projected(source, there, target, place, star)) for place, there in pairs.items()]
        return Found(updates, _config(star, target.name, list(pairs)))
    wanted = {place: (there, star.update(there)) for place, there in pairs.items()}
    stitched = list(stitch(source, target, wanted, texts, "procrustes" if method.endswith("procrustes") else "ridge"))
    return Found(
        [(each.place, each.update) for each in stitched],
        _config(star, target.name, list(pairs)),
        float(np.mean([each.inputs for each in stitched])),
        float(np.mean([each.outputs for each in stitched])),
    )


def _projected(source: LM, there: Place, target: LM, place: Place, star: Adapter) -> Update:
    ours, theirs = source.net.get_submodule(there.name), target.net.get_submodule(place.name)
    return subspace(_weight(ours), _weight(theirs), star.update(there), SUBSPACE_RANK)


def _weight(module: Any) -> np.ndarray:
    """(m, d); GPT-2's layers keep theirs the other way round."""
    weight = module.weight.detach().float().cpu().numpy()
    return weight.T if type(module).__name__ == "Conv1D" else weight


def _config(star: Adapter, base: str, places: Sequence[Place]) -> dict[str, Any]:
    """The source adapter's configuration, for the target's layers."""
    return {
        **star.config,
        "base_model_name_or_path": base,
        "target_modules": sorted({place.role.rsplit(".", 1)[-1] for place in places}),
    }
