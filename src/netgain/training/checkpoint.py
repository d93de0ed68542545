"""The state of a training on disk: one safetensors file, whole or absent, no pickle.

A training's randomness is a function of (seed, stream, step), so tensors, Adam's moments and counters are all of it:
a killed and resumed training is bit-identical to one that was left alone.
"""

import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from netgain.errors import UserError
from netgain.training.arms import Arm, Best
from netgain.training.loop import StepRecord, Training

MOMENTS = ("step", "exp_avg", "exp_avg_sq")


def save(training: Training, path: Path) -> None:
    """Replace `path` by the state after the last finished step: written beside it, synced, renamed."""
    tensors: dict[str, Tensor] = {}
    for k, arm in enumerate(training.arms):
        for name, parameter in arm.adapter.parameters().items():
            tensors[f"{k}/value/{name}"] = parameter.detach()
            for moment, tensor in training.optimizer.state.get(parameter, {}).items():
                tensors[f"{k}/{moment}/{name}"] = tensor
    tensors = {name: tensor.contiguous().cpu() for name, tensor in tensors.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        save_file(tensors, draft, metadata={"state": json.dumps(_counters(training))})
        _sync(draft)
        draft.replace(path)
        _sync(path.parent)
    except (OSError, SafetensorError) as error:
        draft.unlink(missing_ok=True)
        raise UserError(f"{path}: the checkpoint cannot be written ({error}); the one before it is kept.") from error


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _counters(training: Training) -> dict[str, Any]:
    return {
        "step": training.step,
        "tokens": training.tokens,
        "seconds": training.seconds,
        "arms": [{**_arm_state(arm), "weights": training.objective.state(k)} for k, arm in enumerate(training.arms)],
    }


def _arm_state(arm: Arm) -> dict[str, Any]:
    best = {**asdict(arm.best), "loss": arm.best.loss if arm.best.step else None}
    return {"name": arm.name, "best": best, "ended": arm.ended, "diverged": arm.diverged}


def load(training: Training, path: Path) -> None:
    """Put the training where `save` left it, exactly."""
    try:
        with safe_open(path, framework="pt") as file:
            state = json.loads(file.metadata()["state"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (a file, not a dict)
    except (OSError, SafetensorError, KeyError, json.JSONDecodeError) as error:
        raise UserError(f"{path}: no readable checkpoint ({error}); delete it to start this run again.") from error
    names = [arm["name"] for arm in state["arms"]]
    if names != [arm.name for arm in training.arms]:
        raise UserError(f"{path}: a checkpoint of {', '.join(names)}; delete it to start this run again.")
    training.step, training.tokens, training.seconds = state["step"], state["tokens"], state["seconds"]
    for k, arm in enumerate(training.arms):
        _load_arm(training, k, arm, state["arms"][k], tensors)


def _load_arm(training: Training, k: int, arm: Arm, state: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    best = state["best"]
    arm.best = Best(step=best["step"], waited=best["waited"])
    if best["loss"] is not None:
        arm.best.loss = best["loss"]
    arm.ended, arm.diverged = state["ended"], state["diverged"]
    training.objective.set_state(state["weights"], k)
    parameters = arm.adapter.parameters()
    arm.adapter.set_state({name: tensors[f"{k}/value/{name}"] for name in parameters})
    for name, parameter in parameters.items():
        if f"{k}/step/{name}" in tensors:
            moments = {moment: tensors[f"{k}/{moment}/{name}"] for moment in MOMENTS}
            training.optimizer.state[parameter] = {
                moment: tensor.to(parameter.device, torch.float32 if moment == "step" else None)
                for moment, tensor in moments.items()
            }


def keep(records: Iterator[StepRecord], training: Training, path: Path, seconds: float) -> Iterator[StepRecord]:
    """Pass the records on; save when `seconds` have passed since the last save, and after the last step.

    A step is saved when its record has been consumed, so whatever the consumer wrote about it is on disk before.
    """
    saved, last = training.step, time.monotonic()
    for record in records:
        yield record
        if time.monotonic() - last >= seconds or training.finished:
            save(training, path)
            saved, last = training.step, time.monotonic()
    if saved != training.step:
        save(training, path)
