"""`netgain export`: a run's adapter or merged model in a folder that other tools load, after a parity check."""

from pathlib import Path
from typing import Any

from netgain.adapters._torch.peft import from_folder
from netgain.adapters.export import export
from netgain.adapters.method import Adapter, Built, Method
from netgain.errors import UserError
from netgain.execute.prepare import template_of
from netgain.ledger.store import RunFolder
from netgain.models.lm import LM
from netgain.models.load import load
from netgain.spec.identity import torch_stream
from netgain.spec.run import Run
from netgain.tasks._base import tasks_of

PROBES = 4
"""Prompts of each task that the exported model is compared on."""

UNUSED = {"learning_rate": 1.0, "steps": 1}
"""What a run without a step has for an optimiser."""

FOLDERS = {"final": "adapter", "best": "adapter-best"}


def export_run(folder: RunFolder, out: Path, *, merged: bool, checkpoint: str) -> str:
    """Write the run's adapter or merged model to `out`; one line about how well it agrees."""
    if checkpoint not in FOLDERS:
        raise UserError(f'a run keeps the checkpoints final and best, not "{checkpoint}".')
    if folder.state() != "done":
        raise UserError(f"{folder.path}: this run is {folder.state()}; only a finished one can be exported.")
    folder.verify()
    run = Run.model_validate(_complete(folder.json("spec.json")["run"], folder.record()))
    method = run.method
    source = folder.path / FOLDERS[checkpoint]
    if not isinstance(method, Method) or not source.is_dir():
        raise UserError(f"{folder.path}: this run kept no {checkpoint} adapter.")
    lm = load(run.model)
    adapter = _loaded(method, lm, source, run.seed)
    template = template_of(run.model, lm.tok)
    probes = [
        template.prompt(example.turns)
        for task in tasks_of(run.tasks).values()
        for example in task.examples(None)[:PROBES]
        if example.turns
    ]
    parity = export(adapter, out, probes or [lm.tok.encode("A probe of general text.")], merged=merged)
    what = "merged model" if merged else "adapter"
    return (
        f"{out}: {what} of {folder.sig}, {checkpoint} checkpoint; on {parity.positions} probe positions the logits "
        f"differ by at most {parity.difference:.1e} of the largest (allowed {parity.tolerance:.0e}), the same first "
        f"choice at {parity.same_choice:.1%}."
    )


def _loaded(method: Method, lm: LM, source: Path, seed: int) -> Adapter:
    """The adapter of a folder on its base: attached as it was for learning, or as the folder says if it was built."""
    if isinstance(method, Built):
        return from_folder(lm, source)
    adapter = method.attach(lm, torch_stream(seed, "init"))
    adapter.load(source)
    return adapter


def _complete(run: dict[str, Any], record: dict[str, Any]) -> dict[str, Any]:
    """The stored spec of a run that learns has every field; that of a built one says nothing of learning, which took no
    part in it; of another run, there is nothing to export."""
    if "optim" in run:
        return run
    if "built" not in record:
        raise UserError("this run learned nothing: it is the base model, so there is nothing to export.")
    return {**run, "optim": UNUSED}
