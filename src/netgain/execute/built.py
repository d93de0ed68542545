"""A run whose adapter is built from finished runs: make it, choose its scale on dev rows, keep it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from netgain.adapters._torch.peft import PeftAdapter, from_folder
from netgain.adapters._torch.scale import at_scale
from netgain.adapters.method import Built, Shop
from netgain.adapters.translated import Translated
from netgain.data.chat import Encoded
from netgain.data.view import View
from netgain.errors import UserError
from netgain.execute.distil import answered, teach
from netgain.execute.events import Event
from netgain.execute.job import Job
from netgain.execute.prepare import Prepared, rows_of, template_of
from netgain.models.lm import LM
from netgain.spec.identity import stream, torch_stream
from netgain.spec.run import ModelSpec, Run, RunRef
from netgain.training.arms import Solo
from netgain.training.stop import dev_losses

SCALES = (0.25, 0.5, 1.0, 1.5)
"""What "dev" tries."""


def built(job: Job, method: Built, prepared: Callable[[Run], Prepared]) -> tuple[PeftAdapter, dict[str, Any]]:
    """The adapter in place, as it is kept in the run's folder, and what the record says of how it was made.

    It is built anew after a kill: that is cheaper than to know how far it came, and always the same.
    """
    folder = job.folder.path / "adapter"
    shop = Shop(partial(_finished, job), job.lm, job.run.seed, partial(_trial, job))
    about = method.build(folder, shop)
    adapter = from_folder(job.lm, folder)
    made = {name: tensor.clone() for name, tensor in adapter.state().items()}
    dev = list(dev_views(job.run, prepared(job.run).dev, job.lm)) if method.scale == "dev" else []
    scale, losses = _scale(job, method, adapter, dev)
    adapter.set_state(at_scale(adapter, made, scale))
    about |= {"scale": scale, "dev_losses": losses}
    if isinstance(method, Translated) and method.how == "distil":
        about["distilled"] = _distilled(job, method, shop, adapter, prepared(job.run))
    adapter.save(folder)
    return adapter, about


def _distilled(job: Job, method: Translated, shop: Shop, adapter: PeftAdapter, prepared: Prepared) -> dict[str, Any]:
    """A few steps on what the source model with its adapter writes to training prompts, whose answers nobody reads."""
    source = method.source_lm(shop)
    teacher = from_folder(source, shop.folder_of(method.source) / "adapter")
    spec = ModelSpec.model_validate(job.folder.ledger.run(method.source.sig or "").json("spec.json")["run"]["model"])
    drawn = stream(job.run.seed, "distil").permutation(len(prepared.examples))[: method.distil.prompts]
    asked = [prepared.examples[i] for i in sorted(drawn)]
    written = answered(source, template_of(spec, source.tok), asked, method.distil)
    teacher.remove()
    job.emit(Event(job.each.sig, "load", text=f"learns from {len(written)} answers of the source"))
    return teach(adapter, job.template, written, method.distil, job.run.seed, job.runtime)


@contextmanager
def _trial(job: Job, ref: RunRef) -> Iterator[Callable[[Mapping[str, Tensor]], float]]:
    """The loss of any adapter of a finished run's shape on that run's own dev rows."""
    folder = _finished(job, ref)
    run = Run.model_validate(job.folder.ledger.run(ref.sig or "").json("spec.json")["run"])
    rows = job.template.encode_all(rows_of(run, job.study_folder).dev, run.data.max_len, run.data.truncate).rows
    if not rows:
        raise UserError("method.strength: loss needs dev rows of the anchors; hold some out with data.dev.")
    views = list(dev_views(run, rows, job.lm))
    adapter = from_folder(job.lm, folder / "adapter")

    def loss(tensors: Mapping[str, Tensor]) -> float:
        adapter.set_state(tensors)
        return dev_losses(Solo(adapter), 1, views, job.runtime.chunk)[0][0]

    try:
        yield loss
    finally:
        adapter.remove()


def dev_views(run: Run, dev: Sequence[Encoded], lm: LM) -> Iterator[View]:
    """The dev rows in batches of like length."""
    rows = sorted(dev, key=lambda row: len(row.ids))
    for start in range(0, len(rows), run.optim.batch):
        batch = rows[start : start + run.optim.batch]
        yield lm.family.view(batch, lm.pad_id, torch_stream(run.seed, f"dev/{start}"))


def _scale(job: Job, method: Built, adapter: PeftAdapter, dev: Sequence[View]) -> tuple[float, dict[str, float] | None]:
    """The scale to use and, where it was searched, the dev loss of each; the smaller of two that are equally good."""
    if method.scale != "dev":
        return method.scale, None
    if not dev:
        raise UserError("method.scale: dev needs rows to choose on; hold some out with data.dev, or give a number.")
    made = {name: tensor.clone() for name, tensor in adapter.state().items()}
    losses: dict[float, float] = {}
    for scale in SCALES:
        adapter.set_state(at_scale(adapter, made, scale))
        (losses[scale],), _ = dev_losses(Solo(adapter), 1, dev, job.runtime.chunk)
    return min(losses, key=lambda scale: (losses[scale], scale)), {f"{s:g}": loss for s, loss in losses.items()}


def _finished(job: Job, ref: RunRef) -> Path:
    """The folder of a run that this one needs, after checking that it is what was sealed."""
    assert ref.sig is not None
    run = job.folder.ledger.run(ref.sig)
    run.verify()
    return run.path
