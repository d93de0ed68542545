"""How time and memory grow: of a training step with arms, tokens and vocabulary; of judging with items and seeds.

    python bench/scaling.py [--threads N] [--quick] [--toy]

Each point is a process of its own, forked from one that has imported what all need. A curve is told as its points and
as the exponent b of the least squares line of log y over log x, y = a x^b: 1 is proportional, 0 does not grow. Fixed
costs make an exponent smaller than what it tends to, so the slope of the last two points is told beside it. Memory is
what the peak rose above the loaded model.
"""

import argparse
import ctypes
import json
import math
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from claim import Claim, high_water_mb

BASE = {"arms": 2, "length": 64, "vocab": 8192}
CURVES = {"arms": (1, 2, 4, 8, 16), "length": (32, 64, 128, 256, 512), "vocab": (4096, 16_384, 65_536, 151_936)}
JUDGED = {"items": (20_000, 100_000, 500_000), "seeds": (3, 10, 30)}
ROWS_A_SEED = 16_000


def step(arms: int, length: int, vocab: int, threads: int) -> dict[str, float]:
    """Median seconds of a packed step of CE and a forward KL from a remembered base, and MB above the model."""
    import torch

    from netgain.adapters.lora import Lora
    from netgain.adapters.packed import pack
    from netgain.data.view import View
    from netgain.models.load import load
    from netgain.objectives.term import Reading
    from netgain.objectives.terms.ce import Ce
    from netgain.objectives.terms.kl import Kl
    from netgain.spec.run import ModelSpec, OptimSpec, Runtime, Weighted
    from netgain.training.arms import Arm
    from netgain.training.loop import Training, train

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    shape = {"hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 4, "num_attention_heads": 2}
    config = {**shape, "num_key_value_heads": 1, "head_dim": 64, "vocab_size": vocab}
    lm = load(ModelSpec(id="config:qwen3", config=config))
    student = pack(Lora(r=8, alpha=16), lm, [0] * arms)
    ids = torch.randint(4, vocab, (4, length))
    scored = torch.zeros(4, length, dtype=torch.bool)
    scored[:, length // 2 - 1 : -1] = True
    targets = ids[:, 1:][scored[:, :-1]]
    n = len(targets)
    view = View(
        ids, torch.ones(4, length, dtype=torch.bool), scored, targets, torch.ones(n), scored.nonzero()[:, 0],
        scored.sum(1).float(), torch.ones(n, dtype=torch.bool), torch.full((4,), -1), True,
    )  # fmt: skip
    reading = Reading(None, lm.head, 0.05 * torch.randn(n, 128), torch.zeros(n))
    terms = {"ce": Weighted(term=Ce()), "kl": Weighted(term=Kl(), weight=0.3)}
    optim = OptimSpec(learning_rate=1e-4, steps=7, batch=4, schedule="constant")
    made = [Arm(f"{k}", each, terms, optim) for k, each in enumerate(student.adapters)]
    ctypes.CDLL(None).malloc_trim(0)  # what loading used and left free is not the step's
    before = high_water_mb(forget=True)
    training = Training(student, made, lambda k: view, 0, Runtime(), references={"base": lambda view: reading})
    times: list[float] = []
    start = time.perf_counter()
    for _ in train(training):
        times.append(time.perf_counter() - start)
        start = time.perf_counter()
    return {"seconds": sorted(times[2:])[len(times[2:]) // 2], "megabytes": high_water_mb() - before}


def judged(items: int, seeds: int) -> dict[str, float]:
    """Seconds of audit and compare together over so many item rows of two arms, and MB of the process."""
    import items as bench

    bench.SEEDS = seeds
    with tempfile.TemporaryDirectory() as folder:
        pair = bench.write(Path(folder), items, ["parquet"])["parquet"]
        found = bench.measured(bench.OURS, *pair, *pair)
    return {"seconds": found["seconds"], "megabytes": found["megabytes"]}


def slope(points: list[tuple[float, float]]) -> float:
    """b of log y = log a + b log x."""
    x, y = ([math.log(value) for value in side] for side in zip(*points, strict=True))
    mx, my = sum(x) / len(x), sum(y) / len(y)
    return sum((a - mx) * (b - my) for a, b in zip(x, y, strict=True)) / sum((a - mx) ** 2 for a in x)


def curve(axis: str, values: tuple[int, ...], point: Callable[[int], dict[str, float]]) -> None:
    """Print the points of a curve and say its exponents."""
    found = {value: point(value) for value in values}
    print(json.dumps({axis: {value: {k: round(v, 4) for k, v in each.items()} for value, each in found.items()}}))
    for what in ("seconds", "megabytes"):
        points = [(float(value), each[what]) for value, each in found.items()]
        told = f"{points[0][1]:.3g} at {values[0]:,}, {points[-1][1]:.3g} at {values[-1]:,}"
        limit = f"{told}; {slope(points[-2:]):.2f} at the end"
        Claim("scaling.py", f"{what} over {axis}", [slope(points)], None, " exponent", limit=limit).say()


def main() -> None:
    """All curves."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="the first and last point of each curve alone")
    parser.add_argument("--toy", action="store_true", help="two small points a curve, to see that nothing breaks")
    asked = parser.parse_args()
    forks = multiprocessing.get_context("forkserver")
    forks.set_forkserver_preload(["netgain.adapters.packed", "netgain.models.load", "netgain.training.loop", "peft"])

    def trained(axis: str) -> Callable[[int], dict[str, float]]:
        def point(value: int) -> dict[str, float]:
            with forks.Pool(1) as pool:
                return pool.apply(step, kwds={**BASE, axis: value, "threads": asked.threads})

        return point

    if asked.toy:
        curve("arms", (1, 2), trained("arms"))
        curve("items", (2000, 4000), lambda n: judged(n, 5))
        return

    def some(values: tuple[int, ...]) -> tuple[int, ...]:
        return (values[0], values[-1]) if asked.quick else values

    for axis, values in CURVES.items():
        curve(axis, some(values), trained(axis))
    curve("items", some(JUDGED["items"]), lambda n: judged(n, 5))
    curve("seeds", some(JUDGED["seeds"]), lambda n: judged(ROWS_A_SEED * n, n))


if __name__ == "__main__":
    main()
