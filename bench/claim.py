"""What every bench says in one form: a ratio with its range, both peaks of memory, and how far the machine could go.

A script prints its own details as it likes and each claim as one line that begins with CLAIM; `python -m bench`
collects those. Ratios are ours / theirs of one round, so that both sides saw the same machine; less is better.
"""

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

MARK = "CLAIM "
TABLE = "TABLE "
"""Begins a line with a Markdown table, as JSON, that is to stand below the claims."""


@dataclass(frozen=True)
class Claim:
    """`ratios` of each round, `target` that their median is to stay under (None: it is only told); `unit` is "x" for a
    ratio, or what the numbers are. Memory in MB. `limit`: what the machine's own rates would allow, in words. `drawn`:
    what the README's figure calls it, if it is one of those that stand there."""

    bench: str
    what: str
    ratios: Sequence[float]
    target: float | None
    unit: str = "x"
    ours_mb: float | None = None
    theirs_mb: float | None = None
    limit: str = ""
    agree: str = ""
    drawn: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.ratios)

    @property
    def held(self) -> bool:
        return self.target is None or self.median <= self.target

    def say(self) -> None:
        """Print the line that `python -m bench` collects."""
        print(MARK + json.dumps(asdict(self)), flush=True)

    def row(self) -> str:
        """A row of a Markdown table: what, median (range, rounds), target, memory, limit."""
        low, high, n = min(self.ratios), max(self.ratios), len(self.ratios)
        spread = f" ({low:.3g} to {high:.3g}, {n} rounds)" if n > 1 else " (1 round)"
        target = "" if self.target is None else f"{self.target:g}{self.unit}{'' if self.held else ': not held'}"
        memory = "" if self.ours_mb is None else f"{self.ours_mb:,.0f} MB"
        memory += "" if self.theirs_mb is None else f" against {self.theirs_mb:,.0f}"
        rest = "; ".join(part for part in (self.agree, self.limit) if part)
        return f"| `{self.bench}` | {self.what} | {self.median:.3g}{self.unit}{spread} | {target} | {memory} | {rest} |"


HEADER = "| script | what | ours / theirs | target | peak memory | agreement, limits |\n|---|---|---|---|---|---|"


def collected(text: str) -> list[Claim]:
    """The claims in what a script printed."""
    lines = (line for line in text.splitlines() if line.startswith(MARK))
    return [Claim(**json.loads(line.removeprefix(MARK))) for line in lines]


def machine() -> str:
    """Processor, cores, memory, versions: what a figure depends on beside the code."""
    from importlib.metadata import version

    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.processor() or platform.machine()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{name}, {cores} cores, {memory:.0f} GB, torch {version('torch')}, transformers {version('transformers')}"


class Others:
    """What other processes take of this machine's processors: figures taken beside them are to be measured again."""

    def __init__(self) -> None:
        self.start = self._now()

    @staticmethod
    def _now() -> tuple[float, float, float]:
        """Seconds that all processors have worked, that this process and its ended children have, and the clock's."""
        first = (
            Path("/proc/stat").read_text().split("\n", 1)[0] if Path("/proc/stat").exists() else "cpu 0 0 0 0 0 0 0 0"
        )
        user, nice, system, _, _, irq, soft, *_ = (int(word) / os.sysconf("SC_CLK_TCK") for word in first.split()[1:])
        own = os.times()
        used = own.user + own.system + own.children_user + own.children_system
        return user + nice + system + irq + soft, used, time.monotonic()

    def share(self) -> float:
        """Of all processor time since it was made, the part that others used."""
        busy, own, clock = (now - then for now, then in zip(self._now(), self.start, strict=True))
        return max(0.0, busy - own) / max(clock * (os.cpu_count() or 1), 1e-9)


def peak_mb(gpu: bool = False) -> float:
    """The largest memory of this process so far: resident, or what torch has put on the GPU."""
    import resource

    if gpu:
        import torch

        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def high_water_mb(forget: bool = False) -> float:
    """The largest resident memory of this process, in MB, since it was last told to `forget` what was before."""
    if forget:
        Path("/proc/self/clear_refs").write_text("5")
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024


def gemm_rate(rows: int, inner: int, columns: int, like: Any) -> float:
    """FLOP/s of the matrix product (rows, inner) x (inner, columns) here and now, on device and in dtype of `like`."""
    import torch

    a, b = torch.randn(rows, inner).to(like), torch.randn(columns, inner).to(like)
    times: list[float] = []
    for _ in range(4):
        start = time.perf_counter()
        torch.nn.functional.linear(a, b)[-1, -1].item()
        times.append(time.perf_counter() - start)
    return 2.0 * rows * inner * columns / min(times[1:])


def copy_rate(device: str = "cpu", megabytes: int = 256) -> float:
    """Bytes per second read and written by a copy."""
    import torch

    source = torch.ones(megabytes * 2**18, device=device)
    target = torch.empty_like(source)
    times: list[float] = []
    for _ in range(4):
        start = time.perf_counter()
        target.copy_(source)
        target[-1].item()
        times.append(time.perf_counter() - start)
    return 2.0 * source.nbytes / min(times[1:])


def extra(work: Callable[[], object], device: str = "cpu") -> float:
    """MB that a piece of work has alive at once, beside what was there: on a CPU by what its operators write."""
    import torch

    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    from alive import Alive

    with Alive() as alive:
        work()
    return alive.peak / 2**20


def _answer(out: Any, work: Callable[..., Any], words: tuple[Any, ...]) -> None:
    out.put(work(*words))


def in_process(work: Callable[..., Any], *words: Any) -> Any:
    """What a function returns in a new process; this one ends when that one fails."""
    import multiprocessing

    context = multiprocessing.get_context("spawn")
    out = context.SimpleQueue()
    child = context.Process(target=_answer, args=(out, work, words))
    child.start()
    while out.empty() and child.is_alive():
        child.join(0.05)
    if out.empty():
        child.join()
        raise SystemExit(f"{work.__name__} failed in its own process, with status {child.exitcode}")
    found = out.get()
    child.join()
    return found
