"""A run whose adapter is built from finished runs: make it, choose its scale on dev rows, keep it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from netgain.adapters._torch.peft import PeftAdapter, from_folder
from netgain.adapters._torch.scale import at_scale
from netgain.adapters.method import Built
from netgain.data.view import View
from netgain.errors import UserError
from netgain.execute.job import Job
from netgain.spec.run import RunRef
from netgain.training.arms import Solo
from netgain.training.stop import dev_losses

SCALES = (0.25, 0.5, 1.0, 1.5)
"""What "dev" tries."""


def built(job: Job, method: Built, dev: Sequence[View]) -> tuple[PeftAdapter, dict[str, Any]]:
    """The adapter in place, as it is kept in the run's folder, and what the record says of how it was made.

    It is built anew after a kill: that is cheaper than to know how far it came, and always the same.
    """
    folder = job.folder.path / "adapter"
    about = method.build(folder, lambda ref: _finished(job, ref), job.lm, job.run.seed)
    adapter = from_folder(job.lm, folder)
    made = {name: tensor.clone() for name, tensor in adapter.state().items()}
    scale, losses = _scale(job, method, adapter, dev)
    adapter.set_state(at_scale(adapter, made, scale))
    adapter.save(folder)
    return adapter, {**about, "scale": scale, "dev_losses": losses}


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
