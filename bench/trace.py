"""Where a training step's time goes: torch's profiler over the loop's step and the sweep's packed step.

    python bench/trace.py [--steps N] [--threads N] [--gpu] [--size 0.3M|7M] [--arms N] [--out bench/traces] [--toy]

Prints each step's operators by the time that they take themselves, with their share of it and how often they ran, as a
Markdown table, which `python -m bench` puts into RESULTS.md; writes the whole trace for chrome://tracing or
https://ui.perfetto.dev into a folder that git ignores. The packed step is what `sweep.py` does: CE and a forward KL of
different weights in each arm, from the H + 1 numbers that the teacher's reading kept.
"""

import argparse
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

import loop
from claim import TABLE
from netgain.adapters.lora import Lora
from netgain.adapters.packed import pack
from netgain.data.view import View
from netgain.objectives.term import Reading
from netgain.objectives.terms.ce import Ce
from netgain.objectives.terms.kl import Kl
from netgain.spec.run import OptimSpec, Runtime, Weighted
from netgain.training.arms import Arm
from netgain.training.loop import Training, train

HERE = Path(__file__).parent
WARM, LISTED = 3, 12


def packed_steps(size: dict[str, int], arms: int, steps: int) -> Iterator[object]:
    """Steps of arms that differ in the weight of the KL, over one frozen base."""
    lm = loop.model(size)
    student = pack(Lora(r=8, alpha=16), lm, [0] * arms)
    optim = OptimSpec(learning_rate=loop.LR, steps=steps, batch=size["batch"], schedule="constant")
    made = [
        Arm(f"{k}", each, {"ce": Weighted(term=Ce()), "kl": Weighted(term=Kl(), weight=0.1 + k)}, optim)
        for k, each in enumerate(student.adapters)
    ]

    def kept(view: View) -> Reading:
        n = len(view.targets)
        return Reading(None, lm.head, 0.05 * torch.ones(n, size["hidden"], device=lm.device), torch.zeros(n))

    views = loop.batch(size, loop.rows(size, 8 * size["batch"]), lm)
    return train(Training(student, made, views, 0, Runtime(), references={"base": kept}))


def traced(name: str, steps: Iterator[object], count: int, file: Path, gpu: bool) -> str:
    """The table of one kind of step; its trace is written to `file`."""
    for _ in range(WARM):
        next(steps)
    kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if gpu else [])]
    with profile(activities=kinds) as seen:
        for _ in range(count):
            next(steps)
    file.parent.mkdir(parents=True, exist_ok=True)
    seen.export_chrome_trace(str(file))
    return table(name, seen.key_averages(), count, gpu)


def table(name: str, rows: Any, count: int, gpu: bool) -> str:
    """Operators by their own time, the largest first; the rest in one row."""
    found = sorted(((_own(row, gpu), row.count, row.key) for row in rows), reverse=True)
    whole = sum(own for own, _, _ in found)
    lines = [
        f"{name}: {whole / 1e3 / count:.1f} ms of operators a step, {sum(n for _, n, _ in found) / count:.0f} calls",
        "",
        "| operator | ms a step | share | calls a step |",
        "|---|--:|--:|--:|",
    ]
    shown = [(key, own, calls) for own, calls, key in found[:LISTED]]
    rest = found[LISTED:]
    shown.append((f"{len(rest)} others", sum(own for own, _, _ in rest), sum(calls for _, calls, _ in rest)))
    lines += [
        f"| `{key}` | {own / 1e3 / count:.2f} | {own / whole:.1%} | {calls / count:.0f} |" for key, own, calls in shown
    ]
    return "\n".join(lines)


def _own(row: Any, gpu: bool) -> float:
    """Microseconds in the operator itself, without those that it calls."""
    return row.self_device_time_total if gpu else row.self_cpu_time_total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--arms", type=int, default=8)
    parser.add_argument("--size", choices=tuple(loop.SIZES), default="0.3M")
    parser.add_argument("--gpu", action="store_true", help="the time of the kernels on the GPU")
    parser.add_argument("--out", type=Path, default=HERE / "traces")
    parser.add_argument("--toy", action="store_true", help="two steps of two arms, to see that nothing breaks")
    asked = parser.parse_args()
    if asked.toy:
        asked.steps, asked.arms, asked.size = 2, 2, "0.3M"
    torch.set_num_threads(asked.threads)
    logging.disable(logging.WARNING)
    gpu = asked.gpu and torch.cuda.is_available()
    size, total = loop.SIZES[asked.size], asked.steps + WARM
    rows = loop.rows(size, 8 * size["batch"])
    for name, steps in (
        ("loop", loop.netgain_steps(size, rows, total)),
        (f"sweep of {asked.arms}", packed_steps(size, asked.arms, total)),
    ):
        file = asked.out / f"{name.replace(' ', '-')}-{asked.size}.json"
        told = traced(f"{name}, {asked.size}", steps, asked.steps, file, gpu)
        print(f"\n{told}\n\nthe whole trace: {file}\n{TABLE}{json.dumps(told)}", flush=True)


if __name__ == "__main__":
    main()
