"""Who a run is: its sig, what differs between two specs, and the named random streams that a seed opens."""

import hashlib
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel

from netgain.spec.run import Run

if TYPE_CHECKING:
    import torch

FORMAT = 1
"""Raised when the same spec must mean another computation; every sig changes with it."""

SIG_LENGTH = 16


def essence(value: Any) -> Any:
    """What differs from the defaults, with every `kind` kept: the part of a spec that identifies it."""
    if isinstance(value, BaseModel):
        kept: dict[str, Any] = {}
        for name, field in type(value).model_fields.items():
            item = getattr(value, name)
            if name == "kind" or field.is_required() or item != field.get_default(call_default_factory=True):
                kept[name] = essence(item)
        return kept
    if isinstance(value, dict):
        return {key: essence(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [essence(item) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"{type(value).__name__} has no canonical form")


def identity(run: Run) -> dict[str, Any]:
    """The essence of a run; a method that learns nothing is the same run for every seed, data set and optimiser.

    One that is built from other runs is the same for every objective and optimiser only.
    """
    full = essence(run)
    if run.method.learns:
        return full
    kept = ("model", "method", "tasks", "data", "seed") if run.method.built else ("model", "method", "tasks")
    return {name: full[name] for name in kept if name in full}


def sig(run: Run) -> str:
    """sha256 of the canonical JSON of {format, identity}, cut to 16 hexadecimal digits."""
    canonical = json.dumps({"format": FORMAT, "run": identity(run)}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:SIG_LENGTH]


def stored(run: Run) -> dict[str, Any]:
    """The whole spec as the ledger keeps it, defaults included: what a finished run is checked against."""
    names = set(identity(run))
    return {name: value for name, value in run.model_dump(mode="json").items() if name in names or run.method.learns}


def drift(old: Any, new: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """(dotted path, stored value, value now) of every stored field that means something else today.

    A field that the stored spec does not have is no drift: its default is what the old code did.
    """
    if isinstance(old, dict) and isinstance(new, dict):
        for key, value in old.items():
            yield from drift(value, new.get(key), f"{path}.{key}" if path else key)
    elif old != new:
        yield path, old, new


def _entropy(seed: int, name: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:16], "big")


def stream(seed: int, name: str) -> np.random.Generator:
    """The random stream `name` of a seed: independent of every other stream, the same in every process."""
    return np.random.Generator(np.random.PCG64(_entropy(seed, name)))


def torch_stream(seed: int, name: str) -> "torch.Generator":
    """The torch generator of the stream `name`."""
    import torch

    return torch.Generator().manual_seed(_entropy(seed, name) % 2**63)
