"""`netgain translate`: a LoRA adapter of one model as a LoRA adapter of another, and how far it may be believed.

Anchors lie in a folder: NAME/source and NAME/target are one task's adapters on the two models. Methods that need none
read generic text through both models, or only their weights.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from netgain.errors import UserError, did_you_mean
from netgain.stats.intervals import mean
from netgain.translate import maps
from netgain.translate.anchors import Anchor, Anchors
from netgain.translate.files import Adapter, write
from netgain.translate.names import FREE, generic_texts

METHODS = (*maps.METHODS, *FREE)
EXACT = 1e-9
"""A squared error below this share of the mean's is none: the rest is rounding."""
PROBES = 24
"""How many texts measure the effect of an adapter."""


@dataclass(frozen=True)
class Fidelity:
    """What is known about a translated adapter before it meets its task.

    For methods with anchors: the share of the squared error of `mean` that is left when each anchor is translated by
    the others, with its interval. For stitching: how much held-out variance the maps explain. `effect` is
    KL(base || adapted) per token on probe text, of the source adapter on its model and of the translated one on its
    own.
    """

    method: str
    sentence: str
    anchors: int = 0
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    inputs: float | None = None
    outputs: float | None = None
    source_effect: float | None = None
    target_effect: float | None = None


@dataclass(frozen=True)
class Asked:
    """What the command line asks for."""

    source: Path
    base: str | None
    target: str
    method: str
    anchors: Path | None
    texts: Path | None
    out: Path
    seed: int
    k: int


def translate(asked: Asked) -> Fidelity:
    """Write the adapter and `fidelity.json` beside it."""
    if asked.method not in METHODS:
        near = did_you_mean(asked.method, METHODS)
        raise UserError(f'"{asked.method}" is no method of translation.{near} They are {", ".join(METHODS)}.')
    if asked.out.exists():
        raise UserError(f"{asked.out}: exists already; name a folder that does not.")
    star = Adapter(asked.source)
    found = _through_anchors(asked, star) if asked.method in maps.METHODS else _without_anchors(asked, star)
    (asked.out / "fidelity.json").write_text(json.dumps(asdict(found), indent=1), encoding="utf-8")
    return found


# ---- with anchors


def read_anchors(folder: Path) -> Anchors:
    """Every NAME/source with NAME/target under a folder."""
    names = sorted(path.name for path in folder.iterdir() if (path / "source").is_dir()) if folder.is_dir() else []
    if not names:
        raise UserError(f"{folder}: holds no anchors; one is a folder NAME with the adapters NAME/source, NAME/target.")
    return Anchors(
        [Anchor(name, Adapter(folder / name / "source"), Adapter(folder / name / "target")) for name in names]
    )


def _through_anchors(asked: Asked, star: Adapter) -> Fidelity:
    if asked.anchors is None:
        raise UserError(f"method {asked.method} mixes anchors: name their folder with --anchors.")
    anchors = read_anchors(asked.anchors)
    grams = anchors.grams(star)
    anchors.write(asked.out, maps.weights(asked.method, grams, seed=asked.seed, k=asked.k))
    return judged(asked.method, anchors.names, grams, seed=asked.seed, k=asked.k)


def judged(method: str, names: Sequence[str], grams: list[maps.Grams], *, seed: int, k: int) -> Fidelity:
    """Is the method closer to the truth than the mean of the anchors, on anchors that it did not see?"""
    count = len(names)
    if method == "mean":
        return Fidelity(method, "This is the mean of the anchors, which knows nothing of the source adapter.", count)
    own = maps.left_out(method, grams, seed=seed, k=k)
    plain = maps.left_out("mean", grams)
    logs = np.log(np.maximum(own / plain, EXACT))
    interval = mean(logs)
    ratio, low, high = (float(np.exp(value)) for value in (logs.mean(), interval.low, interval.high))
    said = f"{ratio:.2f} times the squared error of the anchors' mean (95 % interval {low:.2f} to {high:.2f})"
    verdict = "better than" if high < 1 else "worse than" if low > 1 else "no better, as far as can be told, than"
    sentence = (
        f"Each of {count} anchors translated by the others: {said}. In weights, {method} is {verdict} the trivial "
        "baseline; only a measurement on the task itself says what that is worth."
    )
    return Fidelity(method, sentence, count, ratio, low, high)


# ---- without anchors


def _without_anchors(asked: Asked, star: Adapter) -> Fidelity:
    from netgain.models.load import load
    from netgain.spec.run import ModelSpec
    from netgain.translate.free import without_anchors

    base = asked.base or star.config.get("base_model_name_or_path")
    if not base:
        raise UserError(f"{asked.source}: its configuration does not name its base model; give it with --base.")
    source, target = load(ModelSpec(id=base)), load(ModelSpec(id=asked.target))
    texts = _texts(asked.texts)
    found = without_anchors(asked.method, star, source, target, texts)
    write(asked.out, found.config, found.updates)
    inputs, outputs = found.inputs, found.outputs
    before, after = effect(source, asked.source, texts), effect(target, asked.out, texts)
    return Fidelity(
        asked.method,
        _said(inputs, outputs, before, after),
        inputs=inputs,
        outputs=outputs,
        source_effect=before,
        target_effect=after,
    )


def _said(inputs: float | None, outputs: float | None, before: float, after: float) -> str:
    effects = (
        f"On probe text the source adapter moves its model by {before:.3g} nats a token (KL from the base), the "
        f"translated one its own by {after:.3g}."
    )
    if inputs is None or outputs is None:
        return f"{effects} Nothing says yet that it moves it in the same direction: measure it on the task."
    return (
        f"The maps explain {inputs:.0%} of the variance of the layers' inputs and {outputs:.0%} of their outputs on "
        f"held-out text. {effects} Measure it on the task before it is believed."
    )


def _texts(path: Path | None) -> list[str]:
    """Paragraphs of a text file, or generic English that netgain generates itself."""
    if path is not None:
        found = [part.strip() for part in path.read_text(encoding="utf-8").split("\n\n") if part.strip()]
        if not found:
            raise UserError(f"{path}: holds no text.")
        return found
    return generic_texts()


def effect(lm: Any, folder: Path, texts: Sequence[str]) -> float:
    """KL(base || adapted) in nats a token on the first probe texts: how much an adapter changes its model."""
    import torch

    from netgain.translate.peek import adapted

    moved = tokens = 0.0
    probes = [torch.tensor([lm.tok.encode(text)[:256]], device=lm.device) for text in texts[:PROBES]]
    with torch.no_grad():
        before = [lm.head.logits(lm.hidden(ids)).float().log_softmax(-1) for ids in probes]
        with adapted(lm, folder):
            for ids, log_p in zip(probes, before, strict=True):
                log_q = lm.head.logits(lm.hidden(ids)).float().log_softmax(-1)
                moved += float((log_p.exp() * (log_p - log_q)).sum())
                tokens += ids.shape[1]
    return moved / tokens
