"""`netgain export`: a run's adapter, merged model or GGUF file for other tools to load, after a parity check."""

import shutil
from pathlib import Path
from typing import Any

from netgain.adapters._torch.peft import from_folder
from netgain.adapters.export import CONVERTER, GGUF, Parity, export, export_gguf
from netgain.adapters.method import Adapter, Built, Method
from netgain.data.chat import Template
from netgain.data.source import Turn
from netgain.errors import UserError
from netgain.execute.prepare import template_of
from netgain.ledger.files import write_json
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
    adapter, template, asked = opened(folder, checkpoint)
    probes = [template.prompt(turns) for turns in asked]
    what = "merged model" if merged else "adapter"
    parity = export(adapter, out, probes, merged=merged)
    record(out, folder, checkpoint, what, {what: parity.to_json()})
    return _sentence(out, folder, checkpoint, what, parity)


def export_run_gguf(folder: RunFolder, file: Path, *, kind: str, converter: Path | None, checkpoint: str) -> str:
    """Write the run's merged model as a GGUF file; one line about how well what was read back agrees."""
    if kind not in GGUF:
        raise UserError(f'--type takes {", ".join(GGUF)}, not "{kind}".')
    tool = converter or (Path(found) if (found := shutil.which(CONVERTER)) else None)
    if tool is not None and not tool.is_file():
        raise UserError(f"{tool}: no such file; --converter takes llama.cpp's {CONVERTER}.")
    adapter, template, asked = opened(folder, checkpoint)
    steps = export_gguf(adapter, file, [template.prompt(turns) for turns in asked], kind, tool)
    found = {name: parity.to_json() for name, parity in steps.items()}
    record(file, folder, checkpoint, f"gguf {kind} by {'netgain' if tool is None else tool.name}", found)
    return _sentence(file, folder, checkpoint, f"GGUF ({kind})", steps["gguf"])


def opened(folder: RunFolder, checkpoint: str) -> tuple[Adapter, Template, list[tuple[Turn, ...]]]:
    """The run's adapter on its base, how it is asked, and what an export is asked to compare it."""
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
    probes = [
        example.turns
        for task in tasks_of(run.tasks).values()
        for example in task.examples(None)[:PROBES]
        if example.turns
    ]
    return adapter, template_of(run.model, lm.tok), probes or [(Turn("user", "A probe of general text."),)]


def parity_file(out: Path) -> Path:
    """Where it stands what was compared: beside what was written."""
    return out.with_name(f"{out.name}.parity.json")


def record(out: Path, folder: RunFolder, checkpoint: str, what: str, steps: dict[str, dict[str, Any]]) -> None:
    """What was compared and found, beside what was written."""
    tree = {
        "run": folder.sig,
        "checkpoint": checkpoint,
        "export": what,
        "compared_with": "the run's own logits; differences are shares of the largest",
        "steps": steps,
    }
    write_json(parity_file(out), tree)


def _sentence(out: Path, folder: RunFolder, checkpoint: str, what: str, parity: Parity) -> str:
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
