"""`netgain doctor`: can this machine do the work? Versions, device, memory, disk, sandbox, template masks."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from netgain.errors import UserError
from netgain.execute.env import PACKAGES, processor, version

GIB = 2**30
TRAIN_PACKAGES = {"torch", "transformers", "peft", "accelerate", "datasets", "tokenizers"}


@dataclass(frozen=True)
class Check:
    """One thing looked at."""

    name: str
    state: Literal["ok", "warning", "error"]
    words: str


def examine(ledger: Path) -> Iterator[Check]:
    """Every check, cheapest first."""
    yield from _packages()
    yield Check("processor", "ok", f"{processor()}, {os.cpu_count()} cores")
    yield _memory()
    yield _disk(ledger)
    yield _sandbox()
    if version("torch"):
        yield _device()
        yield from _templates()


def _packages() -> Iterator[Check]:
    for name in PACKAGES:
        found = version(name)
        if found:
            yield Check(name, "ok", found)
        elif name in TRAIN_PACKAGES:
            yield Check(name, "warning", 'not installed: judging works, training needs pip install "netgain[train]"')
        else:
            yield Check(name, "error", "not installed")


def _memory() -> Check:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
    return Check("memory", "ok" if total > 4 * GIB else "warning", f"{total / GIB:.0f} GiB, {free / GIB:.0f} free")


def _disk(ledger: Path) -> Check:
    folder = next(p for p in (ledger.resolve(), *ledger.resolve().parents) if p.exists())
    free = shutil.disk_usage(folder).free
    writable = os.access(folder, os.W_OK)
    words = f"{free / GIB:.0f} GiB free at {folder}" + ("" if writable else ", which is not writable")
    return Check("disk", "error" if not writable else "ok" if free > 2 * GIB else "warning", words)


def _sandbox() -> Check:
    """Generated programs may only run where they cannot reach anything."""
    from netgain.measure.sandbox import find

    try:
        return Check("sandbox", "ok", find().backend)
    except UserError as error:
        return Check("sandbox", "warning", str(error))


def _device() -> Check:
    import torch

    if torch.cuda.is_available():
        card = torch.cuda.get_device_properties(0)
        return Check("device", "ok", f"{torch.cuda.device_count()} x {card.name}, {card.total_memory / GIB:.0f} GiB")
    if torch.backends.mps.is_available():
        return Check("device", "ok", "mps")
    return Check("device", "ok", f"cpu, {torch.get_num_threads()} threads")


def _templates() -> Iterator[Check]:
    """Does each embedded model render a chat whose answer can be told from its prompt?"""
    from transformers import AutoTokenizer

    from netgain.data.chat import Template
    from netgain.data.source import Example, Turn
    from netgain.models.embedded import TINY, path

    example = Example("probe", "probe", (Turn("user", "What is two plus two?"),), "four")
    for name in TINY:
        try:
            encoded = Template(AutoTokenizer.from_pretrained(path(name)), name=name).encode(example, max_len=256)
        except UserError as error:
            yield Check(f"template {name}", "error", str(error))
            continue
        supervised = sum(encoded.supervised)
        yield Check(f"template {name}", "ok", f"{supervised} of {len(encoded.ids)} tokens of a short chat supervised")
