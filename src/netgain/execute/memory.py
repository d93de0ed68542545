"""How much memory there is, and how much of it one more arm of a pack takes.

An arm takes what autograd keeps of its rows' forward pass, found by one probing pass over the longest rows, and four
numbers for each number that learns: itself, its gradient, two moments.
"""

import os
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from netgain.adapters.packed import pack
from netgain.data.view import View
from netgain.models.lm import LM
from netgain.spec.plugin import MethodPlugin

MARGIN = 1.5
"""What the backward pass and the loss need beside what the forward pass keeps, as a factor."""
SHARE = 0.6
"""The part of the free memory that a pack may fill."""
CGROUP = Path("/sys/fs/cgroup")


def available(device: torch.device) -> int:
    """Bytes that are free on the device now; on a CPU no more than the container's own limit leaves."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    free = _meminfo("MemAvailable") or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    limit, used = (_cgroup(name) for name in ("memory.max", "memory.current"))
    return free if limit is None or used is None else min(free, limit - used)


def _meminfo(name: str) -> int | None:
    source = Path("/proc/meminfo")
    lines = source.read_text(encoding="ascii").splitlines() if source.exists() else []
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:")), None)


def _cgroup(name: str) -> int | None:
    file = CGROUP / name
    text = file.read_text(encoding="ascii").strip() if file.exists() else "max"
    return None if text == "max" else int(text)


def peak(device: torch.device | str) -> float:
    """The largest memory so far in MB: what torch has held on a GPU, else what the process has held."""
    if torch.device(device).type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


class Spent:
    """What the runs that are done together take, each its share, in this process and with everything around training
    and measuring; called for the record."""

    def __init__(self, runs: int = 1, device: torch.device | str = "cpu") -> None:
        self.runs, self.device = runs, device
        self.start, self.only_once = time.perf_counter(), 0.0

    @contextmanager
    def once(self) -> Iterator[None]:
        """Inside is what no later run like these does again: a reference that is read and kept, a probe of a method."""
        start = time.perf_counter()
        yield
        self.only_once += time.perf_counter() - start

    def __call__(self) -> dict[str, float]:
        """`seconds` so far, `once_seconds` of them, and `peak_mb`, the process's largest memory so far."""
        seconds = (time.perf_counter() - self.start) / self.runs
        once = self.only_once / self.runs
        return {"seconds": round(seconds, 3), "once_seconds": round(once, 3), "peak_mb": round(peak(self.device), 1)}


def arm_bytes(lm: LM, method: MethodPlugin, view: View) -> int:
    """What one arm takes while it learns from this View."""
    kept: dict[int, int] = {}
    frozen = {tensor.untyped_storage().data_ptr() for tensor in lm.net.parameters()}

    def count(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in frozen:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    student = pack(method, lm, [0])
    try:
        learned: list[nn.Parameter] = list(student.adapters[0].parameters().values())
        if student.noise is not None:
            student.noise.at(0, 0, torch.arange(len(view.input_ids)))
        with student.learning(), torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            states = student.states(view.to(lm.device))
        del states
        own = 4 * sum(tensor.numel() * tensor.element_size() for tensor in learned)
    finally:
        student.remove()
    return own + int(MARGIN * sum(kept.values()))


def arms_that_fit(lm: LM, each: int) -> int:
    """How many arms of `each` bytes the free memory takes."""
    return int(SHARE * available(lm.device)) // each
