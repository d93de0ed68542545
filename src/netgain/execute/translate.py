"""`netgain translate`: a LoRA adapter of one model as a LoRA adapter of another, and how far it may be believed.

Anchors lie in a folder: NAME/source and NAME/target are one task's adapters on the two models. Methods that need none
read generic text through both models, or only their weights.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from netgain.errors import UserError, did_you_mean
from netgain.execute.fidelity import Functional, functional
from netgain.ledger.store import Ledger
from netgain.spec.translation import FREE, Distil, How
from netgain.stats.intervals import mean
from netgain.translate import maps
from netgain.translate.anchors import Anchor, Anchors
from netgain.translate.files import Adapter, write
from netgain.translate.names import generic_texts

if TYPE_CHECKING:
    from netgain.models.lm import LM

METHODS: tuple[str, ...] = get_args(How)
LAYERS = ("depth", "cka")
EXACT = 1e-9
"""A squared error below this share of the mean's is none: the rest is rounding."""


@dataclass(frozen=True)
class Fidelity:
    """What is known about a translated adapter before it meets its task.

    For methods with anchors: the share of the squared error of `mean` that is left when each anchor is translated by
    the others, with its interval, and how far that is in function. For stitching: how much held-out variance the maps
    explain. `effect` is KL(base || adapted) per token on probe text, of the source adapter on its model and of the
    translated one on its own.
    """

    method: str
    sentence: str
    anchors: int = 0
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    functional: Functional | None = None
    inputs: float | None = None
    outputs: float | None = None
    source_effect: float | None = None
    target_effect: float | None = None
    distilled: dict[str, Any] | None = None


@dataclass(frozen=True)
class Asked:
    """What the command line asks for; `source` is a folder, or the sig of a run in `ledger`."""

    source: Path
    base: str | None
    target: str
    method: str
    anchors: Path | None
    texts: Path | None
    out: Path
    seed: int
    k: int
    layers: str = "depth"
    probe: bool = True
    ledger: Path = Path("ledger")

    @cached_property
    def star(self) -> Adapter:
        """The adapter to be translated."""
        return Adapter(self.source if self.source.is_dir() else Ledger(self.ledger).find(str(self.source)).path)

    @cached_property
    def source_lm(self) -> "LM":
        """The model of the adapter to be translated."""
        base = self.base or self.star.config.get("base_model_name_or_path")
        if not base:
            raise UserError(f"{self.source}: its configuration does not name its base model; give it with --base.")
        return _loaded(base)

    @cached_property
    def target_lm(self) -> "LM":
        """The model that the adapter is translated for."""
        return _loaded(self.target)

    @cached_property
    def read(self) -> list[str]:
        """Paragraphs of a text file, or generic English that netgain generates itself."""
        if self.texts is None:
            return generic_texts()
        found = [part.strip() for part in self.texts.read_text(encoding="utf-8").split("\n\n") if part.strip()]
        if not found:
            raise UserError(f"{self.texts}: holds no text.")
        return found


def _loaded(name: str) -> "LM":
    from netgain.models.load import load
    from netgain.spec.run import ModelSpec

    return load(ModelSpec(id=name))


def translate(asked: Asked) -> Fidelity:
    """Write the adapter and `fidelity.json` beside it."""
    if asked.method not in METHODS:
        near = did_you_mean(asked.method, METHODS)
        raise UserError(f'"{asked.method}" is no method of translation.{near} They are {", ".join(METHODS)}.')
    if asked.layers not in LAYERS:
        raise UserError(f'--layers takes {" or ".join(LAYERS)}, not "{asked.layers}".')
    if asked.out.exists():
        raise UserError(f"{asked.out}: exists already; name a folder that does not.")
    if asked.method == "distil":
        found = _distilled(asked)
    else:
        found = _without_anchors(asked) if asked.method in FREE else _through_anchors(asked)
    (asked.out / "fidelity.json").write_text(json.dumps(asdict(found), indent=1), encoding="utf-8")
    return found


def _distilled(asked: Asked) -> Fidelity:
    """Translated through anchors if there are any, else stitched; then taught what the source writes to the texts."""
    from netgain.adapters._torch.peft import from_folder
    from netgain.data.chat import Template
    from netgain.data.source import Example, Turn
    from netgain.execute.distil import answered, teach
    from netgain.spec.run import Runtime

    if asked.texts is None:
        raise UserError(
            "method distil: name a file of prompts, paragraphs apart, with --texts; the source answers them."
        )
    plan = Distil(start="stitch" if asked.anchors is None else "global_ridge")
    begun = replace(asked, method=plan.start, texts=None)
    found = _through_anchors(begun) if asked.anchors is not None else _without_anchors(begun)
    prompts = [Example(str(i), str(i), (Turn("user", text),), "") for i, text in enumerate(asked.read[: plan.prompts])]
    teacher = from_folder(begun.source_lm, asked.star.folder)
    rows = answered(begun.source_lm, Template(begun.source_lm.tok), prompts, plan)
    teacher.remove()
    adapter = from_folder(begun.target_lm, asked.out)
    made = teach(adapter, Template(begun.target_lm.tok), rows, plan, asked.seed, Runtime())
    adapter.save(asked.out)
    said = (
        f"{found.sentence} Then {made['steps']} steps on {made['rows']} answers that the source wrote: loss "
        f"{made['first_loss']:.3g} to {made['last_loss']:.3g}."
    )
    return replace(found, method="distil", sentence=said, distilled=made)


# ---- with anchors


def read_anchors(folder: Path) -> Anchors:
    """Every NAME/source with NAME/target under a folder."""
    names = sorted(path.name for path in folder.iterdir() if (path / "source").is_dir()) if folder.is_dir() else []
    if not names:
        raise UserError(f"{folder}: holds no anchors; one is a folder NAME with the adapters NAME/source, NAME/target.")
    return Anchors(
        [Anchor(name, Adapter(folder / name / "source"), Adapter(folder / name / "target")) for name in names]
    )


def _through_anchors(asked: Asked) -> Fidelity:
    if asked.anchors is None:
        raise UserError(f"method {asked.method} mixes anchors: name their folder with --anchors.")
    anchors = _matched(asked, read_anchors(asked.anchors))
    grams = anchors.grams(asked.star)
    weights = maps.weights(asked.method, grams, seed=asked.seed, k=asked.k)
    found = judged(asked.method, anchors.names, grams, seed=asked.seed, k=asked.k)
    if not asked.probe or asked.method == "zero":
        anchors.write(asked.out, weights)
        return found
    moved = functional(asked.target_lm, anchors, grams, asked.method, asked.read, seed=asked.seed, k=asked.k)
    anchors.write(asked.out, moved.scale * weights)
    return replace(found, sentence=f"{found.sentence} {moved.sentence()}", functional=moved)


def _matched(asked: Asked, anchors: Anchors) -> Anchors:
    """The same anchors with layers answering to one another as asked."""
    if asked.layers == "depth":
        return anchors
    from netgain.translate.cka import similar_layers

    depths = similar_layers(asked.source_lm, anchors.source_places, asked.target_lm, anchors.places, asked.read)
    return Anchors(anchors.anchors, depths)


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


def _without_anchors(asked: Asked) -> Fidelity:
    from netgain.execute.fidelity import effect
    from netgain.translate.free import without_anchors

    source, target = asked.source_lm, asked.target_lm
    found = without_anchors(asked.method, asked.star, source, target, asked.read, asked.layers)
    write(asked.out, found.config, found.updates)
    inputs, outputs = found.inputs, found.outputs
    before, after = effect(source, asked.star.folder, asked.read), effect(target, asked.out, asked.read)
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
