"""The state of a training on disk: one safetensors file an arm, whole or absent, no pickle.

A training's randomness is a function of (seed, stream, step), so tensors, Adam's moments and counters are all of it:
a killed and resumed training is bit-identical to one that was left alone. A file says nothing of the arms that were
trained beside its own, so they may go on together, apart, or with others.
"""

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from netgain.errors import UserError
from netgain.ledger.files import storage_error
from netgain.training.arms import Best
from netgain.training.loop import StepRecord, Training

MOMENTS = ("step", "exp_avg", "exp_avg_sq")


def save(training: Training, paths: Sequence[Path], check: Callable[[], object] = lambda: None) -> None:
    """Replace the path of each arm by its state after the last finished step: all written beside it and synced, then
    all renamed, so that arms which were killed together seldom have to go on apart. `check` is called in between."""
    drafts = [path.with_name(f".{path.name}.{os.getpid()}.part") for path in paths]
    try:
        for k, draft in enumerate(drafts):
            draft.parent.mkdir(parents=True, exist_ok=True)
            save_file(_tensors(training, k), draft, metadata={"state": json.dumps(_counters(training, k))})
            _sync(draft)
        check()
        for draft, path in zip(drafts, paths, strict=True):
            draft.replace(path)
        for path in paths:
            _sync(path.parent)
    except (OSError, SafetensorError) as error:
        raise storage_error(paths[0], error) from error
    finally:
        for draft in drafts:
            draft.unlink(missing_ok=True)


def _tensors(training: Training, k: int) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    adapter = training.arms[k].adapter
    for name, parameter in adapter.parameters().items():
        tensors[f"value/{name}"] = parameter.detach()
    for held, leaf in adapter.leaves().items():
        state = training.optimizer.state.get(leaf, {})
        for moment in MOMENTS[1:] if state else ():
            for name, part in adapter.parts(held, state[moment]).items():
                tensors[f"{moment}/{name}"] = part
                tensors[f"step/{name}"] = state["step"].clone()
    return {name: tensor.contiguous().cpu() for name, tensor in tensors.items()}


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _counters(training: Training, k: int) -> dict[str, Any]:
    arm = training.arms[k]
    return {
        "name": arm.name,
        "step": training.step,
        "tokens": training.tokens,
        "seconds": training.seconds,
        "best": {**asdict(arm.best), "loss": arm.best.loss if arm.best.step else None},
        "ended": arm.ended,
        "diverged": arm.diverged,
        "weights": training.objective.state(k),
    }


def counters(path: Path) -> dict[str, Any]:
    """What `save` counted: name, step, tokens, seconds, best, ended, diverged."""
    with _opened(path) as file:
        return json.loads(file.metadata()["state"])


@contextmanager
def _opened(path: Path) -> Iterator[safe_open]:
    try:
        opened = safe_open(path, framework="pt")
    except (OSError, RuntimeError, SafetensorError) as error:  # torch's for a file that is not there
        raise _unreadable(path, error) from error
    with opened as file:
        try:
            yield file
        except (OSError, SafetensorError, KeyError, json.JSONDecodeError) as error:
            raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> UserError:
    return UserError(f"{path}: no readable checkpoint ({error}); delete it to start this run again.")


def load(training: Training, paths: Sequence[Path]) -> None:
    """Put the training where `save` left it, exactly; arms that still learn must have been left at the same step."""
    for k, (arm, path) in enumerate(zip(training.arms, paths, strict=True)):
        with _opened(path) as file:
            state = json.loads(file.metadata()["state"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (a file, not a dict)
            if state["name"] != arm.name:
                raise UserError(f"{path}: a checkpoint of {state['name']}; delete it to start this run again.")
            _load_arm(training, k, state, tensors)
        if state["step"] >= training.step:
            training.step, training.tokens, training.seconds = state["step"], state["tokens"], state["seconds"]


def _load_arm(training: Training, k: int, state: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    arm, best = training.arms[k], state["best"]
    arm.best = Best(step=best["step"], waited=best["waited"])
    if best["loss"] is not None:
        arm.best.loss = best["loss"]
    arm.ended, arm.diverged = state["ended"], state["diverged"]
    training.objective.set_state(state["weights"], k)
    parameters = arm.adapter.parameters()
    arm.adapter.set_state({name: tensors[f"value/{name}"] for name in parameters})
    for held, leaf in arm.adapter.leaves().items():
        names = list(arm.adapter.parts(held, leaf.detach()))
        if f"step/{names[0]}" not in tensors:
            continue
        state = {"step": tensors[f"step/{names[0]}"].to(leaf.device, torch.float32)}
        for moment in MOMENTS[1:]:
            state[moment] = torch.empty_like(leaf.detach())
            for name, part in arm.adapter.parts(held, state[moment]).items():
                part.copy_(tensors[f"{moment}/{name}"])
        training.optimizer.state[leaf] = state


def keep(
    records: Iterator[StepRecord],
    training: Training,
    paths: Sequence[Path],
    seconds: float,
    check: Callable[[], object] = lambda: None,
) -> Iterator[StepRecord]:
    """Pass the records on; save when `seconds` have passed since the last save, and after the last step.

    A step is saved when its record has been consumed, so whatever the consumer wrote about it is on disk before.
    """
    saved, last = training.step, time.monotonic()
    for record in records:
        yield record
        if time.monotonic() - last >= seconds or training.finished:
            save(training, paths, check)
            saved, last = training.step, time.monotonic()
    if saved != training.step:
        save(training, paths, check)
